"""Requests that need no Python are answered while a cell holds the GIL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import zmq
from support import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client, Kernel

# The marker comes through the descriptor: it is shown although Python cannot run.
STARTED = "import os\nos.write(1, b'started\\n')\n"


@pytest.fixture
def busy(client: Client) -> str:
    """A cell that holds the GIL in one long call of C code: the id of its request."""
    return client.start(STARTED + "import ctypes\nctypes.PyDLL(None).usleep(2_000_000);")


@pytest.fixture
def summing(client: Client) -> str:
    """A cell that holds the GIL in Python's own C code."""
    return client.start(STARTED + "sum(range(100_000_000))")


@pytest.fixture
def backtracking(client: Client) -> Iterator[str]:
    """A cell that holds the GIL in a regular expression that takes longer than any test. It ends with an interrupt."""
    msg_id = client.start(STARTED + "import re\nre.match('(a*)*b', 'a' * 60)")
    yield msg_id
    assert not client.replied(msg_id)
    assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
    assert client.finish(msg_id).reply["ename"] == "KeyboardInterrupt"


@pytest.mark.parametrize("channel", ["control", "shell"])
@pytest.mark.parametrize(
    "msg_type",
    ["kernel_info_request", "connect_request", "comm_info_request", "usage_request", "list_subshell_request"],
)
def test_what_needs_no_python_is_answered(client: Client, backtracking: str, msg_type: str, channel: str) -> None:
    msg_id = client.send(msg_type, channel=channel)
    assert client.reply(msg_id, channel)["content"]["status"] == "ok"
    client.wait_idle(msg_id)
    assert not client.replied(backtracking)


@pytest.mark.parametrize("channel", ["control", "shell"])
def test_subshells_are_made_listed_and_deleted(client: Client, backtracking: str, channel: str) -> None:
    made = client.ask("create_subshell_request", channel=channel)["subshell_id"]
    assert client.ask("list_subshell_request", channel=channel)["subshell_id"] == [made]
    waiting = client.execute("'never'", header={"subshell_id": made})
    # On shell, requests are read in their order: this one comes after the cell.
    client.ask("kernel_info_request")
    assert client.ask("delete_subshell_request", {"subshell_id": made}, channel=channel)["status"] == "ok"
    assert client.ask("list_subshell_request", channel=channel)["subshell_id"] == []
    assert client.finish(waiting).status in ("aborted", "error")
    assert not client.replied(backtracking)


def test_a_subshell_whose_own_cell_holds_the_gil_is_deleted(client: Client) -> None:
    made = client.ask("create_subshell_request", channel="control")["subshell_id"]
    # What is written to the descriptor would be shown in the main shell's cell.
    code = "import ctypes\nprint('started', flush=True)\nctypes.PyDLL(None).usleep(2_500_000);"
    running = client.start(code, header={"subshell_id": made})
    behind = client.execute("'never'", header={"subshell_id": made})
    client.ask("kernel_info_request")
    assert client.ask("delete_subshell_request", {"subshell_id": made}, channel="control")["status"] == "ok"
    assert client.ask("list_subshell_request", channel="control")["subshell_id"] == []
    assert client.finish(behind).status == "aborted"
    assert not client.replied(running)
    assert client.finish(running).status in ("aborted", "error")
    assert client.run("'alive'").result == "'alive'"


def test_a_shutdown_is_answered(fresh_kernel: Kernel, fresh_client: Client) -> None:
    msg_id = fresh_client.start(STARTED + "sum(range(10**13))")
    assert fresh_client.ask("shutdown_request", {"restart": False}, channel="control")["status"] == "ok"
    fresh_client.wait(lambda m: m["msg_type"] == "shutdown_reply")
    assert not fresh_client.replied(msg_id)


@pytest.mark.parametrize("channel", ["control", "shell"])
def test_kernel_info_comes_before_the_end_of_the_cell(client: Client, busy: str, channel: str) -> None:
    for _ in range(20):
        assert client.ask("kernel_info_request", channel=channel)["status"] == "ok"
    assert not client.replied(busy)
    assert client.finish(busy).status == "ok"


@pytest.mark.parametrize("channel", ["control", "shell"])
def test_kernel_info_comes_before_the_end_of_a_long_sum(client: Client, summing: str, channel: str) -> None:
    for _ in range(20):
        assert client.ask("kernel_info_request", channel=channel)["status"] == "ok"
    assert not client.replied(summing)
    assert client.finish(summing).result == "4999999950000000"


@pytest.mark.parametrize("channel", ["control", "shell"])
def test_busy_and_idle_of_kernel_info_come_as_well(client: Client, busy: str, channel: str) -> None:
    msg_id = client.send("kernel_info_request", channel=channel)
    client.wait_idle(msg_id)
    states = [m["content"]["execution_state"] for m in client.published(msg_id)]
    assert states == ["busy", "idle"]
    assert not client.replied(busy)
    client.finish(busy)


def test_the_heartbeat_goes_on(client: Client, busy: str) -> None:
    with zmq.Context.instance().socket(zmq.REQ) as heart:
        heart.linger = 0
        heart.rcvtimeo = int(TIMEOUT * 1000)
        info = client.kc.get_connection_info()
        heart.connect(f"tcp://{info['ip']}:{info['hb_port']}")
        for beat in (b"ping", b"", bytes(range(256)), b"x" * 100_000):
            heart.send(beat)
            assert heart.recv() == beat
    assert not client.replied(busy)
    client.finish(busy)


@pytest.mark.parametrize(
    ("msg_type", "channel"),
    [("comm_info_request", "shell"), ("comm_info_request", "control"), ("connect_request", "shell")],
)
def test_other_requests_that_need_no_python_are_answered(
    client: Client, busy: str, msg_type: str, channel: str
) -> None:
    assert client.ask(msg_type, channel=channel)["status"] == "ok"
    assert not client.replied(busy)
    client.finish(busy)


def test_an_unknown_request_is_refused_at_once(client: Client, busy: str) -> None:
    assert client.ask("no_such_request")["status"] == "error"
    assert not client.replied(busy)
    client.finish(busy)


def test_an_interrupt_is_answered_at_once_and_works_when_the_gil_is_free(client: Client, summing: str) -> None:
    assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
    assert not client.replied(summing)
    run = client.finish(summing)
    assert run.reply["ename"] == "KeyboardInterrupt"
    assert client.run("'alive'").result == "'alive'"


def test_a_new_client_is_welcomed(kernel: Kernel, client: Client, busy: str) -> None:
    with kernel.connect() as other:
        other.ask("kernel_info_request")
        assert not client.replied(busy)
    client.finish(busy)


def test_output_of_c_code_is_shown_while_the_gil_is_held(client: Client) -> None:
    code = "import ctypes\nlibc = ctypes.PyDLL(None)\nlibc.system(b'echo started; exec sleep 2');"
    msg_id = client.start(code)
    assert not client.replied(msg_id)
    assert client.finish(msg_id).status == "ok"


def test_a_queue_of_requests_behind_the_cell_is_answered_in_its_order(client: Client, busy: str) -> None:
    cells = [client.execute(f"print({n})") for n in range(3)]
    infos = [client.send("kernel_info_request") for _ in range(3)]
    for msg_id in infos:
        client.reply(msg_id)
    assert not client.replied(busy)
    assert [client.finish(msg_id).stdout for msg_id in cells] == ["0\n", "1\n", "2\n"]
    order = [m["parent_header"]["msg_id"] for m in client.replies()]
    assert order == [*infos, busy, *cells]
