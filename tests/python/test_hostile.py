"""Hostile clients over real sockets. Meanwhile a good client works, and each of its requests is answered rightly.

What odd messages are answered with is in `test_bad_input.py`; here it matters that no other client is disturbed.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zmq
from good_client import GoodClient
from support import TIMEOUT, Deadline
from zmtp import NULL, RAW, READY, answered, connected, raw, ready, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client, Kernel


CHANNELS = ("shell", "control", "stdin", "iopub", "hb")

MEGABYTE = 1_000_000

#: The mode of the other clients' cells: the good client's errors abort the cells that are queued behind them.
BESIDE = "# task\n"


@pytest.fixture
def good(kernel: Kernel) -> Iterator[GoodClient]:
    """A client that works while a test attacks; at the end it must have worked once more, undisturbed."""
    good = GoodClient(kernel)
    try:
        yield good
        good.work()
    finally:
        good.close()
    assert kernel.alive
    for sign in ("panicked", "Assertion failed", "internal error"):
        assert sign not in kernel.terminal


@pytest.fixture
def addresses(kernel: Kernel) -> dict[str, tuple[str, int]]:
    """The addresses of the kernel's sockets."""
    info = json.loads(Path(kernel.connection_file).read_text())
    return {name: (info["ip"], info[f"{name}_port"]) for name in CHANNELS}


def memory(kernel: Kernel, name: str = "VmRSS") -> int:
    """The memory of the kernel, MB; with `VmHWM` the most since `forget_peak`."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the system does not tell how much memory another process has")
    for line in Path(f"/proc/{kernel.process.pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 // MEGABYTE
    raise LookupError(name)


def forget_peak(kernel: Kernel) -> None:
    Path(f"/proc/{kernel.process.pid}/clear_refs").write_text("5")


def test_bytes_that_are_no_zmtp(good: GoodClient, addresses: dict[str, tuple[str, int]]) -> None:
    with contextlib.ExitStack() as kept:
        for address in addresses.values():
            for data in RAW:
                connection = connected(address)
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
                if len(data) % 2:
                    connection.close()
                else:
                    kept.enter_context(connection)
        good.work()


def test_ten_thousand_connections(good: GoodClient, client: Client, addresses: dict[str, tuple[str, int]]) -> None:
    opened = 0
    forged = [b"<IDS|MSG>", b"0" * 64, *signed(client, "kernel_info_request")[2:]]
    for batch in range(19):
        for address in addresses.values():
            for n in range(100):
                with connected(address) as connection, contextlib.suppress(ConnectionError):
                    # As far as it comes: nothing, a part of the greeting, a handshake, half a message.
                    connection.sendall((NULL + READY + b"\x02")[: n * batch % 100])
                opened += 1
        for name in ("shell", "control", "stdin", "hb"):
            with contextlib.ExitStack() as stack:
                for _ in range(7):
                    bare = stack.enter_context(raw(zmq.DEALER, addresses[name]))
                    bare.linger = 100
                    bare.send_multipart(forged)
                    opened += 1
    # The rest is connected for certain when it closes.
    while opened < 10_000:
        with raw(zmq.DEALER, addresses["shell"]) as bare:
            answered(bare, client)
        opened += 1
    good.work()


def test_hundreds_of_connections_that_say_nothing_more(
    good: GoodClient, kernel: Kernel, addresses: dict[str, tuple[str, int]]
) -> None:
    with contextlib.ExitStack() as kept:
        for n in range(60):
            for address in addresses.values():
                connection = kept.enter_context(connected(address))
                connection.sendall((NULL + READY + b"\x02")[: n * 2])
        good.work(2)
        with kernel.connect() as another:
            assert another.run(BESIDE + "1 + 1").result == "2"
        good.work()


def test_a_kernel_without_descriptors_serves_those_who_are_there(
    kernel: Kernel, client: Client, addresses: dict[str, tuple[str, int]]
) -> None:
    if sys.platform != "linux":
        pytest.skip("limits of another process can be set on Linux only")
    pid = kernel.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    assert before[0] >= min(4096, before[1]), "the kernel has raised its limit"
    client.run("1/0")  # what shows tracebacks is loaded: that needs files
    limit = len(os.listdir(f"/proc/{pid}/fd")) + 10
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        with contextlib.ExitStack() as kept:
            for _ in range(60):  # more than there is room for, fewer than the system lets wait
                kept.enter_context(connected(addresses["shell"]))
            # libzmq takes what waits as soon as it comes to it.
            full = client.run("open('/dev/null')")
            while full.status == "ok":
                full = client.run("open('/dev/null')")
            assert full.reply["evalue"].startswith("[Errno 24] Too many open files")
            assert client.run("2 + 2").result == "4"
            for channel in ("shell", "control"):
                assert client.ask("kernel_info_request", channel=channel)["status"] == "ok"
            endless = client.start("print('started')\nwhile True: pass")
            assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
            assert client.finish(endless).error["ename"] == "KeyboardInterrupt"
            refused = client.ask("create_subshell_request", channel="control")
            assert (refused["status"], refused["ename"]) == ("error", "CallerError")
            assert "Too many open files" in client.run("input()").reply["evalue"]
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    with kernel.connect() as another:
        assert another.run("3 + 3").result == "6"
        assert another.ask("create_subshell_request", channel="control")["status"] == "ok"
    assert kernel.alive
    assert "Assertion failed" not in kernel.terminal


def test_huge_messages_are_dropped_or_answered_and_their_memory_comes_back(
    good: GoodClient, kernel: Kernel, client: Client, addresses: dict[str, tuple[str, int]]
) -> None:
    huge = bytes(200 * MEGABYTE)
    dicts = signed(client, "kernel_info_request")[2:]
    before = memory(kernel)
    for name in ("shell", "control"):
        for frames in (
            [huge],
            [huge, b"<IDS|MSG>", b"0" * 64, *dicts],
            [b"<IDS|MSG>", huge, *dicts],
            [b"<IDS|MSG>", b"0" * 64, *dicts[:3], huge],
            [*signed(client, "no_request_at_all"), huge],
            signed(client, "kernel_info_request", {"more": "x" * len(huge)}),
        ):
            with raw(zmq.DEALER, addresses[name]) as bare:
                bare.send_multipart(frames, copy=False)
                answered(bare, client)
            del frames
    good.work()
    assert memory(kernel) < before + 150


def test_a_message_that_never_ends_is_gone_with_its_connection(
    good: GoodClient, kernel: Kernel, addresses: dict[str, tuple[str, int]]
) -> None:
    before = memory(kernel)
    for name in ("shell", "control", "stdin", "hb"):
        with connected(addresses[name]) as connection:
            connection.sendall(NULL + READY)
            # A terabyte is announced; libzmq asks for the memory before it comes.
            connection.sendall(b"\x02" + struct.pack(">Q", 1 << 40))
            with contextlib.suppress(ConnectionError):
                connection.sendall(bytes(10 * MEGABYTE))
        with connected(addresses[name]) as connection:
            connection.sendall(NULL + READY)
            # Frames, and always one more to come.
            with contextlib.suppress(ConnectionError):
                connection.sendall((b"\x01\xff" + bytes(255)) * 100_000)
            good.work()
    good.work()
    assert memory(kernel) < before + 150


def test_a_flood_of_wrong_signatures(
    good: GoodClient, kernel: Kernel, client: Client, addresses: dict[str, tuple[str, int]]
) -> None:
    forged = [b"<IDS|MSG>", b"0" * 64, *signed(client, "execute_request", {"code": "forged = 1"})[2:]]
    lines = kernel.terminal.count("\n")
    for name in ("shell", "control", "stdin"):
        with raw(zmq.DEALER, addresses[name]) as bare:
            for _ in range(20_000):
                bare.send_multipart(forged)
            if name == "stdin":
                good.work()
            else:
                answered(bare, client)
    assert client.run(BESIDE + "'forged' in globals()").result == "False"
    assert "signature is wrong" in kernel.terminal
    deadline = Deadline()
    while "more messages were dropped than are logged" not in kernel.terminal:
        deadline.left("the number of messages that were dropped")
        good.work()
    assert kernel.terminal.count("\n") - lines < 2000, "the log is not flooded"


def test_messages_on_the_wrong_channels(
    good: GoodClient, client: Client, addresses: dict[str, tuple[str, int]]
) -> None:
    client.run(BESIDE + "misled = 0")
    code = {"code": "misled = 1", "silent": False}
    for n in range(20):
        for name in ("shell", "control"):
            client.send("execute_reply", {"status": "ok", "execution_count": n}, channel=name)
            client.send("input_reply", {"value": f"nobody asked {n}"}, channel=name)
            client.send("input_request", {"prompt": "", "password": False}, channel=name)
            client.send("status", {"execution_state": "dead"}, channel=name)
            client.send("shutdown_reply", {"restart": False, "status": "ok"}, channel=name)
        client.send("input_reply", {"value": f"nobody asked {n}"}, channel="stdin")
        client.send("input_reply", {"no value": n}, channel="stdin")
        for kind in ("execute_request", "comm_open", "shutdown_request", "interrupt_request", "no_request"):
            client.send(kind, {**code, "restart": False, "comm_id": "a", "target_name": "echo"}, channel="stdin")
        with raw(zmq.XSUB, addresses["iopub"]) as bare:
            for kind, content in (("execute_request", code), ("shutdown_request", {}), ("stream", {"name": "stdout"})):
                bare.send_multipart(signed(client, kind, content))
        with raw(zmq.DEALER, addresses["hb"]) as bare:
            bare.send_multipart(signed(client, "shutdown_request", {}))
    good.work()
    assert client.run(BESIDE + "misled").result == "0"


def test_odd_subscriptions(good: GoodClient, kernel: Kernel, addresses: dict[str, tuple[str, int]]) -> None:
    """One that is too long closes its connection, before libzmq makes a node of each of its bytes."""
    memory(kernel)
    forget_peak(kernel)
    before = memory(kernel, "VmHWM")
    for size in (1, 100, 1000, 10_000, 10 * MEGABYTE):
        # Not by libzmq: its own memory of what is subscribed to would not survive the longest.
        with connected(addresses["iopub"]) as connection:
            connection.sendall(NULL + ready(b"SUB"))
            with contextlib.suppress(ConnectionError):
                for n in range(20 if size < MEGABYTE else 3):
                    for first in (b"\x01", b"\0", b"\x02", b""):
                        topic = first + os.urandom(size) + bytes([n])
                        connection.sendall(b"\x02" + struct.pack(">Q", len(topic)) + topic)
                    connection.sendall(b"\x01\x03\x01ab" + b"\0\x03\x01cd")
            good.work()
    assert memory(kernel, "VmHWM") < before + 150
    # What a good subscriber wants is there at once.
    with kernel.connect() as another:
        assert another.run(BESIDE + "1 + 1").result == "2"


def test_heartbeats_that_are_not_read(good: GoodClient, kernel: Kernel, addresses: dict[str, tuple[str, int]]) -> None:
    before = memory(kernel)
    with connected(addresses["hb"]) as connection:
        connection.settimeout(5)
        connection.sendall(NULL + READY)
        frame = b"\x02" + struct.pack(">Q", 100_000) + bytes(100_000)
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(5000):
                connection.sendall(frame)
        good.work()
        assert memory(kernel) < before + 150
    with raw(zmq.DEALER, addresses["hb"]) as heart:
        heart.send(b"ping")
        assert heart.poll(TIMEOUT * 1000)
        assert heart.recv() == b"ping"
