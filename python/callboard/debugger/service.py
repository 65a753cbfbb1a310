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
    thread = threading.current_thread()
    # pydevd leaves such threads alone: they are not shown, traced or stopped.
    thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
    what: dict[str, Any] = json.loads(work.what)
    do = what.pop("do")
    try:
        work.done(json.dumps(_WORK[do](**what)).encode())
    except session.DebuggerError as error:
        work.failed(str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, a client waits
        logger.debug("%s failed", do, exc_info=True)
        work.failed(f"{do} failed with {type(error).__name__}: {text_of(error)}")


_WORK = {"attach": session.attach, "detach": session.detach}
