# SPDX-License-Identifier: BSD-2-Clause
"""The motion features of a clip."""
from typing import Any, List, Optional

from ._native import (
    Handle,
    Path,
    by_reference,
    check,
    encode,
    encode_path,
    lib,
    out_pointer,
    text,
)
from .model import Model
from .options import Options, Value
from .tensor import Tensor
from .video import Video


class Extractor(Handle):
    """Keyword arguments are the options of table "features", over those of the file `config`.

    Set a clip, run(), then look at the maps ca and tsa."""

    _free = "mm_extractor_free"

    def __init__(self, model: Model, config: Optional[Path] = None, **options: Value) -> None:
        pointer = out_pointer()
        self._context = model.context
        with Options("features", options, config) as settings:
            self._context._run(
                lib.mm_extractor_create, by_reference(pointer), model.pointer, settings.pointer
            )
        self._adopt(pointer)

    def plan(self) -> int:
        """The bytes that the process will take at most."""
        return self._context._plan(lib.mm_extractor_plan, self.pointer)

    def set_video(self, video: Video, prompt: str) -> None:
        self._context._run(
            lib.mm_extractor_set_video, self.pointer, video.pointer, encode(prompt)
        )

    def set_latents(self, latents: Any, prompt: str) -> None:
        """A clip that is encoded already: [1, channels, frames, height, width]."""
        tensor = Tensor.of(latents)
        self._context._run(
            lib.mm_extractor_set_latents, self.pointer, tensor.pointer, encode(prompt)
        )

    def run(self, timestep: Optional[int] = None, noise: Any = None) -> None:
        """At the options' timestep and with their noise, where none are given."""
        if timestep is None and noise is None:
            self._context._run(lib.mm_extractor_run, self.pointer)
            return
        if timestep is None:
            raise ValueError("noise needs a timestep")
        tensor = None if noise is None else Tensor.of(noise)
        self._context._run(
            lib.mm_extractor_run_at, self.pointer, timestep, tensor and tensor.pointer
        )

    @property
    def ca(self) -> Tensor:
        """Cross-attention [frames, h', w', 77]: where each token of the prompt is seen."""
        pointer = out_pointer()
        check(lib.mm_extractor_ca(self.pointer, by_reference(pointer)))
        return Tensor._of_pointer(pointer)

    @property
    def tsa(self) -> Tensor:
        """Temporal self-attention [h', w', frame that looks, frame looked at]."""
        pointer = out_pointer()
        check(lib.mm_extractor_tsa(self.pointer, by_reference(pointer)))
        return Tensor._of_pointer(pointer)

    @property
    def tokens(self) -> List[str]:
        """The prompt's tokens with start and end, without padding."""
        count = lib.mm_extractor_tokens(self.pointer)
        return [text(lib.mm_extractor_token(self.pointer, index)) for index in range(count)]

    def write(self, path: Path) -> None:
        """The maps as safetensors."""
        self._context._run(lib.mm_extractor_write, self.pointer, encode_path(path))

    def write_pictures(self, directory: Path) -> None:
        """The maps as PNG pictures."""
        self._context._run(
            lib.mm_extractor_write_pictures, self.pointer, encode_path(directory)
        )
