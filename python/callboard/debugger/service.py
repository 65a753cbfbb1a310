"""Does what the debugger's actor wants done in Python, in a thread of its own that is not debugged."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from ..util.errors import text_of
from ..util.json import encode
from .session import DebuggerError, Session, hide_from_pydevd
from .variables import Variables, modules

if TYPE_CHECKING:
    from collections.abc import Callable

    from .. import _core
    from ..callers.caller import Caller
    from ..interrupts.handler import Interrupts
    from ..protocols import ShellsLike

logger = logging.getLogger("callboard.debugger")


class Service:
    """The work of one kernel's debugger."""

    def __init__(self, shells: ShellsLike, interrupts: Interrupts, control: Caller) -> None:
        variables = Variables(shells.main)
        session = Session(shells, interrupts, control)
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
        hide_from_pydevd(threading.current_thread())
        try:
            work.done(encode(self._work[do](**arguments)))
        except DebuggerError as error:
            work.failed(str(error))
        except BaseException as error:
            logger.debug("%s failed", do, exc_info=True)
            work.failed(f"{do} failed with {type(error).__name__}: {text_of(error)}")
