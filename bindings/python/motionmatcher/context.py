# SPDX-License-Identifier: BSD-2-Clause
"""A device with its settings, and what is reported while the library works."""
import logging
import math
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Optional, Protocol, TypeVar

from . import _prototypes as c
from ._native import (
    Handle,
    by_reference,
    check,
    lib,
    optional_text,
    out_pointer,
    text,
)
from .options import Options, Value

_logger = logging.getLogger("motionmatcher")
_LEVELS = {
    c.LEVEL_WARNING: logging.WARNING,
    c.LEVEL_NOTICE: logging.INFO,
    c.LEVEL_INFO: logging.INFO,
    c.LEVEL_DEBUG: logging.DEBUG,
}
_KINDS = {
    c.EVENT_LOADED: "loaded",
    c.EVENT_PLAN: "plan",
    c.EVENT_STEP: "step",
    c.EVENT_OUTPUT: "output",
    c.EVENT_STAGE: "stage",
    c.EVENT_SUBSTEP: "substep",
}


class _HasStatus(Protocol):
    @property
    def status(self) -> int: ...


_Found = TypeVar("_Found", bound=_HasStatus)


@dataclass(frozen=True)
class Event:
    """What the library is doing: `kind` says which fields hold something."""

    kind: str  # "loaded", "plan", "step", "output", "stage" or "substep"
    step: int  # from 1
    of: int
    seconds: float
    loss: Optional[float]  # of a training step
    loss_spatial: Optional[float]
    loss_temporal: Optional[float]
    timestep: Optional[int]
    peak_bytes: int
    planned_peak_bytes: int
    path: Optional[str]
    text: Optional[str]


def _number(value: float) -> Optional[float]:
    return None if math.isnan(value) else value


def _read_event(event: c.Event) -> Event:
    return Event(
        kind=_KINDS.get(event.kind, str(event.kind)),
        step=event.step,
        of=event.of,
        seconds=event.seconds,
        loss=_number(event.loss),
        loss_spatial=_number(event.loss_spatial),
        loss_temporal=_number(event.loss_temporal),
        timestep=event.timestep if event.timestep >= 0 else None,
        peak_bytes=event.peak_bytes,
        planned_peak_bytes=event.planned_peak_bytes,
        path=optional_text(event.path),
        text=optional_text(event.text),
    )


class Context(Handle):
    """Keyword arguments are the options of table "context", such as threads=4, memory_budget="8G".

    on_event is called with every Event, on the thread that works; what it returns is ignored, what
    it raises ends the work after the step at hand and comes out of the call that was running; so does
    Ctrl-C. The library's log goes to logging.getLogger("motionmatcher").

    Whatever is made from one context must not be used by two threads at a time, nor by on_event;
    stop() and cancel() may come from anywhere."""

    _free = "mm_context_free"

    def __init__(
        self, *, on_event: Optional[Callable[[Event], object]] = None, **options: Value
    ) -> None:
        pointer = out_pointer()
        with Options("context", options) as settings:
            check(lib.mm_context_create(by_reference(pointer), settings.pointer))
        self._adopt(pointer)
        self.on_event = on_event
        self._raised: Optional[BaseException] = None
        self._planned = 0
        # The library calls these for as long as anything made from the context works.
        self._callbacks = (c.LogCallback(self._log), c.EventCallback(self._report))
        lib.mm_context_set_log(self.pointer, self._callbacks[0], None)
        lib.mm_context_set_events(self.pointer, self._callbacks[1], None)

    @staticmethod
    def _log(user: Any, level: int, message: bytes) -> None:
        _logger.log(_LEVELS.get(level, logging.DEBUG), "%s", text(message))

    def _report(self, user: Any, event: Any) -> int:
        def hand_over() -> None:
            read = _read_event(event.contents)
            if read.kind == "plan":
                self._planned = read.planned_peak_bytes
            if self.on_event is not None:
                self.on_event(read)

        return self._guard(hand_over)

    def _guard(self, callback: Callable[[], object]) -> int:
        """Runs Python code for the library, which must not see an exception. 1 asks it to stop."""
        try:
            callback()
        except BaseException as error:  # KeyboardInterrupt too
            self._raised = self._raised or error
            return 1
        return 0

    def _interrupt(self, number: int, frame: Optional[FrameType]) -> None:
        if self._raised is None:
            self._raised = KeyboardInterrupt()
            self.stop()
        else:
            self.cancel()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """An exception that a signal raises before a callback's first line would be lost: Ctrl-C is
        noted instead, and raised when the call has ended."""
        mine = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if mine:
            signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            if mine:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def _run(self, function: Callable[..., int], *arguments: Any) -> None:
        """Calls what may call back."""
        self._run_status(function, *arguments)

    def _run_status(
        self, function: Callable[..., int], *arguments: Any, allowed: int = c.OK
    ) -> int:
        with self._interruptible():
            status = function(*arguments)
        raised, self._raised = self._raised, None
        if raised is not None:
            self.resume()
            raise raised
        if status != allowed:
            check(status)
        return status

    def _collect(
        self,
        function: Callable[..., int],
        pointer: int,
        callback_type: Callable[..., Any],
        read: Callable[[Any], _Found],
        seen: Optional[Callable[[_Found], object]],
    ) -> List[_Found]:
        """What `function` hands over piece by piece; `seen` is called with each.

        Where it skipped videos, that raises only if none of the pieces has their status."""
        found: List[_Found] = []

        def keep(piece: Any) -> None:
            found.append(read(piece.contents))
            if seen is not None:
                seen(found[-1])

        callback = callback_type(lambda user, piece: self._guard(lambda: keep(piece)))
        skipped = c.ERR_RUNTIME
        status = self._run_status(function, pointer, callback, None, allowed=skipped)
        if status == skipped and not any(item.status for item in found):
            check(status)
        return found

    def _plan(self, function: Callable[..., int], pointer: int) -> int:
        self._planned = 0
        self._run(function, pointer)
        return self._planned

    def stop(self) -> None:
        """Asks for an end after the step at hand, with its checkpoint. From any thread."""
        lib.mm_context_stop(self.pointer)

    def cancel(self) -> None:
        """Asks for an end as soon as possible: the call that runs raises Cancelled. Any thread."""
        lib.mm_context_cancel(self.pointer)

    def resume(self) -> None:
        """Forgets stop() and cancel(), so that the context can be used again."""
        lib.mm_context_resume(self.pointer)

    @property
    def device(self) -> str:
        return text(lib.mm_context_device(self.pointer))

    @property
    def precision(self) -> str:
        return text(lib.mm_context_precision(self.pointer))

    @property
    def memory_budget(self) -> int:
        """Bytes that everything made from this context may take together."""
        return int(lib.mm_context_memory_budget(self.pointer))


def named_values(count: int, names: Any, values: Any) -> Dict[str, float]:
    """Two C arrays as a dictionary."""
    return {text(names[i]): float(values[i]) for i in range(count)} if values else {}
