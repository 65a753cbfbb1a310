"""Which request the calling code runs for."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ._core import Parent, current_parent

__all__ = ["Parent", "current_parent", "follow_into_threads"]


def follow_into_threads() -> None:
    """Lets threads, and calls given to a thread pool, belong to the request that started them.

    asyncio hands a context on to tasks and callbacks by itself; ``threading`` does not (before Python 3.14,
    and there by option only).
    """
    _patch_thread()
    _patch_pool()


def _patch_thread() -> None:
    original = threading.Thread.start

    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        parent = current_parent.get(None)
        if parent is not None:
            run = self.run

            def run_for_parent() -> None:
                self.__dict__.pop("run", None)
                current_parent.set(parent)
                run()

            self.run = run_for_parent  # type: ignore[method-assign]
        original(self)

    threading.Thread.start = start  # type: ignore[method-assign]


def _patch_pool() -> None:
    original = ThreadPoolExecutor.submit

    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        parent = current_parent.get(None)
        if parent is None:
            return original(self, fn, *args, **kwargs)
        return original(self, _call_for, parent, fn, args, kwargs)

    ThreadPoolExecutor.submit = submit  # type: ignore[method-assign]


def _call_for(parent: Parent, fn: Any, args: tuple, kwargs: dict) -> Any:
    token = current_parent.set(parent)
    try:
        return fn(*args, **kwargs)
    finally:
        current_parent.reset(token)
