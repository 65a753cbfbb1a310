"""Comms: in both directions, with buffers, also while a cell waits."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support import Client

REGISTER = """
import comm
received = []
def target(c, message):
    global opened
    opened = c
    received.append(message)
    @c.on_msg
    def on_msg(message):
        received.append(message)
        c.send({'echo': message['content']['data']}, {'meta': 1}, message['buffers'])
    @c.on_close
    def on_close(message):
        received.append(message)
        print('closed by the frontend')
comm.get_comm_manager().register_target('test.target', target)
"""


def open_comm(client: Client, target: str = "test.target", **options: Any) -> tuple[str, str]:
    """Opens a comm from the frontend's side: its id, and the id of the message."""
    comm_id = uuid.uuid4().hex
    content = {"comm_id": comm_id, "target_name": target, "data": options.pop("data", {})}
    msg_id = client.send("comm_open", content, **options)
    client.wait_idle(msg_id)
    return comm_id, msg_id


def comm_message(client: Client, comm_id: str, msg_type: str = "comm_msg") -> dict[str, Any]:
    """The first message of this type that the kernel sends on a comm."""
    return client.wait(lambda m: m["msg_type"] == msg_type and m["content"]["comm_id"] == comm_id)


def test_a_frontend_opens_talks_and_closes(client: Client) -> None:
    client.run(REGISTER)
    comm_id, _ = open_comm(client, data={"hello": 1}, metadata={"m": 2})
    msg_id = client.send("comm_msg", {"comm_id": comm_id, "data": {"n": [1, None, "é🎭"]}})
    client.wait_idle(msg_id)
    echo = comm_message(client, comm_id)
    assert echo["content"]["data"] == {"echo": {"n": [1, None, "é🎭"]}}
    assert echo["metadata"] == {"meta": 1}
    assert echo["parent_header"]["msg_id"] == msg_id
    closing = client.send("comm_close", {"comm_id": comm_id, "data": {"bye": 1}})
    client.wait_text("closed by the frontend\n", closing)
    client.wait_idle(closing)
    assert client.run("[m['content']['data'] for m in received]").result == (
        "[{'hello': 1}, {'n': [1, None, 'é🎭']}, {'bye': 1}]"
    )
    assert client.run("received[0]['metadata']['m'], opened._closed").result == "(2, True)"


def test_the_kernel_opens_talks_and_closes(client: Client) -> None:
    run = client.run(
        "from comm import create_comm\n"
        "c = create_comm(target_name='frontend.target', data={'a': 1}, metadata={'b': 2}, buffers=[b'open'])\n"
        "c.send({'c': 3}, buffers=[b'msg'])\nc.close({'d': 4})\nc.comm_id"
    )
    assert run.types == ["busy", "execute_input", "comm_open", "comm_msg", "comm_close", "execute_result", "idle"]
    opened, sent, closed = (m for m in run.messages if m["msg_type"].startswith("comm_"))
    assert opened["content"]["target_name"] == "frontend.target"
    assert opened["content"]["data"] == {"a": 1}
    assert opened["metadata"] == {"b": 2}
    assert [bytes(b) for b in opened["buffers"]] == [b"open"]
    assert sent["content"]["data"] == {"c": 3}
    assert [bytes(b) for b in sent["buffers"]] == [b"msg"]
    assert closed["content"]["data"] == {"d": 4}
    assert {repr(m["content"]["comm_id"]) for m in (opened, sent, closed)} == {run.result}


def test_buffers_arrive_byte_for_byte_in_both_directions(client: Client) -> None:
    client.run(REGISTER)
    comm_id, _ = open_comm(client)
    buffers = [bytes(range(256)), b"", b"\x00" * 1000, b"<IDS|MSG>", "é".encode()]
    client.wait_idle(client.send("comm_msg", {"comm_id": comm_id, "data": {}}, buffers=buffers))
    assert [bytes(b) for b in comm_message(client, comm_id)["buffers"]] == buffers
    assert client.run("[type(b).__name__ for b in received[-1]['buffers']]").result == str(["memoryview"] * 5)


def test_large_buffers_arrive_whole(client: Client) -> None:
    client.run(REGISTER)
    comm_id, _ = open_comm(client)
    large = bytes(range(256)) * (16 * 1024 * 1024 // 256)
    client.wait_idle(client.send("comm_msg", {"comm_id": comm_id, "data": {}}, buffers=[large, b"small"]))
    first, second = comm_message(client, comm_id)["buffers"]
    assert bytes(first) == large
    assert bytes(second) == b"small"


def test_buffers_of_any_layout_are_sent(client: Client) -> None:
    run = client.run(
        "import array, numpy\nfrom comm import create_comm\n"
        "grid = numpy.arange(12, dtype='<i4').reshape(3, 4)\n"
        "c = create_comm(target_name='t')\n"
        "c.send({}, buffers=[memoryview(b'abcdef')[::2], grid.T, grid[:, ::2], grid, bytearray(b'ba'),\n"
        "    array.array('h', [1, -1]), memoryview(b''), numpy.asfortranarray(grid)])"
    )
    (sent,) = (m for m in run.messages if m["msg_type"] == "comm_msg")
    import numpy as np

    grid = np.arange(12, dtype="<i4").reshape(3, 4)
    assert [bytes(b) for b in sent["buffers"]] == [
        b"ace",
        grid.T.tobytes(),
        grid[:, ::2].tobytes(),
        grid.tobytes(),
        b"ba",
        np.array([1, -1], dtype="<i2").tobytes(),
        b"",
        grid.tobytes(),
    ]


def test_a_buffer_that_changes_after_it_was_sent_is_sent_as_it_was(client: Client) -> None:
    run = client.run(
        "from comm import create_comm\nc = create_comm(target_name='t')\ndata = bytearray(b'a' * 1_000_000)\n"
        "c.send({}, buffers=[data])\ndata[:] = b'b' * len(data)"
    )
    (sent,) = (m for m in run.messages if m["msg_type"] == "comm_msg")
    assert bytes(sent["buffers"][0]) == b"a" * 1_000_000


def test_comm_info_lists_the_open_comms(client: Client) -> None:
    client.run(REGISTER)
    comm_id, _ = open_comm(client)
    own = client.run(
        "from comm import create_comm\nmine = create_comm(target_name='other.target')\nmine.comm_id"
    ).result
    for channel in ("shell", "control"):
        comms = client.ask("comm_info_request", channel=channel)["comms"]
        assert comms[comm_id] == {"target_name": "test.target"}
        assert comms[own.strip("'")] == {"target_name": "other.target"}
    comms = client.ask("comm_info_request", {"target_name": "test.target"})["comms"]
    assert comm_id in comms
    assert own.strip("'") not in comms
    client.wait_idle(client.send("comm_close", {"comm_id": comm_id, "data": {}}))
    client.run("mine.close()")
    comms = client.ask("comm_info_request")["comms"]
    assert comm_id not in comms
    assert own.strip("'") not in comms


def test_an_unknown_target_is_closed_at_once(client: Client) -> None:
    comm_id, msg_id = open_comm(client, "no.such.target")
    closed = comm_message(client, comm_id, "comm_close")
    assert closed["parent_header"]["msg_id"] == msg_id
    assert comm_id not in client.ask("comm_info_request")["comms"]


def test_messages_to_an_unknown_comm_are_dropped(client: Client) -> None:
    client.wait_idle(client.send("comm_msg", {"comm_id": "unknown", "data": {}}))
    client.wait_idle(client.send("comm_close", {"comm_id": "unknown", "data": {}}))
    assert client.run("'alive'").result == "'alive'"


def test_a_comm_message_is_handled_while_a_cell_awaits(client: Client) -> None:
    client.run(REGISTER)
    client.run("import asyncio\ndone = asyncio.Event()\nopened_early = None")
    comm_id, _ = open_comm(client)
    client.run("opened.on_msg(lambda message: done.set())")
    msg_id = client.start("print('started', flush=True)\nawait done.wait()\n'woken by the comm'")
    client.send("comm_msg", {"comm_id": comm_id, "data": {}})
    assert client.finish(msg_id).result == "'woken by the comm'"


def test_comm_messages_keep_their_order(client: Client) -> None:
    client.run(REGISTER)
    comm_id, _ = open_comm(client)
    ids = [client.send("comm_msg", {"comm_id": comm_id, "data": {"n": n}}) for n in range(500)]
    client.wait_idle(ids[-1])
    assert client.run("[m['content']['data']['n'] for m in received[1:]] == list(range(500))").result == "True"


def test_output_of_a_callback_belongs_to_the_comm_message(client: Client) -> None:
    client.run(REGISTER)
    comm_id, _ = open_comm(client)
    run = client.run("opened.on_msg(lambda message: (print('from the callback'), display('shown')))")
    msg_id = client.send("comm_msg", {"comm_id": comm_id, "data": {}})
    client.wait_idle(msg_id)
    published = client.published(msg_id)
    types = [m["content"].get("execution_state") or m["msg_type"] for m in published]
    assert [t for t in types if t != "stream"] == ["busy", "display_data", "idle"]
    assert "".join(m["content"]["text"] for m in published if m["msg_type"] == "stream") == "from the callback\n"
    assert len(client.published(run.msg_id)) == len(run.messages)


@pytest.mark.parametrize("error", ["1/0", "raise KeyboardInterrupt", "raise SystemExit", "raise BaseException('odd')"])
def test_an_error_in_a_callback_is_shown_and_survived(client: Client, error: str) -> None:
    client.run(REGISTER)
    comm_id, _ = open_comm(client)
    client.run(f"def fail(message):\n    {error}\nopened.on_msg(fail)")
    msg_id = client.send("comm_msg", {"comm_id": comm_id, "data": {}})
    client.wait_idle(msg_id)
    if error == "1/0":
        shown = "".join(str(m["content"]) for m in client.published(msg_id))
        assert "ZeroDivisionError" in shown
    assert client.run("'alive'").result == "'alive'"


def test_a_button_finishes_the_cell_that_awaits_it(client: Client) -> None:
    run = client.run(
        "import asyncio, ipywidgets\nbutton = ipywidgets.Button(description='Go on')\nclicked = asyncio.Event()\n"
        "button.on_click(lambda b: (print('clicked'), clicked.set()))\nbutton"
    )
    (shown,) = run.contents("execute_result") or run.contents("display_data")
    comm_id = shown["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert comm_id in client.ask("comm_info_request", {"target_name": "jupyter.widget"})["comms"]
    msg_id = client.start("print('started', flush=True)\nawait clicked.wait()\n'went on'")
    click = {"method": "custom", "content": {"event": "click"}}
    click_id = client.send("comm_msg", {"comm_id": comm_id, "data": click})
    assert client.finish(msg_id).result == "'went on'"
    client.wait_text("clicked\n", click_id)


def test_the_state_of_a_widget_follows_the_frontend_and_back(client: Client) -> None:
    run = client.run("import ipywidgets\nslider = ipywidgets.IntSlider(value=3)\nslider.model_id")
    comm_id = run.result.strip("'")
    update = {"method": "update", "state": {"value": 42}, "buffer_paths": []}
    client.wait_idle(client.send("comm_msg", {"comm_id": comm_id, "data": update}))
    assert client.run("slider.value").result == "42"
    run = client.run("slider.value = 7")
    (sent,) = (m for m in run.messages if m["msg_type"] == "comm_msg")
    assert sent["content"]["data"]["state"] == {"value": 7}


def test_an_output_widget_catches_what_is_printed(client: Client) -> None:
    run = client.run(
        "import ipywidgets\nout = ipywidgets.Output()\n"
        "with out:\n    print('caught')\n    display('caught too')\nout.msg_id"
    )
    updates = [c["data"]["state"] for c in run.contents("comm_msg") if "state" in c.get("data", {})]
    assert any(state.get("msg_id") == run.msg_id for state in updates), "the frontend is told whose output to catch"
    assert run.result == "''"
