# SPDX-License-Identifier: BSD-2-Clause
"""A text-to-video diffusion model in the diffusers directory layout."""
import ctypes
import os
from typing import List

from ._native import Handle, Path, by_reference, check, encode, encode_path, lib, out_pointer
from .context import Context

PROMPT_TOKENS = 77


class Model(Handle):
    """Opening checks every file; weights are loaded when they are needed."""

    _free = "mm_model_free"

    def __init__(self, context: Context, directory: Path) -> None:
        pointer = out_pointer()
        context._run(
            lib.mm_model_open, by_reference(pointer), context.pointer, encode_path(directory)
        )
        self._adopt(pointer)
        self.context = context
        self.directory = os.fspath(directory)

    @property
    def vae_factor(self) -> int:
        """Pixels of a side for one latent: width and height must be multiples of it."""
        return int(lib.mm_model_vae_factor(self.pointer))

    def tokenize(self, prompt: str) -> List[int]:
        ids = (ctypes.c_int64 * PROMPT_TOKENS)()
        check(lib.mm_model_tokenize(self.pointer, encode(prompt), ids))
        return list(ids)
