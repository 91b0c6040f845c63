# SPDX-License-Identifier: BSD-2-Clause
"""Loads the C library, and turns its statuses into exceptions and its handles into objects."""
import ctypes
import os
from types import TracebackType
from typing import Any, ClassVar, Optional, Type, TypeVar, Union

from . import _prototypes as c
from .errors import error_for

Path = Union[str, "os.PathLike[str]"]
Self = TypeVar("Self", bound="Handle")


def _load() -> ctypes.CDLL:
    """The library that MM_LIBRARY names, else the installed one by its soname."""
    name = os.environ.get("MM_LIBRARY") or f"libmotionmatcher.so.{c.ABI_VERSION}"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(
            f"{error}; install libmotionmatcher, or name its file in the environment variable "
            "MM_LIBRARY"
        ) from error
    try:
        library.mm_abi_version.restype = ctypes.c_uint32
        abi = library.mm_abi_version()
    except AttributeError as error:
        raise ImportError(f"{name} is not libmotionmatcher: {error}") from error
    if abi != c.ABI_VERSION:
        raise ImportError(f"{name} has the ABI {abi}, this package is made for {c.ABI_VERSION}")
    for function, (result, arguments) in c.FUNCTIONS.items():
        try:
            prototype = getattr(library, function)
        except AttributeError as error:
            raise ImportError(f"{name} is older than this package: {error}") from error
        prototype.restype = result
        prototype.argtypes = arguments
    return library


lib = _load()


def text(value: Optional[bytes]) -> str:
    return "" if value is None else value.decode("utf-8", "replace")


def optional_text(value: Optional[bytes]) -> Optional[str]:
    return None if value is None else text(value)


def encode(value: str) -> bytes:
    """C strings end at a zero byte: a text with one would be cut without a word."""
    if "\0" in value:
        raise ValueError("a text must not contain a zero byte")
    return value.encode("utf-8", "surrogateescape")


def encode_path(path: Path) -> bytes:
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("a path must not contain a zero byte")
    return encoded


def check(status: int) -> None:
    if status != c.OK:
        raise error_for(status, text(lib.mm_last_error()))


def version() -> str:
    """The version of the C library."""
    return text(lib.mm_version())


def take_string(pointer: ctypes.c_void_p) -> Optional[str]:
    """A string that the library made, which is freed."""
    if not pointer.value:
        return None
    value = ctypes.cast(pointer, ctypes.c_char_p).value
    lib.mm_string_free(ctypes.cast(pointer, ctypes.c_char_p))
    return text(value)


class Handle:
    """Something of the library's. close(), the end of a with statement or the last reference frees it.

    Handles may be closed in any order: those that need each other keep each other alive."""

    _free: ClassVar[str]
    _handle: Optional[int] = None

    def _adopt(self, pointer: ctypes.c_void_p) -> None:
        self._handle = pointer.value

    @property
    def pointer(self) -> int:
        """The C handle, for functions that this package does not wrap."""
        if self._handle is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._handle

    @property
    def closed(self) -> bool:
        return self._handle is None

    def close(self) -> None:
        if self._handle is not None:
            pointer = ctypes.c_void_p(self._handle)
            self._handle = None
            getattr(lib, self._free)(ctypes.byref(pointer))

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # At the interpreter's end what close() needs may be gone already.
        if self._handle is not None and lib is not None:
            self.close()


def out_pointer() -> ctypes.c_void_p:
    return ctypes.c_void_p()


def by_reference(value: Any) -> Any:
    return ctypes.byref(value)
