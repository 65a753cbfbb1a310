"""Messages that libraries send as they do on ipykernel: with ``kernel.session``, its channels, and hooks of displays and
streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import parent_id

if TYPE_CHECKING:
    from support import Client, Run

PRELUDE = """
kernel = get_ipython().kernel
session, iopub = kernel.session, kernel.iopub_socket
"""


@pytest.fixture(autouse=True)
def _names(client: Client) -> None:
    assert client.run(PRELUDE, silent=True).reply["status"] == "ok"


def displays(run: Run) -> list[str]:
    return [content["data"]["text/plain"] for content in run.contents("display_data")]


def only(run: Run, msg_type: str) -> dict[str, Any]:
    found = [message for message in run.messages if message["msg_type"] == msg_type]
    assert len(found) == 1, f"{run.reply} {run.stderr}"
    return found[0]


def test_a_session_publishes_with_parent_metadata_buffers_and_topic(client: Client) -> None:
    run = client.run(
        "content = {'data': {'text/plain': 'sent'}, 'metadata': {}, 'transient': {}}\n"
        "sent = session.send(iopub, 'display_data', content, parent=kernel.get_parent(), metadata={'a': 1},\n"
        "                    buffers=[b'one', memoryview(b'two')], ident=b'my-topic')\n"
        "print(sent['header']['msg_id'], sent['parent_header'] == kernel.get_parent()['header'])"
    )
    message = only(run, "display_data")
    assert run.stdout == f"{message['header']['msg_id']} True\n"
    assert message["content"]["data"] == {"text/plain": "sent"}
    assert message["metadata"] == {"a": 1}
    assert [bytes(buffer) for buffer in message["buffers"]] == [b"one", b"two"]


def test_a_message_is_made_first_and_sent_later(client: Client) -> None:
    run = client.run(
        "display_pub = get_ipython().display_pub\n"
        "msg = display_pub.session.msg('stream', {'name': 'stdout', 'text': 'made'}, parent=display_pub.parent_header)\n"
        "display_pub.session.send(display_pub.pub_socket, msg, ident=b'stream')"
    )
    assert run.stdout == "made"


def test_a_comm_of_all_widgets_is_opened_by_positional_arguments_and_listed(client: Client) -> None:
    run = client.run(
        "content = {'comm_id': 'by-hand', 'target_name': 'solara.widget.manager', 'data': {}}\n"
        "_ = session.send(iopub, 'comm_open', content, None, None, None, None, None, None)"
    )
    assert run.reply["status"] == "ok"
    message = client.wait(lambda m: m["msg_type"] == "comm_open" and m["content"]["comm_id"] == "by-hand")
    assert message["parent_header"] == {}
    assert client.ask("comm_info_request")["comms"]["by-hand"] == {"target_name": "solara.widget.manager"}
    client.run("_ = session.send(iopub, 'comm_close', {'comm_id': 'by-hand', 'data': {}})")
    client.wait(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == "by-hand")
    assert "by-hand" not in client.ask("comm_info_request")["comms"]


def test_send_response_takes_all_its_arguments(client: Client) -> None:
    run = client.run(
        "content = {'data': {'text/plain': 'shown'}, 'metadata': {}}\n"
        "kernel.send_response(kernel.iopub_socket, 'display_data', content, metadata={'b': 2}, buffers=[b'x'],\n"
        "                     ident=kernel._topic('display_data'))\n"
        "_ = kernel.send_response(kernel.iopub_socket, 'stream', {'name': 'stderr', 'text': 'told'})"
    )
    message = only(run, "display_data")
    assert message["content"]["data"] == {"text/plain": "shown"}
    assert message["metadata"] == {"b": 2}
    assert [bytes(buffer) for buffer in message["buffers"]] == [b"x"]
    assert run.stderr == "told"


def test_messages_keep_their_order_among_prints(client: Client) -> None:
    run = client.run(
        "for i in range(50):\n"
        "    print(i)\n"
        "    kernel.send_response(iopub, 'stream', {'name': 'stdout', 'text': f'sent {i}\\n'})\n"
    )
    assert run.stdout == "".join(f"{i}\nsent {i}\n" for i in range(50))


def test_another_session_serializes_for_the_channel(client: Client) -> None:
    run = client.run(
        "from jupyter_client.session import Session\n"
        "theirs = Session(key=session.key, signature_scheme=session.signature_scheme)\n"
        "content = {'data': {'text/plain': 'theirs'}, 'metadata': {}}\n"
        "_ = theirs.send(iopub, 'display_data', content, parent=kernel.get_parent(), buffers=[b'x'])"
    )
    message = only(run, "display_data")
    assert message["content"]["data"] == {"text/plain": "theirs"}
    assert [bytes(buffer) for buffer in message["buffers"]] == [b"x"]


def test_a_session_serializes_for_the_sockets_of_others(client: Client) -> None:
    run = client.run(
        "from jupyter_client.session import Session\n"
        "class Socket:\n"
        "    def send_multipart(self, frames): self.frames = frames\n"
        "socket = Socket()\n"
        "session.clone().send(socket, 'my_message', {'a': 1}, ident=b'me', buffers=[b'x'])\n"
        "theirs = Session(key=session.key)\n"
        "idents, frames = theirs.feed_identities(socket.frames)\n"
        "read = theirs.deserialize(frames)\n"
        "print(idents, read['content'], read['header']['session'] == session.session, read['buffers'][0].tobytes())"
    )
    assert run.stdout == "[b'me'] {'a': 1} True b'x'\n"


def test_a_message_on_stdin_is_refused_with_what_to_call(client: Client) -> None:
    run = client.run("session.send(kernel.stdin_socket, 'input_request', {'prompt': '?', 'password': False})")
    assert run.error["ename"] == "RuntimeError"
    assert "kernel.raw_input(prompt)" in run.error["evalue"]
    run = client.run("kernel.stdin_socket.recv_multipart(1)")
    assert run.error["ename"] == "AttributeError"
    assert "no zmq socket" in run.error["evalue"]


def test_the_session_has_what_libraries_read(client: Client) -> None:
    run = client.run(
        "header = session.msg_header('a')\n"
        "print(session.session == header['session'] == kernel.ident, session.signature_scheme, type(session.key),\n"
        "      session.username == header['username'], header['msg_type'], session.bsession.decode() == kernel.ident)"
    )
    assert run.stdout == "True hmac-sha256 <class 'bytes'> True a True\n"


def test_the_iopub_thread_calls_what_sends(client: Client) -> None:
    run = client.run(
        "import threading\n"
        "def send():\n"
        "    kernel.session.send(kernel.iopub_socket, 'display_data', {'data': {'text/plain': 'scheduled'}, 'metadata': {}},\n"
        "                        parent=parent)\n"
        "parent = kernel.get_parent()\n"
        "thread = threading.Thread(target=kernel.iopub_thread.schedule, args=(send,))\n"
        "thread.start(); thread.join()"
    )
    assert displays(run) == ["scheduled"]


def test_the_stream_s_session_sends_on_its_thread(client: Client) -> None:
    run = client.run(
        "import sys\n"
        "_ = sys.stdout.session.send(sys.stdout.pub_thread, 'display_data', content={'data': {'text/plain': 'sage'}},\n"
        "                            parent=sys.stdout.parent_header, metadata={'c': 3})"
    )
    message = only(run, "display_data")
    assert message["metadata"] == {"c": 3}


# -- hooks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("publisher", ["display_pub", "displayhook"])
def test_a_hook_changes_reroutes_and_drops_messages(client: Client, publisher: str) -> None:
    elsewhere = client.run("pass").msg_id
    show = "display('{}')" if publisher == "display_pub" else "get_ipython().displayhook('{}')"
    run = client.run(
        f"publisher = get_ipython().{publisher}\n"
        "def hook(msg):\n"
        "    text = msg['content']['data']['text/plain']\n"
        "    if 'drop' in text: return None\n"
        "    if 'move' in text: msg['parent_header'] = dict(msg['parent_header'], msg_id=elsewhere)\n"
        "    msg['content']['data']['text/plain'] = text.upper()\n"
        "    msg['metadata']['hooked'] = bool(msg['header']['msg_id'])\n"
        "    return msg\n"
        f"elsewhere = {elsewhere!r}\n"
        "publisher.register_hook(hook)\n"
        "print(publisher._hooks == [hook], publisher._thread_local.hooks == [hook])\n"
        "try:\n" + "".join(f"    {show.format(word)}\n" for word in ("keep", "drop", "move")) + "finally:\n"
        "    print(publisher.unregister_hook(hook), publisher.unregister_hook(hook))\n" + show.format("plain")
    )
    assert run.stdout == "True True\nTrue False\n"
    shown = [m for m in run.messages if m["msg_type"] in ("display_data", "execute_result")]
    assert [(m["content"]["data"]["text/plain"], m["metadata"]) for m in shown] == [
        ("'KEEP'", {"hooked": True}),
        ("'plain'", {}),
    ]
    moved = client.wait(lambda m: m["content"].get("data", {}).get("text/plain") == "'MOVE'")
    assert parent_id(moved) == elsewhere


def test_hooks_are_those_of_the_calling_thread(client: Client) -> None:
    run = client.run(
        "import threading\n"
        "pub = get_ipython().display_pub\n"
        "pub.register_hook(lambda msg: None)\n"
        "thread = threading.Thread(target=lambda: display('from the thread'))\n"
        "thread.start(); thread.join()\n"
        "display('from main')\n"
        "pub._hooks.clear()"
    )
    assert displays(run) == ["'from the thread'"]


def test_a_session_in_the_place_of_the_kernel_s_gets_the_displays(client: Client) -> None:
    run = client.run(
        "class Theirs:\n"
        "    def msg(self, msg_type, content, parent): return {'type': msg_type, **content}\n"
        "    def send(self, socket, msg, ident): print(socket, msg['type'], msg['data'], ident)\n"
        "pub = get_ipython().display_pub\n"
        "before = pub.session, pub.pub_socket\n"
        "pub.session, pub.pub_socket = Theirs(), 'theirs'\n"
        "display('x')\n"
        "pub.session, pub.pub_socket = before\n"
        "display('y')"
    )
    assert run.stdout == "theirs display_data {'text/plain': \"'x'\"} b'display_data'\n"
    assert displays(run) == ["'y'"]


def test_a_hook_of_a_stream_gets_what_its_thread_prints(client: Client) -> None:
    run = client.run(
        "import sys, threading\n"
        "def hook(msg):\n"
        "    if 'secret' in msg['content']['text']: return None\n"
        "    msg['content']['text'] = msg['content']['text'].upper()\n"
        "    return msg\n"
        "sys.stdout.register_hook(hook)\n"
        "print('loud'); print('secret', end=''); print('err', file=sys.stderr)\n"
        "thread = threading.Thread(target=print, args=('plain',)); thread.start(); thread.join()\n"
        "sys.stdout.unregister_hook(hook)\n"
        "print('quiet')\n"
        "assert type(sys.stdout.write).__name__ == 'builtin_function_or_method'  # no cost for each line"
    )
    assert run.stdout == "LOUD\nplain\nquiet\n"
    assert run.stderr == "err\n"
