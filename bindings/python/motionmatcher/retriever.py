# SPDX-License-Identifier: BSD-2-Clause
"""Finds videos of like motion."""
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

from . import _prototypes as c
from ._native import (
    Handle,
    Path,
    by_reference,
    encode_path,
    lib,
    optional_text,
    out_pointer,
)
from .context import named_values
from .model import Model
from .options import Options, Value

_KINDS = {
    c.RETRIEVED_VIDEO: "video",
    c.RETRIEVED_QUERY: "query",
    c.RETRIEVED_MEAN: "mean",
    c.RETRIEVED_SKIPPED: "skipped",
}


@dataclass(frozen=True)
class Retrieval:
    """A video found for a query, nearest first; the average precisions of a query; the means over
    all queries; or a video that cannot be read."""

    kind: str  # "video", "query", "mean" or "skipped"
    query: Optional[str]
    path: Optional[str]
    rank: int  # from 1
    positive: Optional[bool]  # None: not known
    positives: int
    candidates: int
    figures: Dict[str, float]  # of a video distances, else average precisions
    spreads: Dict[str, float]
    chance: float
    status: int
    message: Optional[str]


def _read(found: c.Retrieval) -> Retrieval:
    return Retrieval(
        kind=_KINDS.get(found.kind, str(found.kind)),
        query=optional_text(found.query),
        path=optional_text(found.path),
        rank=found.rank,
        positive=None if found.positive < 0 else bool(found.positive),
        positives=found.positives,
        candidates=found.candidates,
        figures=named_values(found.figure_count, found.figures, found.values),
        spreads=named_values(found.figure_count, found.figures, found.spreads),
        chance=found.chance,
        status=found.status,
        message=optional_text(found.message),
    )


class Retriever(Handle):
    """Keyword arguments are the options of table "retrieve", over those of the file `config`."""

    _free = "mm_retriever_free"

    def __init__(self, model: Model, config: Optional[Path] = None, **options: Value) -> None:
        pointer = out_pointer()
        self._context = model.context
        with Options("retrieve", options, config) as settings:
            self._context._run(
                lib.mm_retriever_create, by_reference(pointer), model.pointer, settings.pointer
            )
        self._adopt(pointer)

    def add(self, path: Path) -> None:
        """A video or a folder of videos."""
        self._context._run(lib.mm_retriever_add, self.pointer, encode_path(path))

    def __len__(self) -> int:
        return int(lib.mm_retriever_video_count(self.pointer))

    def plan(self) -> int:
        """The bytes that the process will take at most."""
        return self._context._plan(lib.mm_retriever_plan, self.pointer)

    def run(self, on_retrieval: Optional[Callable[[Retrieval], object]] = None) -> List[Retrieval]:
        """Everything that is found. on_retrieval is called with each as it comes.

        Videos that cannot be read are among it, as kind "skipped", as long as two can."""
        return self._context._collect(
            lib.mm_retriever_run, self.pointer, c.RetrievalCallback, _read, on_retrieval
        )
