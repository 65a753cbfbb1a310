"""`input()` and `getpass()`, asked in the frontend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import zmq
from support import TIMEOUT

if TYPE_CHECKING:
    from support import Client, Kernel


@pytest.mark.parametrize("names_its_prompt", [True, False], ids=["answer with parent", "answer without parent"])
@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("answer = input('Your name? ')", {"prompt": "Your name? ", "password": False}),
        ("answer = input()", {"prompt": "", "password": False}),
        ("answer = input(12)", {"prompt": "12", "password": False}),
        ("import getpass\nanswer = getpass.getpass()", {"prompt": "Password: ", "password": True}),
        ("import getpass\nanswer = getpass.getpass('PIN 🔒: ')", {"prompt": "PIN 🔒: ", "password": True}),
    ],
)
def test_a_question_is_asked_and_its_answer_returned(
    client: Client, code: str, content: dict[str, object], names_its_prompt: bool
) -> None:
    msg_id = client.execute(code)
    prompt = next(client.prompts())
    assert prompt["msg_type"] == "input_request"
    assert prompt["content"] == content
    assert prompt["parent_header"]["msg_id"] == msg_id
    client.answer("Grace 🎭", prompt if names_its_prompt else None)
    assert client.finish(msg_id).status == "ok"
    assert client.run("answer").result == "'Grace 🎭'"


def test_several_questions_get_their_answers_in_turn(client: Client) -> None:
    msg_id = client.execute("print([input(f'{n}? ') for n in range(3)])")
    prompts = client.prompts()
    for n in range(3):
        prompt = next(prompts)
        assert prompt["content"]["prompt"] == f"{n}? "
        client.answer(str(n))
    assert client.finish(msg_id).stdout == "['0', '1', '2']\n"


def test_what_was_printed_before_is_there_when_the_question_comes(client: Client) -> None:
    msg_id = client.execute("print('before', end='')\ninput()\nprint('after')")
    prompt = next(client.prompts())
    client.wait_text("before", msg_id)
    client.answer("", prompt)
    assert client.finish(msg_id).stdout == "beforeafter\n"


def test_end_of_file_raises_eoferror(client: Client) -> None:
    msg_id = client.execute("input()")
    client.answer("\x04", next(client.prompts()))
    assert client.finish(msg_id).reply["ename"] == "EOFError"


@pytest.mark.parametrize("code", ["input('?')", "import getpass\ngetpass.getpass()"])
def test_a_frontend_without_input_gets_an_error_at_once(client: Client, code: str) -> None:
    run = client.run(code, allow_stdin=False)
    assert run.reply["ename"] == "StdinNotImplementedError"


def test_two_threads_that_ask_get_their_own_answers(client: Client) -> None:
    code = (
        "import threading\nanswers = {}\n"
        "def ask(name): answers[name] = input(name)\n"
        "threads = [threading.Thread(target=ask, args=(name,)) for name in 'ab']\n"
        "for t in threads: t.start()\nfor t in threads: t.join()"
    )
    msg_id = client.execute(code)
    prompts = client.prompts()
    first, second = next(prompts), next(prompts)
    for prompt in (second, first):
        client.answer(f"for {prompt['content']['prompt']}", prompt)
    assert client.finish(msg_id).status == "ok"
    assert client.run("sorted(answers.items())").result == "[('a', 'for a'), ('b', 'for b')]"


def test_a_task_may_ask(client: Client) -> None:
    msg_id = client.execute("import asyncio\nasync def ask(): return input('task? ')\nawait asyncio.create_task(ask())")
    prompt = next(client.prompts())
    assert prompt["parent_header"]["msg_id"] == msg_id
    client.answer("yes", prompt)
    assert client.finish(msg_id).result == "'yes'"


def test_the_question_goes_to_the_client_that_runs_the_cell(kernel: Kernel, client: Client) -> None:
    with kernel.connect() as other:
        msg_id = other.execute("input('whose? ')")
        prompt = next(other.prompts())
        assert not client.kc.stdin_channel.msg_ready()
        other.answer("mine", prompt)
        assert other.finish(msg_id).result == "'mine'"
    assert not client.kc.stdin_channel.msg_ready()


def test_an_answer_without_a_prompt_is_dropped(client: Client) -> None:
    client.answer("stray")
    client.ask("kernel_info_request")
    msg_id = client.execute("input('asked? ')")
    client.answer("asked", next(client.prompts()))
    assert client.finish(msg_id).result == "'asked'"


def test_other_requests_are_answered_while_a_question_is_open(client: Client) -> None:
    msg_id = client.execute("input()")
    prompt = next(client.prompts())
    client.ask("kernel_info_request")
    client.ask("kernel_info_request", channel="control")
    assert client.ask("complete_request", {"code": "zi", "cursor_pos": 2})["matches"] == ["zip"]
    assert not client.replied(msg_id)
    client.answer("done", prompt)
    assert client.finish(msg_id).result == "'done'"


def test_pdb_is_used_through_input(client: Client) -> None:
    msg_id = client.execute("def f():\n    local = 42\n    breakpoint()\n    return local\nf()")
    prompts = client.prompts()
    client.answer("p 'local is', local", next(prompts))
    client.wait_text("('local is', 42)", msg_id)
    client.answer("c", next(prompts))
    assert client.finish(msg_id).result == "42"


def test_debug_magic_looks_into_the_last_error(client: Client) -> None:
    client.run("def g(inner):\n    1/0\ng('value of inner')")
    msg_id = client.execute("%debug")
    prompts = client.prompts()
    client.answer("p inner", next(prompts))
    client.wait_text("value of inner", msg_id)
    client.answer("q", next(prompts))
    assert client.finish(msg_id).status == "ok"


def test_a_prompt_reaches_a_client_that_connects_to_stdin_after_it(client: Client) -> None:
    """The connections of a client are made one by one; a cell may ask before the one for prompts is there."""
    info, session = client.kc.get_connection_info(), client.kc.session
    with zmq.Context.instance().socket(zmq.DEALER) as shell, zmq.Context.instance().socket(zmq.DEALER) as stdin:
        for dealer in (shell, stdin):
            dealer.linger = 0
            dealer.identity = b"one by one"
        shell.connect(f"tcp://{info['ip']}:{info['shell_port']}")
        content = {"code": "print('asking', flush=True)\ninput('late? ')", "silent": False, "allow_stdin": True}
        request = session.msg("execute_request", content)
        shell.send_multipart(session.serialize(request))
        msg_id = request["header"]["msg_id"]
        client.wait_text("asking", msg_id)
        # What the main thread's next cell would say comes only behind this one: this is answered beside it.
        client.ask("kernel_info_request", channel="control")
        stdin.connect(f"tcp://{info['ip']}:{info['stdin_port']}")
        assert stdin.poll(TIMEOUT * 1000)
        prompt = session.deserialize(session.feed_identities(stdin.recv_multipart())[1])
        assert prompt["content"]["prompt"] == "late? "
        answer = session.msg("input_reply", {"value": "yes"}, parent=prompt["header"])
        stdin.send_multipart(session.serialize(answer))
        client.wait_idle(msg_id)
        assert [
            m["content"]["data"]["text/plain"] for m in client.published(msg_id) if m["msg_type"] == "execute_result"
        ] == ["'yes'"]
