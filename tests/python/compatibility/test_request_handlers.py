"""Handlers that libraries put into ``kernel.shell_handlers`` and ``kernel.control_handlers`` get the requests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support import parent_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client


@pytest.fixture(scope="module")
def python() -> str:
    """One environment: nothing here asks whether ipykernel is installed."""
    return sys.executable


PRELUDE = """
import asyncio, threading
kernel = get_ipython().kernel
shell_before, control_before = dict(kernel.shell_handlers), dict(kernel.control_handlers)

def put_back():
    kernel.shell_handlers.update(shell_before)
    kernel.control_handlers.update(control_before)
    for handlers, before in ((kernel.shell_handlers, shell_before), (kernel.control_handlers, control_before)):
        for name in set(handlers) - set(before):
            del handlers[name]
"""

#: A handler for a type of request: plain or asynchronous.
HANDLER = """
{kind} handler(stream, ident, parent):
    print('handled', parent['header']['msg_type'], parent['content'].get('x'), len(ident), stream.name,
          threading.current_thread().name)
    {body}
"""


@pytest.fixture(autouse=True)
def _put_back(client: Client) -> Iterator[None]:
    assert client.run(PRELUDE, silent=True).reply["status"] == "ok"
    yield
    # On control: a handler for cells on shell may do anything.
    client.finish(client.execute("put_back()", channel="control", silent=True), channel="control")


def install(client: Client, msg_type: str, body: str, *, kind: str = "def", channel: str = "shell") -> None:
    code = HANDLER.format(kind=kind, body=body) + f"kernel.{channel}_handlers[{msg_type!r}] = handler"
    assert client.run(code).reply["status"] == "ok"


KINDS = pytest.mark.parametrize("kind", ["def", "async def"])


@KINDS
@pytest.mark.parametrize("channel", ["shell", "control"])
@pytest.mark.parametrize("msg_type", ["my_request", "kernel_info_request", "is_complete_request", "usage_request"])
def test_a_handler_gets_requests_of_both_channels_and_replies(
    client: Client, kind: str, channel: str, msg_type: str
) -> None:
    reply_type = msg_type.replace("request", "reply")
    body = f"kernel.session.send(stream, {reply_type!r}, dict(status='ok', mine=True), parent, ident, buffers=[b'x'])"
    install(client, msg_type, body, kind=kind, channel=channel)
    msg_id = client.send(msg_type, {"x": 5, "code": ""}, channel=channel)
    reply = client.reply(msg_id, channel)
    assert (reply["msg_type"], reply["content"]) == (reply_type, {"status": "ok", "mine": True})
    assert [bytes(buffer) for buffer in reply["buffers"]] == [b"x"]
    client.wait_idle(msg_id)
    states = [m["content"]["execution_state"] for m in client.published(msg_id) if m["msg_type"] == "status"]
    assert states == ["busy", "idle"]
    thread = "Control" if channel == "control" or msg_type == "is_complete_request" else "MainThread"
    printed = "".join(m["content"]["text"] for m in client.published(msg_id) if m["msg_type"] == "stream")
    assert printed == f"handled {msg_type} 5 1 {channel} {thread}\n"
    # The other channel has its own handler.
    if msg_type == "kernel_info_request":
        other = "shell" if channel == "control" else "control"
        assert "mine" not in client.ask(msg_type, channel=other)


@pytest.mark.parametrize("channel", ["shell", "control"])
@pytest.mark.parametrize(
    "msg_type",
    ["kernel_info_request", "comm_info_request", "complete_request", "inspect_request", "history_request"],
)
def test_a_handler_that_calls_the_original_is_answered_as_before(client: Client, channel: str, msg_type: str) -> None:
    content: dict[str, object] = {"code": "prin", "cursor_pos": 4}
    if msg_type == "history_request":
        content = {"hist_access_type": "tail", "n": 0, "raw": True, "output": False}
    before = client.ask(msg_type, content, channel=channel)
    body = f"await kernel.{msg_type}(stream, ident, parent)"
    install(client, msg_type, body, kind="async def", channel=channel)
    msg_id = client.send(msg_type, content, channel=channel)
    reply = client.reply(msg_id, channel)["content"]
    client.wait_text("handled", msg_id)
    client.wait_idle(msg_id)
    if msg_type != "history_request":
        assert reply == before
    assert reply["status"] == "ok"


def test_a_handler_put_back_gets_no_more_requests(client: Client) -> None:
    install(client, "kernel_info_request", "raise RuntimeError('not to be called')")
    client.run("kernel.shell_handlers['kernel_info_request'] = kernel.kernel_info_request")
    assert client.ask("kernel_info_request")["status"] == "ok"
    install(client, "my_request", "raise RuntimeError('not to be called')")
    client.run("del kernel.shell_handlers['my_request']")
    assert client.ask("my_request")["ename"] == "UnknownMessageType"


def test_a_handler_that_raises_answers_with_the_error(client: Client) -> None:
    install(client, "my_request", "raise ValueError('broken')")
    msg_id = client.send("my_request")
    reply = client.reply(msg_id)["content"]
    assert (reply["status"], reply["ename"], reply["evalue"]) == ("error", "ValueError", "broken")
    client.wait_text("ValueError: broken", msg_id, "stderr")
    client.wait_idle(msg_id)


def test_a_handler_that_replies_and_then_raises_replies_once(client: Client) -> None:
    install(client, "my_request", "kernel.session.send(stream, 'my_reply', {}, parent, ident); 1 / 0")
    msg_id = client.send("my_request")
    client.reply(msg_id)
    client.wait_text("ZeroDivisionError", msg_id, "stderr")
    client.wait_idle(msg_id)
    client.run("pass")
    assert len([m for m in client.replies() if parent_id(m) == msg_id]) == 1


# -- cells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["shell", "control"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("def", "return kernel.execute_request(stream, ident, parent)"),
        ("async def", "await kernel.execute_request(stream, ident, parent)"),
        ("async def", "await {channel}_before['execute_request'](stream, ident, parent)"),
        ("async def", "await asyncio.ensure_future(kernel.execute_request(stream, ident, parent))"),
    ],
)
def test_a_handler_of_cells_runs_them_by_the_original(client: Client, channel: str, kind: str, body: str) -> None:
    install(client, "execute_request", body.format(channel=channel), kind=kind, channel=channel)
    run = client.run("print('ran'); 6 * 7", channel=channel)
    assert run.result == "42"
    assert run.stdout.splitlines()[0].startswith("handled execute_request")
    assert run.stdout.splitlines()[1] == "ran"
    assert [content["code"] for content in run.contents("execute_input")] == ["print('ran'); 6 * 7"]
    failed = client.run("1/0", channel=channel)
    assert failed.error["ename"] == failed.reply["ename"] == "ZeroDivisionError"


def test_a_handler_of_cells_keeps_their_queue_their_variables_and_their_abort(client: Client) -> None:
    install(client, "execute_request", "await kernel.execute_request(stream, ident, parent)", kind="async def")
    client.run("import contextvars; variable = contextvars.ContextVar('variable'); _ = variable.set('kept')")
    assert client.run("variable.get()").result == "'kept'"
    ids = [client.execute(code) for code in ("await asyncio.sleep(0.05); 'first'", "'second'", "1/0", "'never'")]
    replies = [client.reply(msg_id)["content"]["status"] for msg_id in ids]
    assert replies == ["ok", "ok", "error", "aborted"]
    first, second = (client.finish(msg_id) for msg_id in ids[:2])
    assert (first.result, second.result) == ("'first'", "'second'")
    assert client.log.index(first.messages[-1]) < client.log.index(second.messages[0])


def test_a_handler_of_cells_sees_and_changes_what_was_sent(client: Client) -> None:
    body = (
        "print(parent['metadata']['cellId'], parent['content']['code'])\n"
        "    kernel.session.send(stream, 'execute_reply', dict(status='ok', execution_count=0, mine=1), parent, ident)"
    )
    install(client, "execute_request", body)
    run = client.run("code of a cell", metadata={"cellId": "the-cell"})
    assert run.reply["mine"] == 1
    assert run.stdout.splitlines()[1] == "the-cell code of a cell"


def test_cells_that_a_handler_has_kept_are_run_later(client: Client) -> None:
    """As dash and others do while they wait for a message of the frontend."""
    install(client, "execute_request", "kept.append((stream, ident, parent))")
    client.finish(client.execute("kept = []", channel="control"), channel="control")
    kept = [client.execute(code) for code in ("print('one'); 1", "2")]
    for msg_id in kept:
        client.wait_idle(msg_id)
    assert not any(client.replied(msg_id) for msg_id in kept)
    replay = (
        "async def replay():\n"
        "    for stream, ident, parent in kept:\n"
        "        kernel.set_parent(ident, parent)\n"
        "        await kernel.execute_request(stream, ident, parent)\n"
        "put_back()\n"
        "kernel.io_loop.add_callback(replay)"
    )
    client.finish(client.execute(replay, channel="control"), channel="control")
    assert [client.reply(msg_id)["content"]["status"] for msg_id in kept] == ["ok", "ok"]
    for msg_id, result in zip(kept, ("1", "2"), strict=True):
        shown = client.wait(lambda m, of=msg_id: parent_id(m) == of and m["msg_type"] == "execute_result")
        assert shown["content"]["data"]["text/plain"] == result
    client.wait_text("one\n", kept[0])


def test_an_unknown_message_is_refused_in_one_sentence(client: Client) -> None:
    run = client.run("await kernel.execute_request(kernel.shell_stream, [], kernel.session.msg('execute_request', {}))")
    assert run.error["ename"] == "ValueError"
    assert "kernel.shell_handlers" in run.error["evalue"]


@KINDS
def test_an_interrupt_ends_a_handler_of_cells_that_computes(client: Client, kind: str) -> None:
    install(client, "execute_request", "print('started', flush=True)\n    while True: pass", kind=kind)
    msg_id = client.execute("pass")
    client.wait_text("started", msg_id)
    client.ask("interrupt_request", channel="control")
    assert client.reply(msg_id)["content"]["ename"] == "KeyboardInterrupt"


def test_an_interrupt_ends_the_cell_that_a_handler_runs(client: Client) -> None:
    install(client, "execute_request", "await kernel.execute_request(stream, ident, parent)", kind="async def")
    for code in ("print('started', flush=True)\nwhile True: pass", "print('started')\nawait asyncio.sleep(100)"):
        msg_id = client.execute(code)
        client.wait_text("started", msg_id)
        client.ask("interrupt_request", channel="control")
        assert client.reply(msg_id)["content"]["ename"] == "KeyboardInterrupt"


# -- comms ------------------------------------------------------------------------------------------------


@KINDS
def test_a_handler_gets_comm_messages_and_calls_the_original(client: Client, kind: str) -> None:
    client.run(
        "def opened(comm, msg):\n"
        "    print('opened', comm.comm_id)\n"
        "    comm.on_msg(lambda msg: print('got', msg['content']['data'], bytes(msg['buffers'][0])))\n"
        "kernel.comm_manager.register_target('mine', opened)"
    )
    for name in ("comm_open", "comm_msg", "comm_close"):
        install(client, name, f"return shell_before[{name!r}](stream, ident, parent)", kind=kind)
    ids = [
        client.send("comm_open", {"comm_id": "c", "target_name": "mine", "data": {}}),
        client.send("comm_msg", {"comm_id": "c", "data": {"x": 1}}, buffers=[b"y"]),
        client.send("comm_close", {"comm_id": "c", "data": {}}),
    ]
    for msg_id, text in zip(ids, ("opened c\n", "got {'x': 1} b'y'\n", "handled comm_close"), strict=True):
        client.wait_text("handled comm_", msg_id)
        client.wait_text(text, msg_id)
        client.wait_idle(msg_id)


def test_nothing_is_claimed_by_looking(client: Client) -> None:
    """With no handler replaced, requests that need no Python are answered while it computes."""
    client.run("list(kernel.shell_handlers), kernel.control_handlers['kernel_info_request']")
    msg_id = client.start("print('started', flush=True)\nimport time\ntime.sleep(1)")
    assert client.ask("kernel_info_request")["status"] == "ok"
    assert not client.replied(msg_id)
    client.finish(msg_id)


# -- methods that answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["kernel", "type(kernel)"])
@KINDS
def test_a_replaced_do_complete_answers_and_calls_the_original(client: Client, owner: str, kind: str) -> None:
    """As the SQL magics of Databricks and others do, which complete what is behind them."""
    of_class = owner != "kernel"
    client.run(
        f"original = {owner}.do_complete\n"
        f"{kind} do_complete({'self, ' if of_class else ''}code, cursor_pos):\n"
        f"    found = original({'self, ' if of_class else ''}code[5:], cursor_pos - 5)\n"
        "    found['cursor_start'] += 5\n"
        "    return {**found, 'mine': True}\n"
        f"{owner}.do_complete = do_complete"
    )
    reply = client.ask("complete_request", {"code": "%sql prin", "cursor_pos": 9})
    assert (reply["mine"], reply["matches"], reply["cursor_start"]) == (True, ["print"], 5)
    client.run(f"{owner}.do_complete = original" if of_class else "del kernel.do_complete")
    reply = client.ask("complete_request", {"code": "prin", "cursor_pos": 4})
    assert reply["matches"] == ["print"]
    assert "mine" not in reply


@KINDS
def test_a_replaced_do_execute_gets_the_cells(client: Client, kind: str) -> None:
    client.run(
        f"{kind} do_execute(code, silent, store_history=True, user_expressions=None, allow_stdin=False, **more):\n"
        "    print('got', code)\n"
        "    if code == 'put it back': del kernel.do_execute\n"
        "    return {'status': 'ok', 'execution_count': 0, 'mine': 1}\n"
        "kernel.do_execute = do_execute"
    )
    run = client.run("code of a cell")
    assert (run.stdout, run.reply["mine"]) == ("got code of a cell\n", 1)
    client.run("put it back")
    assert client.run("'as before'").result == "'as before'"
