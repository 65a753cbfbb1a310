"""Subshells (JEP 91): made, used and deleted over real sockets."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from support import Deadline, Kernel, parent_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import Client, Run


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """Whose event loop the main thread and the subshells run."""
    return request.param


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)


class Subshell:
    """A subshell as a client sees it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        reply = client.ask("create_subshell_request", channel="control")
        assert reply["status"] == "ok"
        self.id = reply["subshell_id"]

    @property
    def header(self) -> dict[str, Any]:
        return {"subshell_id": self.id}

    def execute(self, code: str, **options: Any) -> str:
        return self.client.execute(code, header=self.header, **options)

    def start(self, code: str) -> str:
        return self.client.start(code, header=self.header)

    def run(self, code: str, **options: Any) -> Run:
        return self.client.run(code, header=self.header, **options)

    def ask(self, msg_type: str, content: dict[str, Any]) -> dict[str, Any]:
        return self.client.ask(msg_type, content, header=self.header)

    def delete(self) -> dict[str, Any]:
        return self.client.ask("delete_subshell_request", {"subshell_id": self.id}, channel="control")


def ids(client: Client) -> list[str]:
    """The subshells there are."""
    reply = client.ask("list_subshell_request", channel="control")
    assert reply["status"] == "ok"
    return reply["subshell_id"]


@pytest.fixture
def make(client: Client) -> Iterator[Callable[[], Subshell]]:
    """Makes subshells, which are deleted afterwards."""
    made: list[Subshell] = []

    def make() -> Subshell:
        made.append(Subshell(client))
        return made[-1]

    yield make
    for subshell in made:
        if subshell.id in ids(client):
            subshell.delete()


@pytest.fixture
def sub(make: Callable[[], Subshell]) -> Subshell:
    return make()


@contextlib.contextmanager
def blocked(client: Client, code: str = "held.wait()") -> Iterator[str]:
    """While the main shell runs this. Gives the id of its cell."""
    client.run("import threading\nheld = threading.Event()")
    msg_id = client.start(f"print('started')\n{code}")
    try:
        yield msg_id
        assert not client.replied(msg_id)
    finally:
        client.run("held.set()", channel="control")
        assert client.finish(msg_id).status == "ok"


# -- what they are ------------------------------------------------------------------------------------------


def test_subshells_are_offered_made_listed_and_deleted(client: Client) -> None:
    assert "kernel subshells" in client.ask("kernel_info_request")["supported_features"]
    before = ids(client)
    made = [Subshell(client) for _ in range(3)]
    assert ids(client) == [*before, *(subshell.id for subshell in made)]
    assert len(set(ids(client))) == len(ids(client))
    assert made[1].delete() == {"status": "ok"}
    assert ids(client) == [*before, made[0].id, made[2].id]
    for subshell in (made[0], made[2]):
        assert subshell.delete() == {"status": "ok"}
    assert ids(client) == before


def test_a_subshell_has_a_thread_a_shell_and_a_count_of_its_own(
    client: Client, make: Callable[[], Subshell], backend: str
) -> None:
    one, two = make(), make()
    know = (
        "import threading, callboard\n"
        "(threading.get_ident(), id(get_ipython()), get_ipython().subshell_id, callboard.Caller().backend)"
    )
    found = [eval(run(know).result or "") for run in (client.run, one.run, two.run)]
    assert [shell_id for _, _, shell_id, _ in found] == [None, one.id, two.id]
    assert len({ident for ident, *_ in found}) == len({shell for _, shell, *_ in found}) == 3
    assert {used for *_, used in found} == {backend}
    main = client.run("1").reply["execution_count"]
    assert [one.run("1").reply["execution_count"] for _ in range(3)] == [2, 3, 4]
    assert two.run("1").reply["execution_count"] == 2
    assert client.run("1").reply["execution_count"] == main + 1
    run = one.run("get_ipython().execution_count")
    assert run.result == "6"
    assert run.contents("execute_input")[0]["execution_count"] == run.reply["execution_count"] == 5
    assert one.run("silent = 1", silent=True).reply["status"] == "ok"
    assert one.run("1").reply["execution_count"] == 6


def test_messages_name_their_request_and_only_one_busy_and_idle(sub: Subshell) -> None:
    run = sub.run("print('printed')\n'result'")
    assert run.types == ["busy", "execute_input", "stream", "execute_result", "idle"]
    assert all(parent_id(message) == run.msg_id for message in run.messages)
    assert all(message["parent_header"]["subshell_id"] == sub.id for message in run.messages)


def test_get_ipython_is_the_subshell_also_in_its_tasks_and_threads(sub: Subshell) -> None:
    code = (
        "import threading, callboard\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "from IPython import get_ipython as imported\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "import callboard.utils\n"
        "found = [get_ipython(), imported(), InteractiveShell.instance(), callboard.utils.get_ipython()]\n"
        "def look(): found.append(get_ipython())\n"
        "async def look_async(): look()\n"
        "t = threading.Thread(target=look); t.start(); t.join()\n"
        "with ThreadPoolExecutor() as pool: pool.submit(look).result()\n"
        "caller = callboard.Caller()\n"
        "await caller.call_soon(look_async)\nawait caller.to_thread(look)\n"
        "await callboard.Caller('MainThread').call_soon(look)\n"
        "(len(found), {shell.subshell_id for shell in found})"
    )
    assert eval(sub.run(code).result or "") == (9, {sub.id})
    assert sub.run("# task\nget_ipython().subshell_id").result == repr(sub.id)
    assert sub.run("# thread\nget_ipython().subshell_id").result == repr(sub.id)
    assert sub.run("# thread name=mine\nget_ipython().subshell_id").result == repr(sub.id)
    where = sub.run("# task\nimport threading\nthreading.get_ident()").result
    assert where == sub.run("threading.get_ident()").result
    # And nowhere else.
    assert sub.client.run("get_ipython().subshell_id is None").result == "True"


def test_variables_are_shared(client: Client, make: Callable[[], Subshell]) -> None:
    one, two = make(), make()
    client.run("from_main = [1]")
    assert one.run("from_main.append(2)\nfrom_one = 'one'\nfrom_main").result == "[1, 2]"
    assert two.run("from_one + ' two'").result == "'one two'"
    assert client.run("def f(): return later\nfrom_one").result == "'one'"
    two.run("later = 'defined later'")
    assert client.run("f()").result == "'defined later'"
    one.run("del from_one")
    assert client.run("'from_one' in globals()").result == "False"
    assert one.run("__name__, globals() is get_ipython().user_ns").result == "('__main__', True)"


@pytest.mark.parametrize(
    "code",
    [
        "held.wait()",
        "while not held.is_set(): pass",
        "import re\nwhile not held.is_set(): re.match(r'(a+)+b', 'a' * 18)",
    ],
)
def test_a_subshell_answers_while_the_main_shell_is_blocked(client: Client, sub: Subshell, code: str) -> None:
    with blocked(client, code):
        assert sub.run("6 * 7").result == "42"
        assert sub.run("import callboard\nawait callboard.Caller().call_soon(lambda: 'awaited')").result == "'awaited'"
        assert sub.run("held.is_set()").result == "False"
        # Made, used and deleted meanwhile.
        other = Subshell(client)
        assert other.run("'other'").result == "'other'"
        assert other.delete() == {"status": "ok"}


def test_a_blocked_subshell_holds_up_nobody(client: Client, make: Callable[[], Subshell]) -> None:
    one, two = make(), make()
    client.run("import threading\nrelease = threading.Event()")
    waiting = one.start("print('started')\nrelease.wait()\n'released'")
    queued = one.execute("'queued'")
    assert two.run("'two'").result == "'two'"
    assert client.run("'main'").result == "'main'"
    assert not client.replied(queued)
    two.run("release.set()")
    assert client.finish(waiting).result == "'released'"
    assert client.finish(queued).result == "'queued'"


def test_out_and_the_underscores_of_the_main_shell_are_not_touched(client: Client, sub: Subshell) -> None:
    number = client.run("'main value'").reply["execution_count"]
    before = client.run("(len(Out), len(In))").reply["execution_count"]
    client.run("'last of main'")
    sub.run("'value of the subshell'")
    sub.run("'second value of the subshell'")
    found = client.run(
        f"values = ''.join(map(str, Out.values()))\n"
        f"_, Out[{number}], _{number}, sorted(n for n in Out if n > {before}), 'value of' in values"
    )
    assert found.result == f"('last of main', 'main value', 'main value', [{before + 1}], False)"
    # Its own are with its shell.
    assert (
        sub.run("get_ipython().history_manager.output_hist").result
        == "{1: 'value of the subshell', 2: 'second value of the subshell'}"
    )
    assert client.run("'value ' + 'of the subshell' in _i + _ii + _iii + ''.join(In[-5:])").result == "False"


def test_a_failure_aborts_the_cells_behind_it_in_its_subshell_alone(
    client: Client, make: Callable[[], Subshell]
) -> None:
    one, two = make(), make()
    client.run("import callboard\ngate_one, gate_two = callboard.Pending(), callboard.Pending()")
    failing = one.start("print('started')\nawait gate_one\n1/0")
    behind = [one.execute(str(n)) for n in range(3)]
    other = two.start("print('started')\nawait gate_two")
    behind_other = [two.execute(str(n)) for n in range(3)]
    client.run("gate_one.set_result(None)")
    assert client.finish(failing).reply["ename"] == "ZeroDivisionError"
    assert [client.finish(msg_id).status for msg_id in behind] == ["aborted"] * 3
    assert one.run("'next'").result == "'next'"
    client.run("gate_two.set_result(None)")
    assert client.finish(other).status == "ok"
    assert [client.finish(msg_id).result for msg_id in behind_other] == ["0", "1", "2"]


# -- what the main shell has and they have too --------------------------------------------------------------


def test_magics_formatters_and_transformers_of_the_main_shell_hold(
    client: Client, make: Callable[[], Subshell]
) -> None:
    early = make()
    run = client.run(
        "from IPython.core.magic import register_line_magic, register_cell_magic, Magics, magics_class, line_magic\n"
        "@register_line_magic\ndef shout(line): return line.upper() + '!'\n"
        "@register_cell_magic\ndef reverse(line, cell): return cell.strip()[::-1]\n"
        "@register_line_magic\ndef who(line): return 'mine'\n"
        "@magics_class\nclass Mine(Magics):\n    @line_magic\n"
        "    def of_class(self, line): return self.shell.user_ns['shared_by_magic']\n"
        "get_ipython().register_magics(Mine)\nshared_by_magic = 'seen'\n"
        "class Point: pass\n"
        "get_ipython().display_formatter.formatters['text/html'].for_type(Point, lambda p: '<b>point</b>')\n"
        "def twice(lines): return [line.replace('TWICE', '2 *') for line in lines]\n"
        "get_ipython().input_transformers_cleanup.append(twice)\n"
        "def thrice(lines): return [line.replace('THRICE', '3 *') for line in lines]\n"
        "get_ipython().input_transformers_post.append(thrice)\n"
        "import ast\nclass Ones(ast.NodeTransformer):\n"
        "    def visit_Constant(self, node):\n"
        "        return ast.copy_location(ast.Constant(1), node) if node.value == 11111 else node\n"
        "get_ipython().ast_transformers.append(Ones())\n"
        "%alias say echo said\n%alias_magic t timeit"
    )
    assert run.status == "ok"
    for shell in (early, make()):
        assert shell.run("%shout loud").result == "'LOUD!'"
        assert shell.run("%%reverse\nabc").result == "'cba'"
        assert shell.run("%who").result == "'mine'"
        assert shell.run("%of_class").result == "'seen'"
        (shown,) = shell.run("Point()").contents("execute_result")
        assert shown["data"]["text/html"] == "<b>point</b>"
        assert shell.run("TWICE 21").result == "42"
        assert shell.run("THRICE 14").result == "42"
        assert shell.run("11111").result == "1"
        assert shell.run("%say hello").stdout.strip() == "said hello"
        assert "loop" in shell.run("%t -n 1 -r 1 1").stdout
    # What a subshell makes of its own comes first.
    early.run("@register_line_magic\ndef shout(line): return 'subshell'")
    assert early.run("%shout loud").result == "'subshell'"
    assert client.run("%shout loud").result == "'LOUD!'"
    client.run(
        "ip = get_ipython()\nip.input_transformers_cleanup.remove(twice)\nip.input_transformers_post.pop()\n"
        "ip.ast_transformers.pop()\n"
        "del ip.magics_manager.magics['line']['who']\nip.register_magics(type(ip.find_magic('who_ls').__self__))"
    )


def test_magics_work(client: Client, sub: Subshell, tmp_path: Path) -> None:
    client.run("%reset -f")
    client.run("of_main = 1")
    (tmp_path / "script.py").write_text("print('ran', __name__)\nfrom_script = 'kept'\n")
    (tmp_path / "cells.ipy").write_text("%time from_ipy = 5\nfrom_ipy\n")
    assert sub.run("%time sum(range(10))").result == "45"
    assert "Wall time" in sub.run("%%time\nx = 1").stdout
    assert "loop" in sub.run("%timeit -n 2 -r 2 x + 1").stdout
    assert sub.run("%%capture out\nprint('caught')\n'result'").types == ["busy", "execute_input", "idle"]
    assert sub.run("out.stdout").result == "'caught\\n'"
    assert sub.run(f"%run {tmp_path / 'script.py'}").stdout == "ran __main__\n"
    assert sub.run("from_script").result == "'kept'"
    assert sub.run(f"%run {tmp_path / 'cells.ipy'}").status == "ok"
    assert client.run("from_script, from_ipy").result == "('kept', 5)"
    assert sub.run("%who").stdout.split() == client.run("%who").stdout.split()
    assert "of_main" in sub.run("%who").stdout.split()
    assert not {"In", "Out", "exit", "get_ipython"} & set(sub.run("%who").stdout.split())
    assert "of_main" in sub.run("%whos").stdout
    assert sub.run("%%bash\necho from bash; echo error >&2").stdout == "from bash\n"
    assert sub.run("!echo from a shell").stdout.strip() == "from a shell"
    assert sub.run("files = !echo a; echo b\nfiles").result == "['a', 'b']"
    assert sub.run("%env CALLBOARD_TEST=1").status == "ok"
    assert sub.run("%pwd").result == client.run("%pwd").result
    assert "time" in sub.run("%lsmagic").contents("execute_result")[0]["data"]["text/plain"]
    assert sub.run("%%writefile " + str(tmp_path / "written") + "\ntext").stdout.startswith("Writing")
    assert sub.run("%pinfo len").reply["payload"][0]["source"] == "page"
    assert sub.run("%history -n 1-2").status == "ok"
    assert sub.run("%precision 2\n3.14159").status == "ok"
    assert client.run("3.14159").result == "3.14"
    sub.run("%precision")
    assert sub.run("%load_ext autoreload").status == "ok"
    assert client.run("%autoreload 0").status == "ok"


def test_figures_appear(sub: Subshell) -> None:
    run = sub.run("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nNone", timeout=120)
    (shown,) = run.contents("display_data")
    assert "image/png" in shown["data"]
    run = sub.run("%matplotlib inline\nplt.plot([1, 2]);")
    assert [content["data"].keys() >= {"image/png"} for content in run.contents("display_data")] == [True]


def test_input_is_asked(client: Client, sub: Subshell) -> None:
    with blocked(client):
        msg_id = sub.execute("input('who? ') + '!'")
        prompt = next(client.prompts())
        assert prompt["content"] == {"prompt": "who? ", "password": False}
        assert parent_id(prompt) == msg_id
        client.answer("me", prompt)
        assert client.finish(msg_id).result == "'me!'"


def test_an_error_has_its_traceback(client: Client, sub: Subshell) -> None:
    client.run("def divide(x):\n    return 1 / x")
    run = sub.run("divide(0)")
    assert run.error["ename"] == run.reply["ename"] == "ZeroDivisionError"
    text = "\n".join(run.error["traceback"])
    assert "In[1]" in text
    assert "return" in text
    assert "ipython-input" not in text, "cells of the main shell are called by their numbers"
    assert sub.run("x = = 1").error["ename"] == "SyntaxError"
    assert sub.run("'next'").result == "'next'"


def test_payloads_and_events(client: Client, sub: Subshell) -> None:
    client.run(
        "cells = []\ndef note(info): cells.append((info.raw_cell, get_ipython().subshell_id))\n"
        "get_ipython().events.register('pre_run_cell', note)"
    )
    assert sub.run("get_ipython().set_next_input('next')").reply["payload"] == [
        {"source": "set_next_input", "text": "next", "replace": False}
    ]
    sub.run("'noted'")
    assert (
        client.run("get_ipython().events.unregister('pre_run_cell', note)\ncells[-2]").result
        == f"(\"'noted'\", {sub.id!r})"
    )


# -- questions about code -----------------------------------------------------------------------------------


def test_completion_inspection_and_history(client: Client, sub: Subshell) -> None:
    client.run("a_name_of_main = 1\ndef documented():\n    'Says what it does.'")
    with blocked(client):
        sub.run("a_name_of_sub = 'first line of the subshell'")
        found = sub.ask("complete_request", {"code": "a_name_", "cursor_pos": 7})
        assert {"a_name_of_main", "a_name_of_sub"} <= set(found["matches"])
        assert "Says what it does." in str(sub.ask("inspect_request", {"code": "documented", "cursor_pos": 3})["data"])
        assert sub.ask("is_complete_request", {"code": "for x in y:"}) == {"status": "incomplete", "indent": "    "}
        tail = {"hist_access_type": "tail", "n": 5, "raw": True, "output": False}
        assert [text for *_, text in sub.ask("history_request", tail)["history"]] == [
            "a_name_of_sub = 'first line of the subshell'"
        ]
        span = {"hist_access_type": "range", "session": 0, "start": 1, "stop": 2, "raw": True, "output": False}
        assert [text for *_, text in sub.ask("history_request", span)["history"]] == [
            "a_name_of_sub = 'first line of the subshell'"
        ]
        assert "a_name_of_sub" not in str(client.ask("history_request", tail)["history"])


# -- interrupt ----------------------------------------------------------------------------------------------

BUSY = {
    "compute": "while True: pass",
    "await": "import callboard\nawait callboard.Pending()",
    "sleep": {"asyncio": "import asyncio\nawait asyncio.sleep(1000)", "trio": "import trio\nawait trio.sleep(1000)"},
    "busy task": {
        "asyncio": "import asyncio\nwhile True: await asyncio.sleep(0)",
        "trio": "import trio\nwhile True: await trio.sleep(0)",
    },
}


def busy(kind: str, backend: str) -> str:
    code = BUSY[kind]
    return code if isinstance(code, str) else code[backend]


@pytest.mark.parametrize("kind", BUSY)
def test_an_interrupt_stops_a_cell_of_a_subshell(client: Client, sub: Subshell, backend: str, kind: str) -> None:
    msg_id = sub.start(f"print('started')\n{busy(kind, backend)}")
    behind = sub.execute("'behind'")
    client.ask("kernel_info_request")
    assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
    run = client.finish(msg_id, timeout=20)
    assert run.reply["ename"] == run.error["ename"] == "KeyboardInterrupt"
    assert client.finish(behind).status == "aborted"
    assert sub.run("'alive'").result == "'alive'"
    assert client.run("'alive'").result == "'alive'"


def test_an_interrupt_stops_all_shells(client: Client, make: Callable[[], Subshell]) -> None:
    one, two = make(), make()
    cells = [
        one.start("print('started')\nwhile True: pass"),
        two.start("print('started')\nimport callboard\nawait callboard.Pending()"),
        client.start("print('started')\nimport time\ntime.sleep(1000)"),
    ]
    client.ask("interrupt_request", channel="control")
    assert [client.finish(msg_id, timeout=20).reply["ename"] for msg_id in cells] == ["KeyboardInterrupt"] * 3
    for shell in (one, two, client):
        assert shell.run("'alive'").result == "'alive'"


def test_an_interrupt_of_an_idle_subshell_does_no_harm(client: Client, sub: Subshell) -> None:
    sub.run("1")
    for _ in range(5):
        client.ask("interrupt_request", channel="control")
    assert sub.run("'alive'").result == "'alive'"


# -- deletion -----------------------------------------------------------------------------------------------


def test_what_does_not_exist_is_an_error(client: Client) -> None:
    reply = client.ask("delete_subshell_request", {"subshell_id": "no such"}, channel="control")
    assert reply["status"] == "error"
    assert "no such" in reply["evalue"]
    run = client.run("ran_in_no_subshell = 1", header={"subshell_id": "no such"})
    assert run.status == "error"
    assert "no such" in run.reply["evalue"]
    assert client.run("'ran_in_no_subshell' in globals()").result == "False"
    assert client.ask("delete_subshell_request", {}, channel="control")["status"] == "error"


def test_deleting_twice_is_an_error(client: Client) -> None:
    subshell = Subshell(client)
    subshell.run("1")
    assert subshell.delete() == {"status": "ok"}
    assert subshell.delete()["status"] == "error"
    assert subshell.run("1").status == "error"
    assert ids(client) == []


def threads_end(client: Client, subshell: Subshell) -> None:
    """Waits until the thread of a subshell has ended, and those of workers."""
    name = f"Subshell {subshell.id.split('-')[0]}"
    code = (
        f"import threading\nfor t in threading.enumerate():\n    if t.name == {name!r}: t.join(30)\n"
        "from callboard import Caller\nat_work = {caller.thread for caller in Caller.all_callers()}\n"
        "for t in threading.enumerate():\n    if t.name == 'callboard_caller' and t not in at_work: t.join(30)\n"
        f"[t.name for t in threading.enumerate() if t.name == {name!r}]"
    )
    assert client.run(code).result == "[]"


REFUSE = "try: await callboard.Pending()\nexcept BaseException: pass\n"


@pytest.mark.parametrize("kind", [*BUSY, "refuse", "refuse thrice"])
def test_a_busy_subshell_is_deleted_and_its_thread_ends(client: Client, backend: str, kind: str) -> None:
    subshell = Subshell(client)
    times = {"refuse": 1, "refuse thrice": 3}.get(kind)
    code = f"import callboard\n{REFUSE * times}await callboard.Pending()" if times else busy(kind, backend)
    msg_id = subshell.start(f"print('started')\n{code}")
    queued = subshell.execute("'never'")
    # Both have come in on the same channel.
    client.ask("kernel_info_request")
    assert subshell.delete() == {"status": "ok"}
    assert client.finish(msg_id, timeout=10).status == "error"
    assert client.finish(queued, timeout=10).status == "aborted"
    assert subshell.id not in ids(client)
    threads_end(client, subshell)


def test_a_subshell_in_c_code_is_deleted_and_its_cell_answered(client: Client) -> None:
    subshell = Subshell(client)
    client.run("import threading\nin_c = threading.Event()")
    msg_id = subshell.start("print('started')\nin_c.wait()\nprint('too late')")
    assert subshell.delete() == {"status": "ok"}
    run = client.finish(msg_id, timeout=10)
    assert run.status == "error"
    assert run.error["ename"] == "SubshellDeleted"
    assert client.run("'main goes on'").result == "'main goes on'"
    client.run("in_c.set()")
    threads_end(client, subshell)


def test_tasks_of_a_deleted_subshell_end(client: Client, backend: str) -> None:
    subshell = Subshell(client)
    msg_id = subshell.start("# task\nprint('started')\nimport callboard\nawait callboard.Pending()")
    assert subshell.run("'beside'").result == "'beside'"
    subshell.delete()
    assert client.finish(msg_id, timeout=10).status == "error"
    threads_end(client, subshell)


def test_a_hundred_subshells_leave_no_thread_and_no_descriptor(fresh_client: Client) -> None:
    client = fresh_client  # in another one, idle workers may end meanwhile
    used = (
        "import callboard\nawait callboard.Caller().call_soon(lambda: 1)\n"
        "await callboard.Caller().to_thread(lambda: 2)\n"
        "!true\nprint('used')"
    )
    count = (
        "import gc, os, threading\n_ = gc.collect()\n"
        # Files are left out: the one of the history has a journal from time to time.
        "def target(fd):\n    try: return os.readlink(f'/proc/self/fd/{fd}')\n    except OSError: return '/'\n"
        "fds = [fd for fd in os.listdir('/proc/self/fd') if not target(fd).startswith('/')]\n"
        "shells = [o for o in gc.get_objects() if type(o) is type(get_ipython())]\n"
        "(sorted(t.name for t in threading.enumerate()), len(fds), len(callboard.Caller.all_callers()), len(shells))"
    )
    for n in range(5):
        subshell = Subshell(client)
        subshell.run(used)
        if n == 1:
            subshell.run("%%bash\ntrue")
        subshell.delete()
        threads_end(client, subshell)
    before = eval(client.run(count).result or "")
    for round_ in range(10):
        subshells = [Subshell(client) for _ in range(10)]
        cells = [subshell.execute(used) for subshell in subshells]
        if round_ == 0:
            cells += [subshell.execute("%%bash\ntrue") for subshell in subshells]
        assert [run.reply for cell in cells if (run := client.finish(cell)).status != "ok"] == []
        for subshell in subshells:
            assert subshell.delete() == {"status": "ok"}
        for subshell in subshells:
            threads_end(client, subshell)
    assert ids(client) == []
    # The descriptors of an inbox are closed on another thread, a moment later.
    deadline = Deadline()
    while (after := eval(client.run(count).result or "")) != before and after[1] > before[1]:
        deadline.left(f"{before} instead of {after}")
    # Some of those at the beginning may have been about to close as well.
    assert (after[0], *after[2:]) == (before[0], *before[2:])
    assert after[1] <= before[1]


@pytest.mark.parametrize("how", ["await deleted", "deleted.wait_sync()"])
def test_code_makes_and_deletes_subshells(client: Client, how: str) -> None:
    client.run("kernel = get_ipython().kernel\nshell = kernel.create_subshell()")
    (subshell_id,) = eval(client.run("[shell.subshell_id]").result or "")
    assert ids(client) == [subshell_id]
    header = {"subshell_id": subshell_id}
    assert client.run("get_ipython() is shell", header=header).result == "True"
    # Also while a cell of it waits, and nobody in Python answers the actor that does it.
    msg_id = client.start("print('started')\nimport callboard\nawait callboard.Pending()", header=header)
    code = f"deleted = kernel.delete_subshell({subshell_id!r})\n{how}\ndeleted.result(), shell.kernel.subshells"
    assert client.run(code).result == "(None, {})"
    assert client.finish(msg_id).status == "error"
    assert subshell_id[:8] not in (client.run("callboard.Caller.all_callers()").result or "")
    run = client.run(f"await kernel.delete_subshell({subshell_id!r})")
    assert run.error["ename"] == "RuntimeError"
    assert "UnknownSubshell" in run.error["evalue"]
    assert subshell_id in run.error["evalue"]


def test_the_kernel_shuts_down_with_busy_subshells(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        cells = [
            Subshell(client).start("print('started')\nwhile True: pass"),
            Subshell(client).start("print('started')\nimport callboard\nawait callboard.Pending()"),
        ]
        Subshell(client)
        client.send("shutdown_request", {"restart": False}, channel="control")
        for msg_id in cells:
            assert client.finish(msg_id, timeout=20).status == "error"
        assert kernel.wait_end(20) == 0


# -- magics and options -------------------------------------------------------------------------------------


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


@pytest.fixture(scope="module")
def isolated(way: str, options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel whose subshells have variables of their own."""
    kernel = Kernel(way, tmp_path_factory.mktemp("isolated"), *options, "--isolated-subshells")
    yield kernel
    kernel.close()


class TestIsolated:
    @pytest.fixture
    def client(self, isolated: Kernel) -> Iterator[Client]:
        with isolated.connect() as client:
            yield client

    def test_writes_stay_and_reads_fall_through(self, client: Client, make: Callable[[], Subshell]) -> None:
        one, two = make(), make()
        client.run("base = [1]\nname = 'main'")
        assert one.run("name").result == "'main'"
        assert one.run("name = 'one'\nname").result == "'one'"
        assert client.run("name").result == two.run("name").result == "'main'"
        one.run("base.append(2)")
        assert client.run("base").result == "[1, 2]"
        one.run("only_one = 1\nimport fractions")
        for other in (client, two):
            assert other.run("only_one").error["ename"] == "NameError"
            assert other.run("fractions").error["ename"] == "NameError"
        client.run("later = 'later'")
        assert one.run("later").result == "'later'"
        assert one.run("del name\nname").result == "'main'"
        assert one.run("del base").error["ename"] == "NameError"
        assert client.run("base").result == "[1, 2]"
        assert one.run("no_such_name").error["ename"] == "NameError"
        assert one.run("globals() is get_ipython().user_ns, __name__").result == "(True, '__main__')"

    def test_reads_fall_through_everywhere(self, client: Client, sub: Subshell) -> None:
        client.run("a, b = 1, [2, 3]\ndef of_main(x): return x + a")
        code = (
            "def function(): return a + 1\n"
            "def outer():\n    def inner(): return [a + x for x in b]\n    return inner()\n"
            "class Klass:\n    attribute = a\n    listed = [x * a for x in b]\n"
            "    def method(self): return (lambda: a)()\n"
            "async def coroutine(): return a\n"
            "def generator(): yield from (x + a for x in b)\n"
            "(function(), outer(), Klass.attribute, Klass.listed, Klass().method(), await coroutine(), "
            "list(generator()),"
            " {x: a for x in b}, of_main(1), eval('a'), [eval('a') for _ in b], f'{a}')"
        )
        expected = (2, [3, 4], 1, [2, 3], 1, 1, [3, 4], {2: 1, 3: 1}, 2, 1, [1, 1], "1")
        assert eval(sub.run(code).result or "") == expected
        # What the subshell defines is what its functions see; those of the main shell see theirs.
        assert sub.run("a = 100\nfunction(), of_main(1), Klass().method()").result == "(101, 2, 100)"
        assert (
            sub.run("import threading\nt = threading.Thread(target=lambda: print(b)); t.start(); t.join()").stdout
            == "[2, 3]\n"
        )
        assert sub.run("# thread\nb").result == "[2, 3]"
        assert sub.run("# task\na").result == "100"

    def test_builtins_are_there_and_the_main_shells_names_go_before_them(self, client: Client, sub: Subshell) -> None:
        assert (
            sub.run(
                "import builtins\n(len([1]), max(1, 2), print is builtins.print, "
                "__build_class__ is builtins.__build_class__)"
            ).result
            == "(1, 2, True, True)"
        )
        client.run("import builtins\nbuiltins.made_later = 'builtin'\nlist = 'shadow'")
        assert sub.run("made_later, list").result == "('builtin', 'shadow')"
        client.run("del list, builtins.made_later")
        assert sub.run("list").result == "list"
        assert sub.run("made_later").error["ename"] == "NameError"
        assert sub.run("class A:\n    def f(self): return super().__repr__()\n'A' in A().f()").result == "True"
        assert sub.run("__import__('json').dumps(1), exec('z = 5'), z").result == "('1', None, 5)"

    def test_counts_results_and_history_are_its_own(self, client: Client, sub: Subshell) -> None:
        client.run("'of main'")
        assert sub.run("'of sub'").reply["execution_count"] == 1
        assert sub.run("_, Out, In[1]").result == "('of sub', {1: 'of sub'}, \"'of sub'\")"
        assert client.run("_").result == "'of main'"

    def test_magics_complete_and_inspect(self, client: Client, sub: Subshell, tmp_path: Path) -> None:
        client.run("known_to_main = 1\ndef documented():\n    'Says what it does.'")
        sub.run("known_to_sub = 2")
        assert sub.run("%who").stdout.split() == ["known_to_sub"]
        assert sub.run("%time known_to_main").result == "1"
        assert "loop" in sub.run("%timeit -n 1 -r 1 known_to_main + known_to_sub").stdout
        assert sub.run("%%capture out\nprint(known_to_main)").status == "ok"
        assert sub.run("out.stdout").result == "'1\\n'"
        assert client.run("out").error["ename"] == "NameError"
        assert sub.run("!echo {known_to_main} $known_to_sub").stdout.split() == ["1", "2"]
        (tmp_path / "script.py").write_text("from_script = 1\n")
        assert sub.run(f"%run {tmp_path / 'script.py'}").status == "ok"
        assert sub.run("from_script").result == "1"
        assert client.run("'from_script' in globals()").result == "False"
        matches = sub.ask("complete_request", {"code": "known_to", "cursor_pos": 8})["matches"]
        assert set(matches) == {"known_to_main", "known_to_sub"}
        assert "Says what it does." in str(sub.ask("inspect_request", {"code": "documented", "cursor_pos": 3})["data"])
        assert "known_to_sub" not in str(
            client.ask("complete_request", {"code": "known_to", "cursor_pos": 8})["matches"]
        )


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
