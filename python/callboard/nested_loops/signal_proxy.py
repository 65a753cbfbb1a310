"""The module ``signal`` as asyncio.Runner and trio see it."""

from __future__ import annotations

import signal
from typing import Any

from . import sigint


class SignalProxy:
    """The module ``signal``, except that a nested run finds SIGINT unhandled, and may handle it.

    asyncio.Runner and trio install a handler only if the default one is installed. The kernel's handler stays
    installed and calls theirs: installing it again afterwards would end the watch over it (`_core.watch_sigint`).
    `at_once`: their handler can be called as soon as it is installed.
    """

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def __getattr__(self, name: str) -> Any:
        return getattr(signal, name)

    def getsignal(self, signum: int) -> Any:
        if sigint.main.run is not None and sigint.is_kernels(signum):
            return sigint.main.run.on_sigint
        return signal.getsignal(signum)

    def signal(self, signum: int, handler: Any) -> Any:
        if not sigint.is_kernels(signum):
            return signal.signal(signum, handler)
        before = self.getsignal(signum)
        run = sigint.main.run
        if handler == before:
            return before
        if run is None:
            return signal.signal(signum, handler)
        run.on_sigint = handler
        if self._at_once or not sigint.main.interrupted:
            run.started()
        return before
