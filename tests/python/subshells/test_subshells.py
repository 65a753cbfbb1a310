"""Subshells (JEP 91): created and listed, independent of each other, with the features of the main shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from subshell_tools import Subshell, blocked, ids
from support import parent_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Client


# -- what they are -------------------------------------------------------------------------------------


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
    # But in no other thread.
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


def test_a_blocked_subshell_holds_up_no_other(client: Client, make: Callable[[], Subshell]) -> None:
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


# -- what the main shell has and they have too ---------------------------------------------------------


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


# -- questions about code ------------------------------------------------------------------------------


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
