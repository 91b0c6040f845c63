# SPDX-License-Identifier: BSD-2-Clause
"""Scores videos."""
import ctypes
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

from . import _prototypes as c
from ._native import (
    Handle,
    Path,
    by_reference,
    encode,
    encode_path,
    lib,
    optional_text,
    out_pointer,
    text,
)
from .context import Context, named_values
from .options import Options, Value


@dataclass(frozen=True)
class Score:
    """Of one video, or the means over all videos, where path is None."""

    path: Optional[str]
    prompt: Optional[str]
    frames: int  # for the means the number of videos
    figures: Dict[str, float]
    status: int  # not 0: the video was skipped, and message says why
    message: Optional[str]
    seconds: float
    reference: Optional[str]  # what its motion was compared with


def _read(score: c.Score) -> Score:
    return Score(
        path=optional_text(score.path),
        prompt=optional_text(score.prompt),
        frames=score.frames,
        figures=named_values(score.figure_count, score.figures, score.values),
        status=score.status,
        message=optional_text(score.message),
        seconds=score.seconds,
        reference=optional_text(score.reference),
    )


class Evaluator(Handle):
    """Keyword arguments are the options of table "evaluate", over those of the file `config`."""

    _free = "mm_evaluator_free"

    def __init__(self, context: Context, config: Optional[Path] = None, **options: Value) -> None:
        pointer = out_pointer()
        with Options("evaluate", options, config) as settings:
            context._run(
                lib.mm_evaluator_create, by_reference(pointer), context.pointer, settings.pointer
            )
        self._adopt(pointer)
        self._context = context

    def add(
        self, path: Path, prompt: Optional[str] = None, reference: Optional[Path] = None
    ) -> None:
        """A video or a folder of videos, and where it is not the options' the prompt, and the video
        that their motion is compared with."""
        self._context._run(
            lib.mm_evaluator_add_pair,
            self.pointer,
            encode_path(path),
            None if prompt is None else encode(prompt),
            None if reference is None else encode_path(reference),
        )

    def __len__(self) -> int:
        return int(lib.mm_evaluator_video_count(self.pointer))

    @property
    def figures(self) -> List[str]:
        """The names of the figures that each video will get."""
        count = ctypes.c_size_t()
        names = lib.mm_evaluator_figures(self.pointer, by_reference(count))
        return [text(names[index]) for index in range(count.value)]

    def plan(self) -> int:
        """The bytes that the process will take at most."""
        return self._context._plan(lib.mm_evaluator_plan, self.pointer)

    def run(self, on_score: Optional[Callable[[Score], object]] = None) -> List[Score]:
        """Every video's score, the means at the end. on_score is called with each as it comes.

        Videos that cannot be read are among them, with their status, as long as one can."""
        return self._context._collect(
            lib.mm_evaluator_run, self.pointer, c.ScoreCallback, _read, on_score
        )

