"""Does what the debugger's actor wants done in Python, in a thread of its own that is not debugged."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from ..util.errors import text_of
from . import session

if TYPE_CHECKING:
    from .. import _core

logger = logging.getLogger("callboard.debugger")


def handle(work: _core.DebugWork) -> None:
    """Does it, and says what came of it."""
    _hide_from_pydevd()
    what: dict[str, Any] = json.loads(work.what)
    do = what.pop("do")
    if do == "attach":
        # It returns when the debugger's client is ready, which may be never.
        threading.Thread(target=_do, args=(work, do, what), name="Debugger connects", daemon=True).start()
    else:
        _do(work, do, what)


def _do(work: _core.DebugWork, do: str, what: dict[str, Any]) -> None:
    _hide_from_pydevd()
    try:
        work.done(json.dumps(_WORK[do](**what)).encode())
    except session.DebuggerError as error:
        work.failed(str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, a client waits
        logger.debug("%s failed", do, exc_info=True)
        work.failed(f"{do} failed with {type(error).__name__}: {text_of(error)}")


def _hide_from_pydevd() -> None:
    """Has pydevd leave the calling thread alone: it is not shown, traced or stopped."""
    thread: Any = threading.current_thread()
    thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True


_WORK = {"attach": session.attach, "detach": session.detach}
