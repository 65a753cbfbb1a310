"""Does what the debugger's actor wants done in Python, in a thread of its own that is not debugged."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from ..util.errors import text_of
from ..util.json import encode
from . import session
from .variables import Variables, modules

if TYPE_CHECKING:
    from collections.abc import Callable

    from .. import _core

logger = logging.getLogger("callboard.debugger")


class Service:
    """The work of one kernel's debugger."""

    def __init__(self, shell: Any) -> None:
        variables = Variables(shell)
        self._work: dict[str, Callable[..., dict[str, Any]]] = {
            "attach": session.attach,
            "detach": session.detach,
            "inspectVariables": lambda **_arguments: variables.inspect(),
            "variables": variables.members,
            "richInspectVariables": variables.rich,
            "modules": modules,
        }

    def handle(self, work: _core.DebugWork) -> None:
        """Does it, and says what came of it."""
        _hide_from_pydevd()
        what: dict[str, Any] = json.loads(work.what)
        do, arguments = what["do"], what.get("arguments") or {}
        if do == "attach":
            # It returns when the debugger's client is ready, which may be never.
            connect = threading.Thread(
                target=self._do, args=(work, do, arguments), name="Debugger connects", daemon=True
            )
            connect.start()
        else:
            self._do(work, do, arguments)

    def _do(self, work: _core.DebugWork, do: str, arguments: dict[str, Any]) -> None:
        _hide_from_pydevd()
        try:
            work.done(encode(self._work[do](**arguments)))
        except session.DebuggerError as error:
            work.failed(str(error))
        except BaseException as error:
            logger.debug("%s failed", do, exc_info=True)
            work.failed(f"{do} failed with {type(error).__name__}: {text_of(error)}")


def _hide_from_pydevd() -> None:
    """Has pydevd leave the calling thread alone: it is not shown, traced or stopped."""
    thread: Any = threading.current_thread()
    thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True
