"""Starts pydevd, which dials the debugger's actor, and removes it again."""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Any


class DebuggerError(Exception):
    """What a client is told: what is wrong, and what to do."""


def attach(host: str, port: int, token: str) -> dict[str, Any]:
    """Starts pydevd and has it connect to this address. It shows the token there."""
    debugpy = _import_debugpy()
    # Child processes run to their end: nobody would answer what pydevd says there.
    debugpy.configure(subProcess=False)
    debugpy.connect((host, port), access_token=token)
    _send_at_once()
    return {}


def _send_at_once() -> None:
    """Has pydevd's socket send small messages at once: it writes the header and the body apart, and the second would
    wait for the acknowledgement of the first, which comes after 40 ms."""
    db = sys.modules["pydevd"].get_global_debugger()
    if db is not None and db.writer is not None:
        db.writer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _import_debugpy() -> Any:
    name = "PYDEVD_DISABLE_FILE_VALIDATION"
    before = os.environ.get(name)
    # It would warn of frozen modules, in whose files nobody sets breakpoints. Child processes inherit the variable.
    os.environ[name] = "1"
    try:
        import debugpy
    except ImportError as error:
        msg = f"the debugger needs the package debugpy ({error}): {sys.executable} -m pip install 'callboard[debug]'"
        raise DebuggerError(msg) from error
    finally:
        if before is None:
            del os.environ[name]
    return debugpy


def detach() -> dict[str, Any]:
    """Removes what pydevd has put into threads."""
    pydevd = sys.modules.get("pydevd")
    if pydevd is not None:
        if (db := pydevd.get_global_debugger()) is not None:
            # Ends `attach`, if that still waits for the client.
            db.ready_to_run = True
        pydevd.stoptrace()
        if sys.version_info < (3, 12):
            _remove_traces()
    return {}


def _remove_traces() -> None:
    """Removes the trace functions of all threads: ``stoptrace`` removes its own thread's."""
    for ident, frame in sys._current_frames().items():
        if ident == threading.get_ident():
            continue
        while frame is not None:
            frame.f_trace = None
            frame = frame.f_back
