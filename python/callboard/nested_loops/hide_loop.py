"""Hides the event loop that runs in a thread while a nested one runs, and restores it. Imported on first use."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio import _get_running_loop, _set_running_loop
from typing import TYPE_CHECKING

from ..aio.event_loop_policy import event_loop_policy
from . import sigint

if TYPE_CHECKING:
    from types import ModuleType

# Since Python 3.14 a thread has one current task, whatever its loop.
_swap_current_task = getattr(asyncio.tasks, "_swap_current_task", None)


class NestedRun(sigint.Run):
    """A loop that runs inside another one, and what it hides of that one."""

    def __init__(
        self,
        thread: sigint.ThreadRuns,
        *,
        is_trio: bool,
        library: str | None,
        trio: ModuleType | None,
        sniffio: ModuleType | None,
    ) -> None:
        """`library` is the name for sniffio to set. ``trio._core._run`` and sniffio are given if they are imported."""
        super().__init__(thread, starting=library is None)
        self._is_trio = is_trio
        self._trio = trio
        self._sniffio = sniffio
        self._name = library
        self._library: tuple[str | None, str | None] | None = None
        self._wakeup_fd: int | None = None

    def begin(self) -> None:
        """Hides the loop that runs. To be called with `switching` set."""
        thread = self.thread
        loop = self._loop = _get_running_loop()
        self._task = asyncio.current_task() if loop is not None else None
        trio = self._trio.GLOBAL_RUN_CONTEXT.__dict__ if self._trio is not None else {}
        self._trio_context = dict(trio)
        self._policys_loop = _loop_of_policy()
        if thread.run is None:
            thread.task = trio.get("task", self._task)
        self._outer, thread.run = thread.run, self
        if self._task is not None and _swap_current_task is not None:
            _swap_current_task(loop, None)
        _set_running_loop(None)
        trio.clear()
        self._asyncgen_hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        if (sniffio := self._sniffio) is not None:
            self._library = sniffio.thread_local.name, sniffio.current_async_library_cvar.get()
            sniffio.thread_local.name = self._name
            sniffio.current_async_library_cvar.set(None)
        if thread is sigint.main:
            self._wakeup_fd = signal.set_wakeup_fd(-1)
            if not self._is_trio:
                # Signals for the outer loop are kept for it. trio would warn about such a descriptor.
                self._restore_wakeup_fd()
        self.switched()

    def end(self) -> None:
        """Restores what `begin` has hidden, if it has. To be called with `switching` set."""
        thread = self.thread
        if thread.run is self:
            _set_running_loop(self._loop)
            if self._task is not None and _swap_current_task is not None:
                _swap_current_task(self._loop, self._task)
            if self._trio is not None:
                trio = self._trio.GLOBAL_RUN_CONTEXT.__dict__
                trio.clear()
                trio.update(self._trio_context)
            sys.set_asyncgen_hooks(*self._asyncgen_hooks)
            if self._library is not None and self._sniffio is not None:
                self._sniffio.thread_local.name, library = self._library
                self._sniffio.current_async_library_cvar.set(library)
            if _loop_of_policy() is not self._policys_loop:
                # asyncio.Runner leaves none.
                asyncio.set_event_loop(self._policys_loop)
            if thread is sigint.main:
                self._restore_wakeup_fd()
                sigint.restore_handler()
                if self.asked is not None:
                    self.heard()
            thread.run = self._outer
            if thread.run is None:
                thread.task = None
        self.switched()

    def _restore_wakeup_fd(self) -> None:
        if self._wakeup_fd is not None:
            # Its owner may have closed it.
            with contextlib.suppress(OSError, ValueError):
                signal.set_wakeup_fd(self._wakeup_fd, warn_on_full_buffer=False)


def _loop_of_policy() -> asyncio.AbstractEventLoop | None:
    """The loop that was given to `asyncio.set_event_loop` in this thread."""
    return getattr(getattr(event_loop_policy(), "_local", None), "_loop", None)
