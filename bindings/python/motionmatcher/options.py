# SPDX-License-Identifier: BSD-2-Clause
"""The library's settings, which are the keyword arguments of the classes that take options."""
import ctypes
import json
import logging
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _prototypes as c
from ._native import (
    Handle,
    Path,
    by_reference,
    check,
    encode,
    encode_path,
    lib,
    optional_text,
    out_pointer,
    take_string,
    text,
)

_logger = logging.getLogger("motionmatcher")

Item = Union[str, int, float, bool, "os.PathLike[str]"]
Value = Union[Item, List[Item], Tuple[Item, ...], None]

TABLES = ("context", "train", "sample", "features", "evaluate", "retrieve")


@dataclass(frozen=True)
class Option:
    """One row of a table of options."""

    name: str
    type: str  # "flag", "integer", "real", "size", "text", "choice" or "list"
    default: Optional[str]
    unit: str  # unit, placeholder, or the words of a choice separated by "|"
    help: str
    low: float
    high: float
    repeatable: bool


def describe(table: str) -> List[Option]:
    """The options of one of TABLES, in its order."""
    name, rows = encode(table), []
    count = lib.mm_option_count(name)
    if count == 0:
        raise ValueError(f"{table!r} is none of {', '.join(TABLES)}")
    for index in range(count):
        info = c.OptionInfo(struct_size=ctypes.sizeof(c.OptionInfo))
        check(lib.mm_option_describe(name, index, by_reference(info)))
        rows.append(
            Option(
                name=text(info.name),
                type=text(info.type),
                default=text(info.fallback) or None,
                unit=text(info.unit),
                help=text(info.help),
                low=info.low,
                high=info.high,
                repeatable=bool(info.repeatable),
            )
        )
    return rows


def _encode_item(value: Item) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, (int, float)):
        return repr(value).encode()
    if isinstance(value, str):
        return encode(value)
    if isinstance(value, os.PathLike):
        return encode_path(value)
    # NumPy's numbers and the like.
    number = value.item()
    return _encode_item(number)


class Options(Handle):
    """Values for one table: from keyword arguments, over those of a JSON or YAML file."""

    _free = "mm_options_free"

    def __init__(
        self,
        table: str,
        values: Optional[Mapping[str, Value]] = None,
        config: Optional[Path] = None,
    ) -> None:
        pointer = out_pointer()
        check(lib.mm_options_create(by_reference(pointer), encode(table)))
        self._adopt(pointer)
        self.table = table
        if config is not None:
            self.load(config)
        for key, value in (values or {}).items():
            self.set(key, value)

    def set(self, key: str, value: Value) -> None:
        """None leaves the option as it is; of a list every item is given to it."""
        if value is None:
            return
        items: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
        for item in items:
            check(lib.mm_options_set(self.pointer, encode(key), _encode_item(item), c.SOURCE_SET))

    def load(self, path: Path) -> None:
        """A JSON file with the table's names, or a MotionMatcher YAML config unchanged."""
        check(lib.mm_options_load(self.pointer, None, encode_path(path)))
        for notice in text(lib.mm_options_notices(self.pointer)).splitlines():
            _logger.info("%s", notice)

    def get(self, key: str, index: int = 0) -> Optional[str]:
        """The value as a text; None where there is none. `index` counts the items of a list."""
        value = ctypes.c_char_p()
        check(lib.mm_options_get(self.pointer, encode(key), index, by_reference(value)))
        return optional_text(value.value)

    def is_set(self, key: str) -> bool:
        return bool(lib.mm_options_source(self.pointer, encode(key)) > c.SOURCE_DEFAULT)

    def as_dict(self) -> Dict[str, Any]:
        """All values, typed."""
        pointer = out_pointer()
        check(lib.mm_options_to_json(self.pointer, by_reference(pointer)))
        values: Dict[str, Any] = json.loads(take_string(pointer) or "{}")
        return values
