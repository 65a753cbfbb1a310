"""Encryption: clients with the right key work, others get nothing and do no harm."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from jupyter_client.channels import HBChannel
from kernels_by_hand import KEYS, address, describe, one_line, start_in_vain, write_connection
from support import TIMEOUT, Kernel
from zmq.utils.monitor import recv_monitor_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


#: The type of the socket that a client connects to each channel.
CHANNELS = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB, "hb": zmq.REQ}

REJECTED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED


@pytest.fixture(params=["tcp", "ipc"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def encrypted(folder: Path, start_kernel: Callable[..., Kernel], transport: str) -> Kernel:
    """A kernel whose manager insists on encryption."""
    return start_kernel(folder=folder, settings={"transport": transport, "transport_encryption": "required"})


@pytest.fixture
def intrude() -> Iterator[Callable[..., zmq.Socket]]:
    """Connects a socket to a channel with these keys and sees it rejected."""
    opened: list[zmq.Socket] = []

    def connect(kernel: Kernel, channel: str, server_key: bytes | None) -> zmq.Socket:
        intruder = zmq.Context.instance().socket(CHANNELS[channel])
        opened.append(intruder)
        intruder.linger = 0
        if server_key is not None:
            intruder.curve_publickey, intruder.curve_secretkey = zmq.curve_keypair()
            intruder.curve_serverkey = server_key
        monitor = intruder.get_monitor_socket(REJECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            intruder.connect(address(describe(kernel), channel))
            assert monitor.poll(TIMEOUT * 1000)
            assert recv_monitor_message(monitor)["event"] & REJECTED
        finally:
            intruder.disable_monitor()
        return intruder

    yield connect
    for intruder in opened:
        intruder.close()


def push(intruder: zmq.Socket, frames: list[bytes]) -> None:
    """Sends, unless libzmq has given up: a socket without keys does not reconnect to a peer that encrypts."""
    with contextlib.suppress(zmq.Again):
        intruder.send_multipart(frames, zmq.NOBLOCK)


def test_an_encrypted_kernel_works_on_every_channel(encrypted: Kernel) -> None:
    info = describe(encrypted)
    assert len(info["curve_publickey"]) == len(info["curve_secretkey"]) == 40
    with encrypted.connect() as client:
        assert client.kc.shell_channel.socket.mechanism == zmq.CURVE
        assert client.run("print('out')\n6 * 7").result == "42"
        assert client.ask("kernel_info_request", channel="control")["status"] == "ok"
        asked = client.execute("input('name? ')")
        prompt = next(client.prompts())
        assert prompt["content"]["prompt"] == "name? "
        client.answer("Ada", prompt)
        assert client.finish(asked).result == "'Ada'"
    assert encrypted.terminal == ""


def test_the_heartbeat_of_an_encrypted_kernel_is_heard(encrypted: Kernel) -> None:
    info = describe(encrypted)
    # As jupyter_client makes it: with a key of its own.
    heart = HBChannel(
        zmq.Context.instance(), address=address(info, "hb"), curve_serverkey=info["curve_publickey"].encode()
    )
    heart._create_socket()
    try:
        for beat in (b"one", b"two"):
            heart.socket.send(beat)
            assert heart.socket.poll(TIMEOUT * 1000)
            assert heart.socket.recv() == beat
    finally:
        heart.socket.close()


def test_an_encrypted_kernel_is_restarted_with_its_keys(encrypted: Kernel) -> None:
    with encrypted.connect() as client:
        assert client.run("kept = 1").status == "ok"
    before = describe(encrypted)
    encrypted.manager.restart_kernel()
    assert describe(encrypted) == before
    with encrypted.connect() as client:
        assert client.run("'kept' in globals()").result == "False"


@pytest.mark.parametrize("keys", ["none", "wrong"])
def test_a_client_without_the_right_key_gets_nothing_and_does_no_harm(
    encrypted: Kernel, intrude: Callable[..., zmq.Socket], keys: str
) -> None:
    wrong = zmq.curve_keypair()[0] if keys == "wrong" else None
    with encrypted.connect() as client:
        intruders = {channel: intrude(encrypted, channel, wrong) for channel in CHANNELS}
        intruders["iopub"].setsockopt(zmq.SUBSCRIBE, b"")
        session = client.kc.session
        for channel in ("shell", "control"):
            # Signed with the right key: only encryption stands before it.
            push(intruders[channel], session.serialize(session.msg("kernel_info_request", {})))
            code = {"code": "intruded = True", "silent": False}
            push(intruders[channel], session.serialize(session.msg("execute_request", code)))
        push(intruders["hb"], [b"ping"])
        run = client.run("print('for friends')\n'intruded' in globals()")
        assert (run.stdout, run.result) == ("for friends\n", "False")
        assert client.ask("kernel_info_request", channel="control")["status"] == "ok"
        assert [channel for channel, intruder in intruders.items() if intruder.poll(0)] == []
    assert encrypted.alive
    assert "panicked" not in encrypted.terminal


def test_another_client_may_have_a_key_of_its_own(encrypted: Kernel) -> None:
    """As with ipykernel, knowing the kernel's public key is enough to connect. Messages are signed as well."""
    info = describe(encrypted)
    with encrypted.connect() as client, zmq.Context.instance().socket(zmq.DEALER) as other:
        other.linger = 0
        other.curve_publickey, other.curve_secretkey = zmq.curve_keypair()
        other.curve_serverkey = info["curve_publickey"].encode()
        other.connect(address(info, "shell"))
        session = client.kc.session
        other.send_multipart(session.serialize(session.msg("kernel_info_request", {})))
        assert other.poll(TIMEOUT * 1000)
        _, frames = session.feed_identities(other.recv_multipart())
        assert session.deserialize(frames)["msg_type"] == "kernel_info_reply"


def test_a_manager_that_does_not_ask_gets_no_encryption(
    folder: Path, start_kernel: Callable[..., Kernel], transport: str
) -> None:
    kernel = start_kernel(folder=folder, settings={"transport": transport})
    assert "curve_publickey" not in describe(kernel)
    with kernel.connect() as client:
        assert client.kc.shell_channel.socket.mechanism == zmq.NULL
        assert client.run("1 + 1").result == "2"
    assert kernel.terminal == ""


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"curve_publickey": KEYS[0]}, "curve_secretkey"),
        ({"curve_secretkey": KEYS[1]}, "curve_publickey"),
        ({"curve_publickey": "short", "curve_secretkey": KEYS[1]}, "curve_publickey"),
        ({"curve_publickey": KEYS[0], "curve_secretkey": "\\" * 40}, "curve_secretkey"),
        ({"curve_publickey": KEYS[0], "curve_secretkey": "%" * 40}, "curve_secretkey"),
        ({"curve_publickey": KEYS[1], "curve_secretkey": KEYS[0]}, "not the public key"),
        ({"curve_publickey": 5, "curve_secretkey": KEYS[1]}, "5"),
    ],
)
def test_bad_keys_are_told_at_the_start(way: str, tmp_path: Path, keys: dict[str, Any], told: str) -> None:
    line = one_line(start_in_vain(way, tmp_path, "-f", write_connection(tmp_path, **keys)))
    assert told in line
    assert "connection.json" in line
    assert KEYS[1] not in line
