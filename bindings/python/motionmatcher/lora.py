# SPDX-License-Identifier: BSD-2-Clause
"""LoRA files and the matrices in them."""
import ctypes
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
    text,
)
from .context import Context
from .model import Model
from .tensor import Tensor

_PREFIX, _DOWN, _UP = "unet.", ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class LoraLayer:
    """It adds alpha / rank * up * down to the weight of the module `path`."""

    path: str
    dtype: str
    rank: int
    inputs: int
    outputs: int
    alpha: float
    norm: float  # Frobenius norm of what it adds


class Lora(Handle):
    """A set of layers, without any from Lora(model), or those of a file from Lora.open()."""

    _free = "mm_lora_free"

    def __init__(self, model: Model) -> None:
        pointer = out_pointer()
        check(lib.mm_lora_create(by_reference(pointer), model.pointer))
        self._adopt(pointer)
        self._context = model.context

    @classmethod
    def _of_pointer(cls, pointer: ctypes.c_void_p, context: Context) -> "Lora":
        lora = cls.__new__(cls)
        lora._adopt(pointer)
        lora._context = context
        return lora

    @classmethod
    def open(cls, owner: Union[Model, Context], path: Path) -> "Lora":
        """A file, a checkpoint directory or a directory of PEFT's. With a Model its layers are those
        that the model has, and must fit it; with a Context they are the file's."""
        pointer = out_pointer()
        context = owner.context if isinstance(owner, Model) else owner
        function = lib.mm_lora_open if isinstance(owner, Model) else lib.mm_lora_open_alone
        context._run(function, by_reference(pointer), owner.pointer, encode_path(path))
        return cls._of_pointer(pointer, context)

    @classmethod
    def from_state_dict(
        cls, model: Model, tensors: Mapping[str, Any], alpha: Optional[float] = None
    ) -> "Lora":
        """Of PEFT's names: "unet.<path>.lora_A.weight" and "...lora_B.weight". No copies are made.

        alpha: of all layers; without one it is each layer's rank."""
        lora = cls(model)
        for name, down in tensors.items():
            if not name.endswith(_DOWN):
                if not name.endswith(_UP):
                    raise ValueError(f"{name!r} ends neither with {_DOWN} nor with {_UP}")
                if name[: -len(_UP)] + _DOWN not in tensors:
                    raise ValueError(f"{name!r} is there without its {_DOWN}")
                continue
            stem = name[: -len(_DOWN)]
            if stem + _UP not in tensors:
                raise ValueError(f"{name!r} is there without its {_UP}")
            path = stem[len(_PREFIX) :] if stem.startswith(_PREFIX) else stem
            lora.add_layer(path, down, tensors[stem + _UP], alpha)
        return lora

    @classmethod
    def merge(
        cls, loras: Sequence["Lora"], weights: Optional[Sequence[float]] = None
    ) -> "Lora":
        """One that adds just what all of them add together, each times its weight."""
        if not loras:
            raise ValueError("there is nothing to merge")
        factors = [1.0] * len(loras) if weights is None else list(weights)
        if len(factors) != len(loras):
            raise ValueError(f"{len(loras)} LoRAs, and {len(factors)} weights")
        pointer = out_pointer()
        handles = (ctypes.c_void_p * len(loras))(*(lora.pointer for lora in loras))
        numbers = (ctypes.c_double * len(loras))(*factors)
        check(lib.mm_lora_merge(by_reference(pointer), handles, numbers, len(loras)))
        return cls._of_pointer(pointer, loras[0]._context)

    def __len__(self) -> int:
        return int(lib.mm_lora_modules(self.pointer))

    @property
    def format(self) -> str:
        """Of the file: "peft", "diffusers", "kohya" or "pt"."""
        return text(lib.mm_lora_format(self.pointer))

    @property
    def rank(self) -> int:
        """The largest of the layers' ranks."""
        return int(lib.mm_lora_rank(self.pointer))

    @property
    def tensors(self) -> int:
        """How many the file has."""
        return int(lib.mm_lora_tensors(self.pointer))

    @property
    def tensors_applied(self) -> int:
        """How many of them the layers hold."""
        return int(lib.mm_lora_tensors_applied(self.pointer))

    @property
    def layers(self) -> List[LoraLayer]:
        return [self._describe(index) for index in range(len(self))]

    def _describe(self, index: int) -> LoraLayer:
        info = c.LoraLayerInfo(struct_size=ctypes.sizeof(c.LoraLayerInfo))
        check(lib.mm_lora_describe(self.pointer, index, by_reference(info)))
        return LoraLayer(
            path=text(info.path),
            dtype=text(info.dtype),
            rank=info.rank,
            inputs=getattr(info, "in"),
            outputs=info.out,
            alpha=info.alpha,
            norm=info.norm,
        )

    def matrices(self, index: int) -> Tuple[Tensor, Tensor]:
        """down [rank, in] and up [out, rank] of a layer, as they are stored."""
        down, up = out_pointer(), out_pointer()
        check(lib.mm_lora_matrices(self.pointer, index, by_reference(down), by_reference(up)))
        return Tensor._of_pointer(down), Tensor._of_pointer(up)

    def state_dict(self) -> Dict[str, Tensor]:
        """All matrices under PEFT's names, without copying. They do not hold the alphas."""
        tensors = {}
        for index, layer in enumerate(self.layers):
            down, up = self.matrices(index)
            tensors[_PREFIX + layer.path + _DOWN] = down
            tensors[_PREFIX + layer.path + _UP] = up
        return tensors

    def add_layer(self, path: str, down: Any, up: Any, alpha: Optional[float] = None) -> None:
        """alpha: the rank where none is given, so that just up * down is added."""
        a, b = Tensor.of(down), Tensor.of(up)
        scale = float(a.shape[0] if alpha is None and a.ndim else alpha or 0.0)
        check(lib.mm_lora_add_layer(self.pointer, encode(path), a.pointer, b.pointer, scale))

    @property
    def metadata(self) -> Dict[str, str]:
        entries: Dict[str, str] = {}
        while True:
            key = lib.mm_lora_metadata_key(self.pointer, len(entries))
            if key is None:
                return entries
            value = optional_text(lib.mm_lora_metadata(self.pointer, key))
            entries[text(key)] = value or ""

    def put_metadata(self, key: str, value: str) -> None:
        check(lib.mm_lora_put_metadata(self.pointer, encode(key), encode(value)))

    def scale(self, factor: float) -> None:
        """Multiplies what the LoRA adds. Matrices that were given out stay as they are."""
        check(lib.mm_lora_scale(self.pointer, factor))

    def save(self, path: Path, format: Optional[str] = None) -> None:
        """"peft", "kohya" or "pt"; without a format by the path's ending."""
        name = None if format is None else encode(format)
        self._context._run(lib.mm_lora_save, self.pointer, encode_path(path), name)

    def fuse(self, directory: Path) -> None:
        """Writes the model's UNet with the LoRA added to it, for from_pretrained()."""
        self._context._run(lib.mm_lora_fuse, self.pointer, encode_path(directory))
