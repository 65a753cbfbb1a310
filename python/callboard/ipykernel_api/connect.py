"""How other clients connect to the kernel: ``ipykernel.connect``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..kernel.kernel import IPythonKernel


def _kernel() -> IPythonKernel:
    if not IPythonKernel.initialized():
        msg = "no kernel runs in this process: name a connection file"
        raise RuntimeError(msg)
    return IPythonKernel.instance()


def get_connection_file(app: Any = None) -> str:
    """Returns the path of the connection file of the kernel that runs, or of `app`, an application that has one."""
    path: str = _kernel().core.connection_file if app is None else app.abs_connection_file
    return path


def get_connection_info(connection_file: str | None = None, unpack: bool = False) -> str | dict[str, Any]:
    """Returns the content of a connection file: the one that is named, which jupyter_client looks for, or that of the
    kernel that runs. With `unpack` as a dict, in which the key is bytes."""
    text = _own_info() if connection_file is None else Path(_find(connection_file)).read_text()
    if not unpack:
        return text
    info: dict[str, Any] = json.loads(text)
    info["key"] = info.get("key", "").encode()
    return info


def _own_info() -> str:
    core = _kernel().core
    try:
        return Path(core.connection_file).read_text()
    except OSError:
        # Whoever started the kernel may have removed it.
        return core.connection.decode()


def connect_qtconsole(connection_file: str | None = None, argv: list[str] | None = None) -> subprocess.Popen[bytes]:
    """Opens a Qt console on the kernel that runs, or on that of a connection file; `argv` are options for it."""
    path = get_connection_file() if connection_file is None else _find(connection_file)
    command = "from qtconsole import qtconsoleapp; qtconsoleapp.main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, "--existing", path, *(argv or [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # An interrupt of the kernel leaves it alone.
        start_new_session=True,
    )


def _find(connection_file: str) -> str:
    from jupyter_client import find_connection_file

    path: str = find_connection_file(connection_file)
    return path
