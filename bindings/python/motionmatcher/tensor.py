# SPDX-License-Identifier: BSD-2-Clause
"""Numbers that are shared with the library, NumPy and PyTorch without being copied."""
import ctypes
import itertools
import sys
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from . import _prototypes as c
from ._native import Handle, by_reference, check, lib, out_pointer, text

if TYPE_CHECKING:
    import numpy

_DL_CPU = 1
_TYPES = {"f32": "<f4", "f16": "<f2", "f64": "<f8", "i32": "<i4", "i64": "<i8", "u8": "|u1"}
_NAMES = {typestr: name for name, typestr in _TYPES.items()}
_BYTES = {"f32": 4, "f16": 2, "bf16": 2, "f64": 8, "i32": 4, "i64": 8, "u8": 1}

_NEW, _OLD = b"dltensor_versioned", b"dltensor"
_USED = {_NEW: b"used_dltensor_versioned", _OLD: b"used_dltensor"}

# Capsules are handled by address: where one is about to end, an object of it must not be made.
_new_capsule = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_set_name = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_SetName", ctypes.pythonapi)
)
# Where the deleter stands in each structure, after fields of fixed sizes.
_DELETER_AT = {_NEW: 8 + ctypes.sizeof(ctypes.c_void_p), _OLD: 48 + ctypes.sizeof(ctypes.c_void_p)}
_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _end_capsule(capsule: int) -> None:
    """Nobody took the tensor out of the capsule."""
    for name in (_NEW, _OLD):
        if _is_valid(capsule, name):
            managed = _get_pointer(capsule, name)
            deleter = ctypes.c_void_p.from_address(managed + _DELETER_AT[name]).value
            if deleter:
                _Deleter(deleter)(managed)


_destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_end_capsule)
# Capsules may outlive this module at the interpreter's end.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_destructor))

# What tensors of the program's memory refer to, until the library lets go of it.
_borrowed: Dict[int, Any] = {}
_keys = itertools.count(1)
_release = c.ReleaseCallback(lambda key: _borrowed.pop(key, None))
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_release))


class Tensor(Handle):
    """Numbers in memory, which do not change: numpy.asarray(t), torch.from_dlpack(t).

    Tensor.of(x) refers to the memory of an array or a tensor of another library."""

    _free = "mm_tensor_free"

    @classmethod
    def _of_pointer(cls, pointer: ctypes.c_void_p) -> "Tensor":
        tensor = cls.__new__(cls)
        tensor._adopt(pointer)
        return tensor

    def __init__(self, source: Any) -> None:
        """A reference to what `source` holds: anything with __array_interface__ or __dlpack__.

        The memory must not change while the tensor, or what was made from it, is in use."""
        if hasattr(source, "__array_interface__"):
            self._adopt(_wrap_array(source))
        elif hasattr(source, "__dlpack__"):
            self._adopt(_take_capsule(_ask_capsule(source)))
        else:
            raise TypeError(f"{type(source).__name__} is no array: it has no __dlpack__")

    @classmethod
    def of(cls, source: Any) -> "Tensor":
        """The tensor itself, or a reference to an array of another library."""
        return source if isinstance(source, Tensor) else cls(source)

    @property
    def dtype(self) -> str:
        """f32, f16, bf16, f64, i32, i64 or u8."""
        return text(lib.mm_tensor_dtype(self.pointer))

    @property
    def ndim(self) -> int:
        return int(lib.mm_tensor_rank(self.pointer))

    @property
    def shape(self) -> Tuple[int, ...]:
        return tuple(lib.mm_tensor_shape(self.pointer)[: self.ndim])

    @property
    def strides(self) -> Tuple[int, ...]:
        """In elements."""
        return tuple(lib.mm_tensor_strides(self.pointer)[: self.ndim])

    @property
    def data(self) -> int:
        """The address of the first element."""
        return lib.mm_tensor_data(self.pointer) or 0

    def __repr__(self) -> str:
        return "Tensor(closed)" if self.closed else f"Tensor({self.dtype}, {list(self.shape)})"

    @property
    def __array_interface__(self) -> Dict[str, Any]:
        dtype = self.dtype
        if dtype not in _TYPES:
            raise TypeError(f"NumPy has no {dtype}; torch.from_dlpack() takes it")
        return {
            "version": 3,
            "typestr": _TYPES[dtype],
            "shape": self.shape,
            "strides": tuple(stride * _BYTES[dtype] for stride in self.strides),
            "data": (self.data, True),
        }

    def numpy(self) -> "numpy.ndarray[Any, Any]":
        """A read-only array of the same memory."""
        import numpy

        interface = self.__array_interface__  # which says what is wrong, where something is
        assert interface["version"] == 3
        return numpy.asarray(self)

    def __dlpack_device__(self) -> Tuple[int, int]:
        return (_DL_CPU, 0)

    def __dlpack__(
        self,
        *,
        stream: Optional[int] = None,
        max_version: Optional[Tuple[int, int]] = None,
        dl_device: Optional[Tuple[int, int]] = None,
        copy: Optional[bool] = None,
    ) -> Any:
        if stream is not None:
            raise BufferError("the CPU's memory has no streams")
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError("the tensor is in the CPU's memory")
        if copy:
            raise BufferError("a tensor is given out without copying")
        new = max_version is not None and max_version[0] >= 1
        managed = out_pointer()
        export = lib.mm_tensor_to_dlpack if new else lib.mm_tensor_to_old_dlpack
        check(export(self.pointer, by_reference(managed)))
        return _new_capsule(managed, _NEW if new else _OLD, _destructor)


def _is_number(source: Any) -> bool:
    """NumPy's numbers claim an array interface, of memory that is gone at once."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(source, numpy.generic)


def _ask_capsule(source: Any) -> Any:
    try:
        return source.__dlpack__(max_version=(1, 0))
    except TypeError:  # older than DLPack 1
        return source.__dlpack__()


def _take_capsule(capsule: Any) -> ctypes.c_void_p:
    address, pointer = id(capsule), out_pointer()
    for name, take in (
        (_NEW, lib.mm_tensor_from_dlpack),
        (_OLD, lib.mm_tensor_from_old_dlpack),
    ):
        if _is_valid(address, name):
            check(take(by_reference(pointer), _get_pointer(address, name)))
            _set_name(address, _USED[name])
            return pointer
    raise TypeError("__dlpack__() gave no capsule of a tensor that is still to be taken")


def _wrap_array(source: Any) -> ctypes.c_void_p:
    interface = source.__array_interface__
    if not isinstance(interface.get("data"), tuple) or _is_number(source):
        raise TypeError(f"{type(source).__name__} has no memory to refer to; make an array of it")
    dtype = _NAMES.get(interface["typestr"])
    if dtype is None:
        raise TypeError(
            f"elements of type {interface['typestr']}; {', '.join(_TYPES)} are possible"
        )
    shape, pointer = tuple(interface["shape"]), out_pointer()
    strides, size = interface.get("strides"), _BYTES[dtype]
    if strides is not None and any(stride % size for stride in strides):
        raise TypeError("strides that are no multiple of the elements' size")
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    steps = strides and (ctypes.c_int64 * len(shape))(*(stride // size for stride in strides))
    key = next(_keys)
    _borrowed[key] = source
    try:
        check(
            lib.mm_tensor_wrap(
                by_reference(pointer),
                interface["data"][0],
                dtype.encode(),
                len(shape),
                sizes,
                steps or None,
                _release,
                key,
            )
        )
    except BaseException:
        del _borrowed[key]
        raise
    return pointer
