# SPDX-License-Identifier: BSD-2-Clause
"""Trains a motion LoRA."""
from typing import Optional

from ._native import Handle, Path, by_reference, encode, encode_path, lib, out_pointer
from .lora import Lora
from .model import Model
from .options import Options, Value
from .video import Video


class Trainer(Handle):
    """Keyword arguments are the options of table "train", over those of the file `config`.

    Add clips, run(), then take the lora(). With output_dir a run is written as mm-train does, without
    it nothing is."""

    _free = "mm_trainer_free"

    def __init__(self, model: Model, config: Optional[Path] = None, **options: Value) -> None:
        pointer = out_pointer()
        with Options("train", options, config) as settings:
            model.context._run(
                lib.mm_trainer_create, by_reference(pointer), model.pointer, settings.pointer
            )
        self._adopt(pointer)
        self._model = model

    @classmethod
    def resume(cls, model: Model, directory: Path, **options: Value) -> "Trainer":
        """Goes on with a run from its newest checkpoint. Options must agree with it, except steps."""
        trainer, pointer = cls.__new__(cls), out_pointer()
        with Options("train", options) as settings:
            run = model.context._run
            run(lib.mm_trainer_load_options, settings.pointer, encode_path(directory))
            run(lib.mm_trainer_resume, by_reference(pointer), model.pointer, settings.pointer)
        trainer._adopt(pointer)
        trainer._model = model
        return trainer

    def add_clip(self, video: Video, prompt: str) -> None:
        self._model.context._run(
            lib.mm_trainer_add_clip, self.pointer, video.pointer, encode(prompt)
        )

    def plan(self) -> int:
        """The bytes that the process will take at most."""
        return self._model.context._plan(lib.mm_trainer_plan, self.pointer)

    def run(self) -> None:
        """To the last step. After Context.stop() it raises Cancelled, and may be called again once
        the context is resumed."""
        self._model.context._run(lib.mm_trainer_run, self.pointer)

    def lora(self) -> Lora:
        """A copy of the LoRA as it stands."""
        pointer = out_pointer()
        self._model.context._run(lib.mm_trainer_lora, self.pointer, by_reference(pointer))
        return Lora._of_pointer(pointer, self._model.context)

    def replay(self, inputs: Path, outputs: Path) -> None:
        """Training steps on given numbers: docs/file-formats.md, "replay"."""
        self._model.context._run(
            lib.mm_trainer_replay, self.pointer, encode_path(inputs), encode_path(outputs)
        )
