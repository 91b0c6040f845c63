# SPDX-License-Identifier: BSD-2-Clause
"""Draws videos."""
import os
import tempfile
from contextlib import ExitStack
from typing import Any, Dict, List, Optional, Tuple, Union

from ._native import Handle, Path, by_reference, check, encode_path, lib, out_pointer
from .lora import Lora
from .model import Model
from .options import Item, Options, Value
from .tensor import Tensor
from .video import Video

LoraItem = Union[Path, Lora, Tuple[Union[Path, Lora], float]]


class Sampler(Handle):
    """Keyword arguments are the options of table "sample", over those of the file `config`.

    `lora` is a file, a checkpoint directory or a Lora, a pair of one and its weight, or a list."""

    _free = "mm_sampler_free"

    def __init__(
        self,
        model: Model,
        config: Optional[Path] = None,
        *,
        lora: Union[LoraItem, List[LoraItem], None] = None,
        **options: Value,
    ) -> None:
        pointer = out_pointer()
        self._context = model.context
        with ExitStack() as stack:
            given: Dict[str, Value] = dict(options, lora=_spell_loras(lora, stack))
            settings = stack.enter_context(Options("sample", given, config))
            self._context._run(lib.mm_sampler_complete_options, settings.pointer)
            self._context._run(
                lib.mm_sampler_create, by_reference(pointer), model.pointer, settings.pointer
            )
        self._adopt(pointer)

    def plan(self) -> int:
        """The bytes that the process will take at most."""
        return self._context._plan(lib.mm_sampler_plan, self.pointer)

    def set_init_latents(self, latents: Any) -> None:
        """Latents [1, channels, frames, height, width] in place of the random start; None: random."""
        tensor = None if latents is None else Tensor.of(latents)
        check(lib.mm_sampler_set_init_latents(self.pointer, tensor and tensor.pointer))

    def run(self) -> None:
        """Draws all videos (option repeat_num) into the files that the options name."""
        self._context._run(lib.mm_sampler_run, self.pointer, None)

    def draw(self) -> Video:
        """The same, and the last video."""
        pointer = out_pointer()
        try:
            self._context._run(lib.mm_sampler_run, self.pointer, by_reference(pointer))
        except BaseException:
            lib.mm_video_free(by_reference(pointer))
            raise
        if pointer.value is None:
            raise ValueError("the option steps_only ends before there are frames; use run()")
        video = Video.__new__(Video)
        video._adopt(pointer)
        return video

    @property
    def latents(self) -> Tensor:
        """Of the last video, before the VAE: [1, channels, frames, height, width]."""
        pointer = out_pointer()
        check(lib.mm_sampler_latents(self.pointer, by_reference(pointer)))
        return Tensor._of_pointer(pointer)

    @property
    def inversion(self) -> Tensor:
        """The noise that the reference was inverted to, shaped as the latents are."""
        pointer = out_pointer()
        check(lib.mm_sampler_inversion(self.pointer, by_reference(pointer)))
        return Tensor._of_pointer(pointer)


def _spell_loras(given: Any, stack: ExitStack) -> List[Item]:
    """As the option has them: "path:weight". A LoRA in memory is read again from a file."""
    if given is None:
        return []
    spelled: List[Item] = []
    for item in given if isinstance(given, list) else [given]:
        lora, weight = item if isinstance(item, tuple) else (item, 1.0)
        if isinstance(lora, Lora):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="motionmatcher-"))
            path = os.path.join(folder, "lora.safetensors")
            lora.save(path)
        else:
            path = os.fsdecode(encode_path(lora))
        spelled.append(path if weight == 1.0 else f"{path}:{float(weight)!r}")
    return spelled
