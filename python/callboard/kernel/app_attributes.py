"""Attributes that libraries take from ipykernel's application: where the kernel listens, and its sockets."""

from __future__ import annotations

import os
from typing import Any

from ..util.json import decode

_PORTS = ("shell", "iopub", "stdin", "control", "hb")


def _port(name: str) -> property:
    """A property with the port of a channel."""

    def port(self: Any) -> int:
        return self.ports[name]  # type: ignore[no-any-return]

    return property(port)


class ConnectionAttributes:
    """The attributes of the application. Loaded with the first of them."""

    core: Any
    kernel: Any

    def get_connection_info(self) -> dict[str, Any]:
        """The content of the connection file."""
        info: dict[str, Any] = decode(self.core.connection)
        return info

    @property
    def abs_connection_file(self) -> str:
        """The path of the connection file."""
        return str(self.core.connection_file)

    @property
    def connection_dir(self) -> str:
        """The folder of the connection file."""
        return os.path.dirname(self.abs_connection_file)

    @property
    def ports(self) -> dict[str, int]:
        """The ports by channel."""
        info = self.get_connection_info()
        return {name: info[f"{name}_port"] for name in _PORTS}

    shell_port, iopub_port, stdin_port, control_port, hb_port = map(_port, _PORTS)

    @property
    def transport(self) -> str:
        """``tcp`` or ``ipc``."""
        return str(self.get_connection_info()["transport"])

    @property
    def ip(self) -> str:
        """The address that the kernel listens on."""
        return str(self.get_connection_info()["ip"])

    @property
    def kernel_class(self) -> type:
        return type(self.kernel)

    @property
    def session(self) -> Any:
        return self.kernel.session

    @property
    def iopub_socket(self) -> Any:
        return self.kernel.iopub_socket

    @property
    def iopub_thread(self) -> Any:
        return self.kernel.iopub_thread

    @property
    def shell_socket(self) -> Any:
        return self.kernel.shell_stream

    @property
    def control_socket(self) -> Any:
        return self.kernel.control_stream

    @property
    def stdin_socket(self) -> Any:
        return self.kernel.stdin_socket

    @property
    def control_thread(self) -> Any:
        return self.kernel.control_thread
