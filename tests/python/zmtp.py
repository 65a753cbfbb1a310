"""Bare connections and sockets, the bytes of a ZMTP handshake, and bytes that are no ZMTP."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from support import TIMEOUT, Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client


def connected(address: tuple[str, int]) -> socket.socket:
    """A TCP connection that is reset when it is closed, so that ten thousand of them leave no ports behind that wait."""
    connection = socket.create_connection(address, TIMEOUT)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return connection


@contextlib.contextmanager
def raw(kind: int, address: tuple[str, int]) -> Iterator[zmq.Socket]:
    """A bare ZMQ socket."""
    with zmq.Context.instance().socket(kind) as bare:
        bare.linger = 0
        bare.connect("tcp://{}:{}".format(*address))
        yield bare


def signed(client: Client, msg_type: str, content: dict[str, Any] | None = None, **parts: Any) -> list[bytes]:
    session = client.kc.session
    return session.serialize(session.msg(msg_type, content or {}, **parts))


def answered(bare: zmq.Socket, client: Client) -> None:
    """Waits for the answer to a request that is sent now: all that was sent before has been read."""
    request = signed(client, "kernel_info_request")
    bare.send_multipart(request)
    msg_id = json.loads(request[2])["msg_id"]
    deadline = Deadline()
    while bare.poll(deadline.left("the answer") * 1000):
        _, frames = client.kc.session.feed_identities(bare.recv_multipart())
        if json.loads(frames[2]).get("msg_id") == msg_id:
            return
    pytest.fail("no answer came")


GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f"
NULL = GREETING + b"\x03\0" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)


def ready(socket_type: bytes) -> bytes:
    """The rest of a handshake."""
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(socket_type)) + socket_type
    return b"\x04" + bytes([len(body)]) + body


READY = ready(b"DEALER")

#: Bytes that are no ZMTP, or stop being it at some point.
RAW = [
    b"",
    b"\0",
    b"\xff",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(200),
    b"SSH-2.0-OpenSSH_9.2\r\n",
    os.urandom(10_000),
    b"\xff" * 10_000,
    bytes(10_000),
    GREETING[:9],
    GREETING,
    *(GREETING + bytes([version]) for version in (0, 1, 2, 3, 4, 255)),
    *(GREETING + bytes([version]) + b"\x05" * 100 for version in (0, 1, 2)),
    *(GREETING + b"\x03\0" + name.ljust(20, b"\0") + bytes(32) for name in (b"PLAIN", b"CURVE", b"GSSAPI", b"X" * 20)),
    *(GREETING + b"\x03\x01" + name.ljust(20, b"\0") + b"\x01" + bytes(31) for name in (b"CURVE", b"PLAIN")),
    NULL,
    NULL + b"\x04\x00",
    NULL + b"\x04\xff" + b"\xff" * 300,
    NULL + b"\x04\x06\x05READ",
    NULL + b"\x04\x06\x05WRONG",
    NULL + b"\x04\x19\x05READY\x0bSocket-Type\xff\xff\xff\xff" + bytes(6),
    NULL + b"\x04\x19\x05READY\xff" + bytes(30),
    NULL + b"\x04\x16\x05READY\x0bSocket-Type\0\0\0\x03PUB",
    NULL + b"\x06" + struct.pack(">Q", 1 << 63) + bytes(100),
    NULL + READY,
    NULL + READY + b"\0\x05ab",
    NULL + READY + b"\x01\0" * 1000,
    NULL + READY + b"\x02" + struct.pack(">Q", (1 << 64) - 1) + bytes(1000),
    NULL + READY + b"\x02" + struct.pack(">Q", 1 << 62) + bytes(1000),
    NULL + READY + b"\x02" + struct.pack(">Q", 1 << 33) + bytes(1000),
    NULL + READY + b"\x04\x05\x04PING",
    NULL + READY + b"\x04\x07\x04PING\0\0" + b"\x04\x05\x04PONG" * 100,
    NULL + READY + b"\x04\x0a\x09SUBSCRIBE" + b"\x04\x07\x06CANCEL",
    NULL + READY + b"\x04\x06\x05ERROR" * 10,
    NULL + READY + b"\xf8\0" * 100,
    *(
        NULL + ready(name) + b"\0\x01\x01"
        for name in (b"REQ", b"SUB", b"XSUB", b"PUB", b"ROUTER", b"PAIR", b"", b"X" * 99)
    ),
]
