"""Magics that return an awaitable are awaited, on a line, in an assignment and in `%%capture`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from commands_of_cells import waiting_for

if TYPE_CHECKING:
    from pathlib import Path

    from support import Client


# -- magics that return something to await -------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("%upper a", "'A'"),
        ("upper a", "'A'"),
        ("x = %upper a\nx", "'A'"),
        ("x: str = %upper a\nx", "'A'"),
        ("a, b = %pair xy\nb, a", "('y', 'x')"),
        ("x = [0]\nx[0] = %upper a\nx", "['A']"),
        ("%promised later", "'later'"),
        ("x = %promised later\nx", "'later'"),
        ("%sync line", "'sync line'"),
        ("if True:\n    x = %upper a\nx", "'A'"),
        ("if False: pass\nelse:\n    x = %upper a\nx", "'A'"),
        ("x = []\nfor i in range(3):\n    y = %upper a{i}\n    x.append(y)\nx", "['A0', 'A1', 'A2']"),
        ("i = 2\nwhile i:\n    x = %upper a$i\n    i -= 1\nx", "'A1'"),
        ("import contextlib\nwith contextlib.nullcontext():\n    x = %upper a\nx", "'A'"),
        ("try:\n    %boom\nexcept ValueError:\n    x = %upper a\nelse:\n    x = 0\nx", "'A'"),
        ("try:\n    x = %upper a\nfinally:\n    y = %upper b\nx, y", "('A', 'B')"),
        ("match 1:\n    case 1:\n        x = %upper a\nx", "'A'"),
        ("async def f(n):\n    x = %upper a{n}\n    return x\nawait f(1)", "'A1'"),
        ("def f():\n    async def g():\n        x = %upper a\n        return x\n    return g\nawait f()()", "'A'"),
        ("class C:\n    async def f(self):\n        x = %upper a\n        return x\nawait C().f()", "'A'"),
        (
            "async def f():\n    for i in range(2):\n        x = %upper a\n        yield x\n[x async for x in f()]",
            "['A', 'A']",
        ),
        ("%both a", "('a', None)"),
        ("%%both a\nthe\ncell", r"('a', 'the\ncell\n')"),
        ("%%inner done\nx = %upper a\ny = %upper {x}b\nprint(y)", "'done'"),
        ("%%inner outer\n%%time\nx = %upper a\nprint(x)", "'outer'"),
        ("%local a", "('a', None, None)"),
        ("here = 1\n%local {here}", "('1', None, 1)"),
        ("async def f():\n    here = 5\n    x = %local {here}\n    return x\nawait f()", "('5', None, 5)"),
        ("here = 7\n%raw {here}", "'{here}'"),
        ("%silenced a", "'a'"),
        ("%silenced a;", None),
        ("%alias_magic -l uppercase upper\n%uppercase a", "'A'"),
        ("%alias_magic -l uppercase upper -p pre\n%uppercase a", "'PRE A'"),
        ("%time asyncio.sleep(0, 'timed')", "'timed'"),
        ("%time await asyncio.sleep(0, 'timed')", "'timed'"),
        ("x = %time await asyncio.sleep(0, 'timed')\nx", "'timed'"),
        ("%%time\nx = %upper a\nx", "'A'"),
        (
            "%upper a\n@register_line_magic\ndef sync(line):\n    return asyncio.sleep(0, 'now async')\n%sync",
            "'now async'",
        ),
    ],
)
def test_what_a_magic_returns_is_awaited(client: Client, code: str, result: str | None) -> None:
    run = client.run(code)
    assert run.status == "ok", run.reply
    assert run.result == result
    assert "never awaited" not in run.stderr


def test_inner_cells_show_what_they_print_and_their_errors(client: Client) -> None:
    assert client.run("%%inner\nx = %upper a\nprint(x)").stdout == "A\n"
    run = client.run("%%inner\n1\n%boom")
    assert run.error["ename"] == "ValueError"
    assert "----> 2 get_ipython().run_line_magic('boom', '')" in run.traceback
    # As with ipykernel.
    assert run.status == "ok"


def test_where_code_cannot_await_a_magic_returns_what_can_be_awaited(client: Client) -> None:
    function = "def f():\n    x = %upper a\n    return x\nasync def g():\n    return await f()\n"
    assert client.run(function + "asyncio.iscoroutine(c := f()), await c, await g()").result == "(True, 'A', 'A')"
    assert client.run("class C:\n    x = %upper a\nawait C.x").result == "'A'"
    assert client.run("await get_ipython().run_line_magic('upper', 'a')").result == "'A'"
    assert (
        client.run("task = asyncio.create_task(get_ipython().run_line_magic('upper', 'a'))\nawait task").result == "'A'"
    )


def test_without_autoawait_nothing_is_awaited(client: Client) -> None:
    client.run("%autoawait off")
    try:
        assert client.run("x = %upper a\nx.close(), asyncio.iscoroutine(x)").result == "(None, True)"
        assert client.run("!echo synchronous").stdout == "synchronous\r\n"
        assert client.run("%sx echo synchronous").result == "['synchronous']"
        assert client.run("%%bash\necho synchronous").stdout == "synchronous\n"
    finally:
        client.run("%autoawait on")
    assert client.run("%upper a").result == "'A'"


@pytest.mark.parametrize("name", ["boom", "sync_boom"])
def test_a_traceback_points_at_the_line_with_the_magic(client: Client, name: str) -> None:
    run = client.run(f"x = 1\ny = 2\n%{name}\nz = 3")
    text = run.traceback
    assert f"----> 3 get_ipython().run_line_magic('{name}', '')" in text
    assert "raise ValueError('boom')" in text
    assert "callboard/ipython/magics" not in text
    run = client.run(f"async def f():\n    x = 1\n    %{name}\nawait f()")
    assert f"----> 3     get_ipython().run_line_magic('{name}', '')" in run.traceback
    assert "----> 4 await f()" in run.traceback


def test_a_magic_that_does_not_exist_is_a_usage_error(client: Client) -> None:
    for code in ("x = 1\n%no_such_magic", "async def f():\n    %no_such_magic\nawait f()"):
        run = client.run(code)
        assert run.reply["ename"] == "UsageError"
        assert "UsageError: Line magic function `%no_such_magic` not found.\n" in run.stderr


def test_other_magics_are_called_as_usual(client: Client) -> None:
    """A cell becomes a coroutine only if it has an await."""
    run = client.run(
        "for _ in range(1):\n    %timeit -n1 -r1 pass\n    %pwd\n__import__('sys')._getframe().f_code.co_flags & 0x80"
    )
    assert run.result == "0"
    assert client.run("%who str").status == "ok"
    assert client.run("%%prun -q\nx = 1").status == "ok"
    assert client.run("%%timeit -n1 -r1\n!true").status == "ok"
    assert client.run("%xmode Plain\n%xmode Context").status == "ok"
    assert client.run("%time 1 + 1").result == "2"
    assert "Wall time" in client.run("%%time\nx = 3").stdout


def test_a_cell_with_a_question_or_a_macro_works(client: Client) -> None:
    client.run("x = %upper m\nprint(x)")
    client.run("%macro -q mine 1")
    assert client.run("%upper?").status == "ok"
    assert client.run("get_ipython().define_macro('twice', 'x = %upper q\\nprint(x)\\n')\n").status == "ok"


def test_rerun_awaits(client: Client) -> None:
    client.run("x = %upper again\nprint(x)")
    run = client.run("%rerun")
    assert run.stdout.endswith("=== Output: ===\nAGAIN\n")


# -- %%capture -----------------------------------------------------------------------------------------


def test_capture_awaits(client: Client) -> None:
    run = client.run("%%capture caught\n!echo command\nx = %upper a\nprint(x)\ndisplay('shown')\n'value'")
    assert run.types == ["busy", "execute_input", "idle"]
    assert client.run("caught.stdout, [o.data['text/plain'] for o in caught.outputs]").result == (
        r"""('command\r\nA\n', ["'shown'", "'value'"])"""
    )
    run = client.run("%%capture caught --no-display\nawait asyncio.sleep(0)\nprint('x')\ndisplay('shown')")
    assert run.types == ["busy", "execute_input", "display_data", "idle"]
    assert client.run("import sys\ntype(sys.stdout).__name__").result == "'OutStream'"
    run = client.run("%%capture\n%upper a\n1/0")
    assert (run.status, run.error["ename"]) == ("ok", "ZeroDivisionError")
    assert client.run("print('shown')").stdout == "shown\n"


def test_capture_leaves_the_output_of_others_alone(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "made"
    origin = client.run(
        "import pathlib\nstarted = asyncio.Event()\n"
        "async def other():\n    await started.wait()\n    print('of the task')\n"
        f"    display('of the task')\n    pathlib.Path({str(file)!r}).touch()\ntask = asyncio.create_task(other())"
    )
    run = client.run(f"%%capture caught\nstarted.set()\nprint('mine')\n!{waiting_for(file)}\ndisplay('mine')")
    assert run.types == ["busy", "execute_input", "idle"]
    assert client.wait_text("of the task\n", origin.msg_id)
    result = client.run("caught.stdout, [o.data['text/plain'] for o in caught.outputs]").result
    assert result == r"""('mine\ndone\r\n', ["'mine'"])"""


# -- the transformation itself -------------------------------------------------------------------------


CALL = "get_ipython().run_line_magic('m', '')"
AWAITED = "await get_ipython().run_line_magic_async('m', '')"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (CALL, AWAITED),
        (f"x = {CALL}", f"x = {AWAITED}"),
        (f"x: int = {CALL}", f"x: int = {AWAITED}"),
        ("x = get_ipython().getoutput('ls')", "x = await get_ipython().getoutput_async('ls')"),
        ("get_ipython().system('ls')", "await get_ipython().system_async('ls')"),
        ("get_ipython().run_cell_magic('m', '', '')", "await get_ipython().run_cell_magic_async('m', '', '')"),
        (f"if a:\n    {CALL}", f"if a:\n    {AWAITED}"),
        (f"async def f():\n    {CALL}", f"async def f():\n    {AWAITED}"),
        (f"def f():\n    {CALL}", None),
        (f"async def f():\n\n    def g():\n        {CALL}", None),
        (f"class C:\n    x = {CALL}", None),
        (f"lambda: {CALL}", None),
        (f"f({CALL})", None),
        (f"await {CALL}", None),
        (f"[{CALL} for _ in range(3)]", None),
        ("get_ipython().show_usage()", None),
        ("other().run_line_magic('m', '')", None),
    ],
)
def test_statements_are_transformed(code: str, expected: str | None) -> None:
    from callboard.ipython.magics.await_magics import AwaitMagics

    tree = AwaitMagics(lambda method, args: True).visit(ast.parse(code))
    assert ast.unparse(tree) == (code if expected is None else expected)
    compile(tree, "<test>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
