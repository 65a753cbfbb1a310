"""Cells: their replies, their messages, and the state that one leaves for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support import Client, Kernel


def test_a_cell_publishes_busy_its_input_its_output_and_idle_in_this_order(client: Client) -> None:
    run = client.run("print('out')\n6 * 7")
    assert run.status == "ok"
    assert run.types == ["busy", "execute_input", "stream", "execute_result", "idle"]
    (given,) = run.contents("execute_input")
    assert given == {"code": "print('out')\n6 * 7", "execution_count": run.reply["execution_count"]}
    (result,) = run.contents("execute_result")
    assert result["execution_count"] == run.reply["execution_count"]
    assert result["data"] == {"text/plain": "42"}
    assert run.reply["payload"] == []
    assert run.reply["user_expressions"] == {}


def test_execution_counts_go_up_by_one(client: Client) -> None:
    first = client.run("1").reply["execution_count"]
    assert [client.run(code).reply["execution_count"] for code in ("2", "print()", "1/0", "x = 3")] == [
        first + n for n in range(1, 5)
    ]


def test_a_silent_cell_shows_nothing_and_counts_nothing(client: Client) -> None:
    before = client.run("'before'").reply["execution_count"]
    run = client.run("silent_value = 5; silent_value", silent=True, store_history=True)
    assert run.status == "ok"
    assert run.types == ["busy", "idle"]
    after = client.run("silent_value")
    assert after.result == "5"
    assert after.reply["execution_count"] == before + 1


def test_store_history_false_leaves_count_out_and_history_alone(client: Client) -> None:
    before = client.run("'kept'").reply["execution_count"]
    run = client.run("'not kept, 8d1f'", store_history=False)
    assert run.result == "'not kept, 8d1f'"
    assert client.run("'next'").reply["execution_count"] == before + 1
    history = client.ask("history_request", {"hist_access_type": "tail", "n": 5, "raw": True, "output": False})
    assert not any("8d1f" in entry[2] for entry in history["history"])


def test_user_expressions_are_evaluated_after_the_code(client: Client) -> None:
    run = client.run(
        "a = 10", user_expressions={"good": "a + 1", "fails": "a / 0", "malformed": "a +", "rich": "_HasHtml()"}
    )
    assert run.status == "ok"
    found = run.reply["user_expressions"]
    assert found["good"] == {"status": "ok", "data": {"text/plain": "11"}, "metadata": {}}
    assert found["fails"]["status"] == "error"
    assert found["fails"]["ename"] == "ZeroDivisionError"
    assert found["fails"]["traceback"]
    assert found["malformed"]["status"] == "error"
    assert found["malformed"]["ename"] == "SyntaxError"
    assert found["rich"]["ename"] == "NameError"


def test_user_expressions_alone_work_in_a_silent_empty_cell(client: Client) -> None:
    run = client.run("", silent=True, user_expressions={"sum": "1 + 2"})
    assert run.reply["user_expressions"]["sum"]["data"] == {"text/plain": "3"}


def test_user_expressions_are_left_out_when_the_code_fails(client: Client) -> None:
    run = client.run("1/0", user_expressions={"a": "1"}, stop_on_error=False)
    assert run.status == "error"
    assert run.reply["user_expressions"] == {}


def test_an_error_is_published_and_replied_with_its_traceback(client: Client) -> None:
    run = client.run("def divide(x):\n    return 1 / x\n\ndivide(0)")
    assert run.types == ["busy", "execute_input", "error", "idle"]
    for content in (run.error, run.reply):
        assert content["ename"] == "ZeroDivisionError"
        assert content["evalue"] == "division by zero"
        text = "\n".join(content["traceback"])
        assert "divide" in text
        assert "Cell" in text
        assert "callboard" not in text, "the kernel's own frames are no business of the user's"
    assert run.reply["status"] == "error"
    assert isinstance(run.reply["execution_count"], int)


def test_an_error_that_cannot_be_turned_into_text_is_shown_once(client: Client) -> None:
    run = client.run("class Odd(Exception):\n    def __str__(self): raise ValueError('no text')\nraise Odd")
    assert run.error["ename"] == run.reply["ename"] == "Odd"
    assert isinstance(run.reply["execution_count"], int)


@pytest.mark.parametrize("code", ["import = 7q", "def f(:", "'unterminated", "\tif 1:\n  pass", "x = $"])
def test_a_syntax_error_is_an_error_reply(client: Client, code: str) -> None:
    run = client.run(code)
    assert run.status == "error"
    assert run.error["ename"] in ("SyntaxError", "IndentationError")
    assert run.reply["ename"] == run.error["ename"]


@pytest.mark.parametrize("code", ["", "   ", "\n\n", "# only a comment"])
def test_an_empty_cell_is_ok(client: Client, code: str) -> None:
    run = client.run(code)
    assert run.status == "ok"
    assert "error" not in run.types


def test_top_level_await(client: Client) -> None:
    run = client.run("import asyncio\nawait asyncio.sleep(0)\nawaited = await asyncio.sleep(0, 'value')\nawaited")
    assert run.result == "'value'"
    assert client.run("async with asyncio.Lock() as lock:\n    print('locked')").stdout == "locked\n"
    assert client.run("[x async for x in __import__('aiter_missing')]").error["ename"] == "ModuleNotFoundError"


def test_an_awaiting_cell_lets_tasks_of_earlier_cells_run(client: Client) -> None:
    client.run(
        "import asyncio\ngo = asyncio.Event()\n"
        "async def set_later():\n    go.set()\nt = asyncio.create_task(set_later())"
    )
    assert client.run("await asyncio.wait_for(go.wait(), 30)").status == "ok"


def test_cells_run_on_the_main_thread_with_a_running_loop(client: Client) -> None:
    run = client.run(
        "import asyncio, threading\n"
        "print(threading.current_thread() is threading.main_thread(), asyncio.get_running_loop().is_running())"
    )
    assert run.stdout == "True True\n"


def test_cells_behind_one_that_fails_are_aborted(client: Client) -> None:
    blocker = client.start("import time\nprint('started', flush=True)\ntime.sleep(0.5)\n1/0")
    queued = [client.execute(f"queued{n} = True") for n in range(3)]
    assert client.finish(blocker).status == "error"
    for msg_id in queued:
        run = client.finish(msg_id)
        assert run.status == "aborted"
        assert run.types == ["busy", "idle"]
    assert client.run("'queued0' in globals()").result == "False"


def test_without_stop_on_error_the_next_cells_run(client: Client) -> None:
    blocker = client.start("import time\nprint('started', flush=True)\ntime.sleep(0.5)\n1/0", stop_on_error=False)
    queued = [client.execute(f"print({n})") for n in range(3)]
    assert client.finish(blocker).status == "error"
    assert [client.finish(msg_id).stdout for msg_id in queued] == ["0\n", "1\n", "2\n"]


def test_results_are_kept_as_ipython_keeps_them(client: Client) -> None:
    count = client.run("'a result'").reply["execution_count"]
    assert client.run("_").result == "'a result'"
    assert client.run(f"Out[{count}], _{count}, In[{count}]").result == "('a result', 'a result', \"'a result'\")"
    assert client.run("_i").result == repr(f"Out[{count}], _{count}, In[{count}]")


def test_a_semicolon_hides_the_result(client: Client) -> None:
    run = client.run("'hidden';")
    assert run.result is None
    assert client.run(f"{run.reply['execution_count']} in Out").result == "False"


def test_rich_results_have_all_their_forms(client: Client) -> None:
    code = (
        "class Rich:\n"
        "    def __repr__(self): return 'plain'\n"
        "    def _repr_html_(self): return '<b>html</b>'\n"
        "    def _repr_png_(self): return b'\\x89PNG'\n"
        "    def _repr_mimebundle_(self, **_): return {'application/x-test+json': {'n': [1, float('nan')]}}\n"
        "Rich()"
    )
    (result,) = client.run(code).contents("execute_result")
    assert result["data"]["text/plain"] == "plain"
    assert result["data"]["text/html"] == "<b>html</b>"
    assert result["data"]["image/png"].strip() == "iVBORw=="
    assert result["data"]["application/x-test+json"]["n"][0] == 1


def test_a_repr_that_raises_shows_its_error_and_the_kernel_goes_on(client: Client) -> None:
    run = client.run("class Broken:\n    def __repr__(self): raise ValueError('no repr')\nBroken()")
    shown = run.stderr + "".join("".join(e["traceback"]) for e in run.contents("error"))
    assert "no repr" in shown
    run = client.run("class Half:\n    def _repr_html_(self): raise ValueError('no html')\nHalf()")
    assert "Half" in run.result
    assert client.run("'alive'").result == "'alive'"


def test_a_display_that_raises_fails_the_cell_and_not_the_kernel(client: Client) -> None:
    code = (
        "from IPython.display import display\n"
        "class Worse:\n    def _ipython_display_(self): raise RuntimeError('cannot be displayed')\n"
        "display(Worse())\nprint('after')"
    )
    run = client.run(code)
    shown = run.stderr + "".join("".join(e["traceback"]) for e in run.contents("error"))
    assert "cannot be displayed" in shown
    assert client.run("display({1: object()}, raw=True)").status in ("ok", "error")
    assert client.run("'alive'").result == "'alive'"


def test_set_next_input_is_a_payload(client: Client) -> None:
    run = client.run("get_ipython().set_next_input('next cell')")
    assert run.reply["payload"] == [{"source": "set_next_input", "text": "next cell", "replace": False}]
    run = client.run("get_ipython().set_next_input('this cell', replace=True)")
    assert run.reply["payload"] == [{"source": "set_next_input", "text": "this cell", "replace": True}]
    assert client.run("1").reply["payload"] == [], "a payload is sent once"


def test_load_puts_the_file_into_the_cell(client: Client, kernel: Kernel) -> None:
    (kernel.folder / "loaded.py").write_text("loaded = 1\n")
    (payload,) = client.run("%load loaded.py").reply["payload"]
    assert payload["source"] == "set_next_input"
    assert "loaded = 1" in payload["text"]


@pytest.mark.parametrize(
    ("code", "expected"), [("zip?", "Docstring"), ("?zip", "Docstring"), ("json.dumps??", "Source")]
)
def test_a_question_mark_opens_the_pager(client: Client, code: str, expected: str) -> None:
    client.run("import json")
    (payload,) = client.run(code).reply["payload"]
    assert payload["source"] == "page"
    assert payload["start"] == 0
    assert expected in payload["data"]["text/plain"]


def test_capture_keeps_the_output_of_a_cell(client: Client) -> None:
    run = client.run(
        "%%capture caught\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\ndisplay('shown')\n'value'"
    )
    assert run.types == ["busy", "execute_input", "idle"]
    assert client.run("caught.stdout, caught.stderr").result == r"('out\n', 'err\n')"
    replayed = client.run("caught.show()")
    assert replayed.stdout == "out\n"
    assert replayed.stderr == "err\n"
    assert replayed.contents("display_data")[0]["data"]["text/plain"] == "'shown'"


def test_run_executes_a_script_in_its_own_namespace(client: Client, kernel: Kernel) -> None:
    (kernel.folder / "script.py").write_text("import sys\nscript_value = sys.argv[1]\nprint('in', __name__)\n")
    assert client.run("%run script.py argument").stdout == "in __main__\n"
    assert client.run("script_value").result == "'argument'"


def test_a_shell_command_prints_into_the_cell(client: Client) -> None:
    run = client.run("word = 'expanded'\n!echo $word; echo problem >&2; exit 3")
    assert "expanded" in run.stdout.split()
    assert "problem" in (run.stdout + run.stderr).split()
    assert client.run("_exit_code").result == "3"
    assert client.run("lines = !printf 'a\\nb\\n'\nlist(lines)").result == "['a', 'b']"


def test_a_bash_cell_prints_into_the_cell(client: Client) -> None:
    run = client.run("%%bash\nfor i in 1 2 3; do echo $i; done\necho problem >&2")
    assert run.stdout == "1\n2\n3\n"
    assert run.stderr == "problem\n"
    assert client.run("%%bash\nexit 4").error["ename"] == "CalledProcessError"


def test_magics_work(client: Client) -> None:
    assert "ns" in (run := client.run("%timeit -n1 -r1 pass")).stdout or "s" in run.stdout
    assert client.run("%pwd").status == "ok"
    assert client.run("%config InlineBackend.figure_format = 'retina'").status == "ok", (
        "also before matplotlib is there"
    )
    assert "UsageError" in client.run("%no_such_magic").stderr


@pytest.mark.parametrize(
    "text", ["naïve café", "日本語", "🎭 \U0001d518 👩\u200d👧", "nul \0 tab \t bell \a", "\u202ertl"]
)
def test_text_comes_back_as_it_was_sent(client: Client, text: str) -> None:
    run = client.run(f"text = {text!r}\nprint(text)\ntext")
    assert run.stdout == text + "\n"
    assert run.result == repr(text)
    assert client.run("raise ValueError(text)").reply["evalue"] == text


def test_astral_characters_count_as_one_for_the_cursor(client: Client) -> None:
    client.run("astral_name = 1")
    code = "'🎭'; astral_na"
    reply = client.ask("complete_request", {"code": code, "cursor_pos": len(code)})
    assert reply["matches"] == ["astral_name"]
    assert code[reply["cursor_start"] : reply["cursor_end"]] == "astral_na"


def test_a_lone_surrogate_can_be_printed_shown_and_raised(client: Client) -> None:
    run = client.run(r"print('before \ud83d after'); '\ud83d'")
    assert run.status == "ok"
    assert run.stdout.startswith("before ")
    assert run.stdout.endswith(" after\n")
    assert client.run(r"display({'text/plain': 'x\ud83dy'}, raw=True)").status == "ok"
    assert client.run(r"raise ValueError('\udc80')").status == "error"
    assert client.run("'alive'").result == "'alive'"


def test_a_context_variable_is_seen_by_the_next_cell(client: Client) -> None:
    client.run("import contextvars\nvar = contextvars.ContextVar('var', default='unset')\nvar.set('set');")
    assert client.run("var.get()").result == "'set'"
    client.run("import asyncio\nawait asyncio.sleep(0)\nvar.set('after an await');")
    assert client.run("var.get()").result == "'after an await'"


#: Makes the tasks of a loop begin where they are made; without Python 3.12 only what `asyncio` looks at is set.
EAGER = """
import asyncio
def factory(loop, coro, **options):
    return asyncio.Task(coro, loop=loop, **options)
asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", factory))
"""


def test_cells_run_one_after_the_other_with_a_task_factory_of_the_users(client: Client) -> None:
    client.run(EAGER)
    try:
        client.run("ran = []")
        cells = [client.execute(f"ran.append({n}); await asyncio.sleep(0); ran.append({n})") for n in range(20)]
        for msg_id in cells:
            assert client.finish(msg_id).status == "ok"
        assert client.run("print(ran)").stdout == f"{[n for n in range(20) for _ in range(2)]}\n"
    finally:
        client.run("asyncio.get_running_loop().set_task_factory(None)")


def test_an_expression_with_a_semicolon_inside_is_shown(client: Client) -> None:
    assert client.run("'a;b'").result == "'a;b'"
    assert client.run("x = 1; x").result == "1"
    assert client.run("x  ; # nothing").result is None


def test_garbage_collection_knows_what_the_user_has_made(client: Client) -> None:
    """And not the modules that were there before: to look at them would take most of its time."""
    client.run("import gc, weakref\nclass Ring: pass\nring = Ring(); ring.ring = ring; gone = weakref.ref(ring)")
    assert (
        client.run("gc.isenabled(), any(one is globals() for one in gc.get_referrers(ring))").result == "(True, True)"
    )
    assert client.run("del ring; n = gc.collect(); gone() is None").result == "True"
    assert client.run("import os; any(one is os.__dict__ for one in gc.get_objects())").result == "False"


def test_libraries_find_out_that_they_are_in_a_notebook(client: Client) -> None:
    run = client.run(
        "import sys\nip = get_ipython()\n"
        "type(ip).__name__, 'IPKernelApp' in ip.config, ip.kernel is not None, hasattr(sys, 'ps1')"
    )
    assert run.result == "('ZMQInteractiveShell', True, True, True)"


def test_sys_exit_in_a_cell_does_not_end_the_kernel(client: Client) -> None:
    run = client.run("import sys\nsys.exit(3)")
    assert run.reply["ename"] == "SystemExit"
    assert client.run("'alive'").result == "'alive'"


def test_main_is_the_namespace_of_the_cells(client: Client, tmp_path: Path) -> None:
    client.run("import pickle\nclass Local: pass\nlocal = pickle.loads(pickle.dumps(Local()))")
    assert client.run("__name__, type(local).__module__").result == "('__main__', '__main__')"
    client.run("import __main__\n__main__.through_main = 1")
    assert client.run("through_main").result == "1"
    assert client.run(f"%cd {tmp_path}").status == "ok"
    assert client.run("import os\nos.getcwd()").result == repr(str(tmp_path))
    client.run("%cd -q -")


def test_a_reply_names_the_request_and_the_session(client: Client) -> None:
    msg_id = client.execute("1")
    reply = client.reply(msg_id)
    assert reply["parent_header"]["msg_id"] == msg_id
    assert reply["parent_header"]["session"] == client.kc.session.session
    assert reply["header"]["version"].startswith("5.")
    assert reply["header"]["session"] != client.kc.session.session
