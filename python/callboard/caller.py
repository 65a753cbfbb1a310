"""A Caller: a thread with an event loop, woken by its inbox."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core import Inbox, Request

logger = logging.getLogger("callboard.caller")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where that is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Caller:
    """Runs the event loop of the thread it is made on.

    Its inbox is filled by actors, which wake the loop through a descriptor: no call, no GIL.
    """

    def __init__(self, name: str, inbox: Inbox, handle: Callable[[Request], None]) -> None:
        self.name = name
        self.inbox = inbox
        self.loop = new_event_loop()
        asyncio.set_event_loop(self.loop)
        self._handle = handle
        self._stopping = False
        #: Called when the Caller is asked to stop; stops the loop at once by default.
        self.on_stop: Callable[[], None] = self.loop.stop

    def run(self) -> None:
        """Serves the inbox until the Caller is stopped."""
        self.loop.add_reader(self.inbox.fileno(), self._drain)
        while not self._stopping:
            try:
                self.loop.run_forever()
            except KeyboardInterrupt:
                # It hit a callback of the user's that no cell was waiting for.
                traceback.print_exc()
            except SystemExit:
                logger.warning("sys.exit() in a callback does not end the kernel: shut it down instead")
        self._close()

    def stop(self) -> None:
        """Ends the loop. To be called on the Caller's own thread."""
        self._stopping = True
        self.loop.stop()

    def _drain(self) -> None:
        for request in self.inbox.drain():
            if request is None:
                self.on_stop()
            else:
                self._handle(request)

    def _close(self) -> None:
        """Cancels what still runs, so that ``finally`` blocks of the user's tasks are executed."""
        self.loop.remove_reader(self.inbox.fileno())
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Exception, KeyboardInterrupt):
            if tasks:
                # What does not end is left behind: the process ends anyway.
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=0.5))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
