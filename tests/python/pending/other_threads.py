"""Calls functions in other threads, for tests of Pending."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


#: The longest that a wait may take before a test fails, seconds.
PATIENCE = 60.0


class InThread:
    """Calls a function in a thread. Its result, and what it raises, come out at the end of the block."""

    def __init__(self, func: Callable[..., Any], *args: Any) -> None:
        self._func, self._args = func, args
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.result = self._func(*self._args)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that asked for it
            self.error = error

    def __enter__(self) -> InThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the thread hangs"
        if hasattr(self, "error"):
            raise self.error


def in_thread(func: Callable[..., Any], *args: Any) -> None:
    """Calls a function in a thread, a little later than now."""
    threading.Timer(0.005, func, args).start()
