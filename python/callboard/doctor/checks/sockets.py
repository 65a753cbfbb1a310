"""Whether a program can talk to another one on this machine, as a client does to a kernel."""

from __future__ import annotations

import os
import socket
import tempfile
from typing import TYPE_CHECKING

from ..findings import error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation

#: Seconds for a connection on this machine.
_TIMEOUT = 2.0


def check(installation: Installation) -> Iterator[Finding]:
    found = []
    failure = _tcp()
    if failure:
        tell = error if installation.transport == "tcp" else warning
        mend = "allow them (`ip link set lo up`, firewall, sandbox), or set c.KernelManager.transport"
        text = f"no connection to 127.0.0.1 is possible: {failure}"
        found.append(tell("no-loopback", text, f'{mend} = "ipc"'))
    failure = _unix()
    if failure:
        tell = error if installation.transport == "ipc" else warning
        text = f"no Unix socket can be made in {tempfile.gettempdir()}: {failure}"
        found.append(tell("no-ipc", text, "set TMPDIR to a folder of yours on this machine"))
    yield from found
    if not found:
        yield ok(f"connections on 127.0.0.1 and Unix sockets work; kernels use {installation.transport}")


def _tcp() -> str | None:
    """Why a connection over loopback fails; None if it does not."""
    try:
        with socket.socket(socket.AF_INET) as listener:
            listener.bind(("127.0.0.1", 0))
            _exchange(listener, socket.AF_INET)
    except OSError as failure:
        return str(failure)
    return None


def _unix() -> str | None:
    """The same for a Unix socket."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="callboard-doctor-")
        with folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.join(folder.name, "socket"))
            _exchange(listener, socket.AF_UNIX)
    except OSError as failure:
        return str(failure)
    return None


def _exchange(listener: socket.socket, family: socket.AddressFamily) -> None:
    listener.settimeout(_TIMEOUT)
    listener.listen(1)
    with socket.socket(family) as client:
        client.settimeout(_TIMEOUT)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.settimeout(_TIMEOUT)
            server.sendall(b"callboard")
            if client.recv(9) != b"callboard":
                raise ConnectionError("what was sent did not arrive")
