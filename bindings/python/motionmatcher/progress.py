# SPDX-License-Identifier: BSD-2-Clause
"""A progress bar of what the library reports."""
from typing import Any, Callable, Optional

from .context import Event


class ProgressBar:
    """An on_event for a Context that drives a bar: Context(on_event=ProgressBar(tqdm.tqdm)).

    `make` is called as make(total=..., desc=...) and gives what has update(n), set_postfix(...) and
    close(), as tqdm does."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._bar: Optional[Any] = None
        self._done = 0
        self._kind = ""
        self._stage: Optional[str] = None

    def __call__(self, event: Event) -> None:
        if event.kind == "stage":
            self.close()
            self._stage = event.text
        elif event.kind in ("step", "substep"):
            self._step(event)

    def _step(self, event: Event) -> None:
        if self._bar is not None and (self._kind != event.kind or event.step <= self._done):
            self.close()
        if self._bar is None:
            self._bar = self._make(total=event.of, desc=self._stage)
            self._kind = event.kind
        if event.loss is not None:
            self._bar.set_postfix(loss=f"{event.loss:.4g}")
        self._bar.update(event.step - self._done)
        self._done = event.step
        if event.step == event.of:
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._done = None, 0
