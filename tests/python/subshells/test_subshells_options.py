"""The `%subshell` magic, and the options `--no-subshells` and `--comms-in-subshells`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from subshell_tools import Subshell

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


@pytest.mark.parametrize("there", [False, True])
def test_comm_messages_run_in_the_subshell_they_name_if_that_is_wanted(
    start_kernel: Callable[..., Kernel], there: bool
) -> None:
    with start_kernel(*(["--comms-in-subshells"] if there else [])).connect() as client:
        subshell = Subshell(client)
        client.run(
            "import threading, comm\ndef on_open(comm, message):\n"
            "    comm.send({'main': threading.current_thread() is threading.main_thread(), "
            "'shell': get_ipython().subshell_id})\n"
            "    print('handled')\n"
            "comm.get_comm_manager().register_target('where', on_open)"
        )
        content = {"comm_id": "c1", "target_name": "where", "data": {}}
        msg_id = client.send("comm_open", content, header=subshell.header)
        client.wait_idle(msg_id)
        (answer,) = (m for m in client.published(msg_id) if m["msg_type"] == "comm_msg")
        assert answer["content"]["data"] == {"main": not there, "shell": subshell.id if there else None}
        assert "handled\n" in "".join(m["content"].get("text", "") for m in client.published(msg_id))
        # One that names none is the main shell's.
        msg_id = client.send("comm_open", {**content, "comm_id": "c2"})
        client.wait_idle(msg_id)
        (answer,) = (m for m in client.published(msg_id) if m["msg_type"] == "comm_msg")
        assert answer["content"]["data"] == {"main": True, "shell": None}
