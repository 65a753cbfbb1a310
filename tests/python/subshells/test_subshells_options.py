"""The magics `%subshell` and `%comms`, and the options `--no-subshells` and `--comms-in-subshells`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from subshell_tools import Subshell, blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel


def test_the_subshell_magic_says_where_it_is(client: Client, make: Callable[[], Subshell]) -> None:
    one, two = make(), make()
    text = one.run("%subshell").stdout
    assert one.id in text.splitlines()[0]
    assert {one.id, two.id} <= {line.strip() for line in text.splitlines()}
    assert "main shell" in client.run("%subshell").stdout.splitlines()[0]


def test_the_kernel_knows_its_subshells(client: Client, make: Callable[[], Subshell]) -> None:
    one = make()
    assert client.run(
        "{key: shell.subshell_id for key, shell in get_ipython().kernel.subshells.items()}"
    ).result == repr({one.id: one.id})
    assert one.run("get_ipython() is get_ipython().kernel.subshells[get_ipython().subshell_id]").result == "True"
    assert (
        one.run("get_ipython().kernel.shell is get_ipython().kernel.main_shell is not get_ipython()").result == "True"
    )


def test_without_subshells_they_are_neither_offered_nor_made(start_kernel: Callable[..., Kernel]) -> None:
    with start_kernel("--no-subshells").connect() as client:
        run = client.run("get_ipython().kernel.create_subshell()")
        assert "--no-subshells" in run.error["evalue"]
        assert "kernel subshells" not in client.ask("kernel_info_request").get("supported_features", [])
        for kind, content in (("create", {}), ("list", {}), ("delete", {"subshell_id": "x"})):
            reply = client.ask(f"{kind}_subshell_request", content, channel="control")
            assert reply["status"] == "error"
            assert "--no-subshells" in reply["evalue"]
        assert client.run("1", header={"subshell_id": "x"}).status == "error"
        assert client.run("1").result == "1"


#: A target of comms that sends back where its messages are handled.
WHERE = """
import threading, comm
def on_open(comm, message):
    here = {'main': threading.current_thread() is threading.main_thread(), 'shell': get_ipython().subshell_id}
    comm.send(here)
    print('handled')
comm.get_comm_manager().register_target('where', on_open)
"""


def handled(client: Client, comm_id: str, header: dict[str, Any]) -> dict[str, Any]:
    """Opens a comm; where that was handled."""
    msg_id = client.send("comm_open", {"comm_id": comm_id, "target_name": "where", "data": {}}, header=header)
    client.wait_idle(msg_id)
    assert "handled\n" in "".join(m["content"].get("text", "") for m in client.published(msg_id))
    (answer,) = (m for m in client.published(msg_id) if m["msg_type"] == "comm_msg")
    return answer["content"]["data"]


@pytest.mark.parametrize("there", [False, True])
def test_comm_messages_run_in_the_subshell_they_name_if_that_is_wanted(
    start_kernel: Callable[..., Kernel], there: bool
) -> None:
    with start_kernel(*(["--comms-in-subshells"] if there else [])).connect() as client:
        subshell = Subshell(client)
        client.run(WHERE)
        in_main = {"main": True, "shell": None}
        assert handled(client, "1", subshell.header) == ({"main": False, "shell": subshell.id} if there else in_main)
        # One that names none is the main shell's.
        assert handled(client, "2", {}) == in_main
        assert client.run("%comms").stdout.startswith("subshells: " if there else "shell: ")


def test_the_comms_magic_says_and_sets_where_comm_messages_are_handled(
    client: Client, make: Callable[[], Subshell]
) -> None:
    subshell = make()
    client.run(WHERE)
    in_main, in_subshell = {"main": True, "shell": None}, {"main": False, "shell": subshell.id}
    assert client.run("%comms").stdout.startswith("shell: ")
    assert client.run("%comms subshells").stdout == ""
    assert client.run("%comms").stdout.startswith("subshells: ")
    assert handled(client, "a", subshell.header) == in_subshell
    # Also from the subshell, whose magics are its own.
    assert subshell.run("%comms").stdout.startswith("subshells: ")
    assert subshell.run("%comms shell").status == "ok"
    assert handled(client, "b", subshell.header) == in_main
    refused = client.run("%comms elsewhere")
    assert "shell or subshells" in refused.stderr + str(refused.reply)
    assert client.run("%comms").stdout.startswith("shell: ")


def test_a_comm_is_handled_while_the_main_shell_is_blocked(client: Client, make: Callable[[], Subshell]) -> None:
    subshell = make()
    client.run(WHERE)
    client.run("%comms subshells")
    with blocked(client):
        assert handled(client, "c", subshell.header) == {"main": False, "shell": subshell.id}
    client.run("%comms shell")


@pytest.mark.parametrize("error", ["1/0", "raise KeyboardInterrupt", "raise SystemExit", "raise BaseException('odd')"])
def test_an_error_in_a_handler_in_a_subshell_is_survived(
    client: Client, make: Callable[[], Subshell], error: str
) -> None:
    subshell = make()
    client.run(
        "import comm\nclass Bad:\n    def __call__(self, comm, message):\n"
        f"        {error}\ncomm.get_comm_manager().register_target('bad', Bad())\n%comms subshells"
    )
    msg_id = client.send("comm_open", {"comm_id": "d", "target_name": "bad", "data": {}}, header=subshell.header)
    client.wait_idle(msg_id)
    client.run("%comms shell")
    assert subshell.run("'alive'").result == "'alive'"
    assert client.run("'alive'").result == "'alive'"


def test_a_handler_in_a_subshell_is_interrupted(client: Client, make: Callable[[], Subshell]) -> None:
    subshell = make()
    client.run(
        "import comm\ndef forever(comm, message):\n    print('started')\n    while True: pass\n"
        "comm.get_comm_manager().register_target('forever', forever)\n%comms subshells"
    )
    msg_id = client.send("comm_open", {"comm_id": "e", "target_name": "forever", "data": {}}, header=subshell.header)
    client.wait_text("started\n", msg_id)
    assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
    client.wait_idle(msg_id)
    assert client.run("%comms shell").status == "ok"
    assert subshell.run("'alive'").result == "'alive'"
