"""Signal handlers of the user's: what they raise hits code of the user's, and never the event loop or the kernel."""

from __future__ import annotations

import functools
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from .. import patches
from ..context import report_stray

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class UserHandler:
    """Takes the place of a handler that Python code installs."""

    __slots__ = ("_instead", "_may_raise", "context", "handler")

    def __init__(
        self,
        handler: Callable[[int, FrameType | None], Any],
        may_raise: Callable[..., bool],
        instead: Callable[[UserHandler, int, FrameType | None], bool],
    ) -> None:
        self.handler = handler
        self._may_raise = may_raise
        self._instead = instead
        #: Where it was installed: in a cell, mostly.
        self.context = copy_context()

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        if self._instead(self, signum, frame):
            return
        try:
            self.handler(signum, frame)
        except BaseException as error:
            if self._may_raise(frame):
                raise
            report_stray(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next), self.context)


def install(
    may_raise: Callable[[FrameType | None], bool],
    instead: Callable[[UserHandler, int, FrameType | None], bool],
    kernels: Callable[..., object],
) -> None:
    """Puts a `UserHandler` in the place of all handlers but the kernel's own, from now on. `may_raise` is asked whether
    the code that the signal has interrupted may be hit by an exception, `instead` handles it if that is not the user's
    to do, and returns whether it has."""

    def wrap_signal(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def signal(signalnum: int, handler: Any) -> Any:
            if callable(handler) and handler != kernels:
                handler = UserHandler(handler, may_raise, instead)
            return _users(original(signalnum, handler))

        return signal

    def wrap_getsignal(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def getsignal(signalnum: int) -> Any:
            return _users(original(signalnum))

        return getsignal

    patches.wrap("signal:signal", wrap_signal)
    patches.wrap("signal:getsignal", wrap_getsignal)


def _users(handler: Any) -> Any:
    return handler.handler if isinstance(handler, UserHandler) else handler
