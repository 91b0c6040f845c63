# SPDX-License-Identifier: BSD-2-Clause
"""One exception for each status of the C library; all of them are motionmatcher.Error."""
from typing import Dict, Type

from . import _prototypes as c


class Error(Exception):
    """A call of the library failed: `status` is its MM_ERR_ value, str() its message."""

    status: int = c.ERR_RUNTIME

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RunError(Error):
    """Failed while running, or an output cannot be written."""


class UsageError(Error, ValueError):
    """A bad argument, an unknown option, a value outside its range, a wrong order of calls."""

    status = c.ERR_USAGE


class InputError(Error):
    """An input cannot be read, is damaged, or does not fit."""

    status = c.ERR_INPUT


class UnsupportedError(Error):
    """An input is recognised but not supported."""

    status = c.ERR_UNSUPPORTED


class OutOfMemoryError(Error, MemoryError):
    """Not enough memory, or a plan does not fit the memory budget."""

    status = c.ERR_MEMORY


class DeviceError(Error):
    """The device that was asked for is not available."""

    status = c.ERR_DEVICE


class NonFiniteError(Error, ArithmeticError):
    """A loss, a gradient or a sample is not finite."""

    status = c.ERR_NONFINITE


class Cancelled(Error):
    """Ended by Context.stop() or Context.cancel()."""

    status = c.ERR_CANCELLED


_KINDS: Dict[int, Type[Error]] = {
    kind.status: kind
    for kind in (
        RunError,
        UsageError,
        InputError,
        UnsupportedError,
        OutOfMemoryError,
        DeviceError,
        NonFiniteError,
        Cancelled,
    )
}


def error_for(status: int, message: str) -> Error:
    return _KINDS.get(status, Error)(message, status)
