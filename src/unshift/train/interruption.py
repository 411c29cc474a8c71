"""Ctrl-C between two steps, never within one: what is saved is a state that an undisturbed run also passes through."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """While entered, SIGINT raises :class:`KeyboardInterrupt` at once outside of, and at the end of, :meth:`shield`.

    A second SIGINT within one shield raises at once: the state is then ``broken`` and must not be saved.
    Outside the main thread, where Python delivers no signal, nothing is installed.
    """

    def __init__(self) -> None:
        self.broken = False
        self._shielded = False
        self._pending = False
        self._before: Any = None

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold an interruption back until the body is done."""
        self._shielded, is_done = True, False
        try:
            yield
            is_done = True
        finally:
            self._shielded = False
            self.broken = self.broken or not is_done
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._shielded and not self._pending:
            self._pending = True
            return
        raise KeyboardInterrupt

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
