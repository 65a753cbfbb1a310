"""Magics and shell commands: awaited, and ended with all their processes."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import signal
import uuid
from typing import TYPE_CHECKING

import psutil
import pytest
from support import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Client, Kernel, Run

DEFINE = """
import asyncio, functools
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand
from IPython.core.magic import output_can_be_silenced
from IPython.core.magic import register_cell_magic, register_line_cell_magic, register_line_magic

@register_line_magic
async def upper(line):
    await asyncio.sleep(0)
    return line.upper()

@register_line_magic
def promised(line):
    return asyncio.ensure_future(asyncio.sleep(0, line))

@register_line_magic
@no_var_expand
async def raw(line):
    return line

@register_line_magic
@output_can_be_silenced
async def silenced(line):
    return line

@register_line_magic
async def pair(line):
    await asyncio.sleep(0)
    return line[0], line[1]

@register_cell_magic
async def inner(line, cell):
    await asyncio.sleep(0)
    ip = get_ipython()
    await ip.run_cell_async(cell, transformed_cell=ip.transform_cell(cell))
    return line

@register_line_cell_magic
async def both(line, cell=None):
    await asyncio.sleep(0)
    return line, cell

@register_line_magic
def sync(line):
    return 'sync ' + line

@register_line_magic
async def boom(line):
    await asyncio.sleep(0)
    raise ValueError('boom')

@register_line_magic
def sync_boom(line):
    raise ValueError('boom')

@magics_class
class Mine(Magics):
    @line_cell_magic
    @needs_local_scope
    async def local(self, line, cell=None, local_ns=None):
        await asyncio.sleep(0)
        return line, cell, local_ns.get('here')

get_ipython().register_magics(Mine)
del upper, promised, boom
"""


@pytest.fixture
def client(client: Client) -> Client:
    assert client.run(DEFINE).status == "ok"
    return client


def pid_is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for_end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=10)
    assert pid_is_gone(pid)


def plain(run: Run) -> str:
    """The traceback of a cell, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(run.error["traceback"]))


# -- magics that return something to await --------------------------------------------------------------


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
    assert run.reply["ename"] == "ValueError"
    assert "----> 2 get_ipython().run_line_magic('boom', '')" in plain(run)


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
    text = plain(run)
    assert f"----> 3 get_ipython().run_line_magic('{name}', '')" in text
    assert "raise ValueError('boom')" in text
    assert "async_magics.py" not in text
    run = client.run(f"async def f():\n    x = 1\n    %{name}\nawait f()")
    assert f"----> 3     get_ipython().run_line_magic('{name}', '')" in plain(run)
    assert "----> 4 await f()" in plain(run)


def test_a_magic_that_does_not_exist_is_a_usage_error(client: Client) -> None:
    for code in ("x = 1\n%no_such_magic", "async def f():\n    %no_such_magic\nawait f()"):
        run = client.run(code)
        assert run.reply["ename"] == "UsageError"
        assert "UsageError: Line magic function `%no_such_magic` not found.\n" in run.stderr


def test_other_magics_are_called_as_ever(client: Client) -> None:
    """A cell becomes a coroutine only if it has something to await."""
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


# -- commands do not hold up the event loop -------------------------------------------------------------

#: Ways to run a command; what they print or return contains what the command prints.
COMMANDS = {
    "!": "!{}",
    "!!": "!!{}",
    "= !": "x = !{}\nprint(x)",
    "%sx": "%sx {}",
    "%%sx": "%%sx\n{}",
    "%system": "%system {}",
    "%%!": "%%!\n{}",
    "%sc": "%sc -v out={}",
    "%%bash": "%%bash\n{}",
    "%%sh": "%%sh\n{}",
    "%%script": "%%script bash -e\n{}",
    "%%time": "%%time\n!{}",
    "%time": "%time !{}",
    "async def": "async def f():\n    !{}\nawait f()",
    "if": "if True:\n    !{}",
    "alias": "%alias run_it %l\n%run_it {}",
}


@pytest.fixture(params=COMMANDS.values(), ids=COMMANDS.keys())
def form(request: pytest.FixtureRequest) -> str:
    return request.param


def waiting_for(file: Path) -> str:
    """A command that ends when a file is there."""
    return f"while [ ! -e {file} ]; do sleep 0.01; done; echo done"


def output(run: Run) -> str:
    return run.stdout + (run.result or "")


def test_a_task_goes_on_while_a_command_runs(client: Client, tmp_path: Path, form: str) -> None:
    file = tmp_path / "made"
    client.run(
        f"import pathlib\nasync def make():\n    print('the task')\n    pathlib.Path({str(file)!r}).touch()\n"
        "async def later():\n    await gate.wait()\n    await make()\n"
        "gate = asyncio.Event()\ntask = asyncio.create_task(later())"
    )
    client.run("asyncio.get_running_loop().call_later(0.01, gate.set);")
    run = client.run(form.format(waiting_for(file)))
    assert run.status == "ok", run.reply
    assert "done" in output(run)


def test_a_comm_message_is_handled_while_a_command_runs(client: Client, tmp_path: Path, form: str) -> None:
    file = tmp_path / "made"
    client.run(
        "import comm, pathlib\ndef target(c, message):\n    print('opened')\n"
        f"    pathlib.Path({str(file)!r}).touch()\n"
        "comm.get_comm_manager().register_target('async.magics', target)"
    )
    msg_id = client.execute(form.format(waiting_for(file)))
    content = {"comm_id": uuid.uuid4().hex, "target_name": "async.magics", "data": {}}
    opened = client.send("comm_open", content)
    assert "done" in output(client.finish(msg_id))
    assert client.wait_text("opened\n", opened) == "opened\n"


def test_output_comes_while_the_command_runs(client: Client, tmp_path: Path) -> None:
    for n, form in enumerate(("!{}", "%%bash\n{}", "%%time\n!{}")):
        file = tmp_path / str(n)
        msg_id = client.execute(form.format(f"echo first; printf partial; {waiting_for(file)}"))
        client.wait_text("partial", msg_id)
        assert not client.replied(msg_id)
        file.touch()
        assert "partialdone" in client.finish(msg_id).stdout


def test_output_is_in_the_cell_that_runs_the_command(client: Client, tmp_path: Path) -> None:
    """Also when the command was started by a task, and another cell runs now."""
    file = tmp_path / "made"
    origin = client.run(f"async def work():\n    !{waiting_for(file)}\ntask = asyncio.create_task(work())")
    assert client.run(f"print('other')\n!touch {file}\nawait task\nprint('other')").stdout == "other\nother\n"
    assert client.wait_text("done", origin.msg_id).startswith("done")


def test_output_keeps_its_order(client: Client) -> None:
    run = client.run("for i in range(5):\n    print('python', i)\n    !echo command $i\n    display(i)")
    assert run.stdout.replace("\r", "") == "".join(f"python {i}\ncommand {i}\n" for i in range(5))
    assert run.types == ["busy", "execute_input", *["stream", "display_data"] * 5, "idle"]


def test_two_commands_run_at_the_same_time(client: Client, tmp_path: Path) -> None:
    """Each waits for what the other makes."""
    a, b = tmp_path / "a", tmp_path / "b"
    code = (
        f"async def first():\n    !touch {a}; {waiting_for(b)}\nasync def second():\n    !{waiting_for(a)}; touch {b}\n"
        "await asyncio.gather(first(), second());"
    )
    run = client.run(code)
    assert run.status == "ok"
    assert run.stdout.count("done") == 2


def test_a_large_output_is_complete(client: Client) -> None:
    for code in ("!seq 1 100000", "%%bash\nseq 1 100000"):
        run = client.run(code)
        assert run.stdout.replace("\r", "") == "".join(f"{i}\n" for i in range(1, 100_001))
    assert client.run("x = !seq 1 100000\nlen(x)").result == "100000"


def test_text_is_decoded_also_in_pieces(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "made"
    msg_id = client.execute(f"!printf 'a\\303'; {waiting_for(file)} > /dev/null; printf '\\251\\n'")
    client.wait_text("a", msg_id)
    file.touch()
    assert "é" in client.finish(msg_id).stdout
    assert client.run("!printf '\\377\\n'").stdout == "\ufffd\r\n"


# -- what commands find, and what they leave ------------------------------------------------------------


def test_a_command_finds_a_terminal(client: Client) -> None:
    run = client.run("!test -t 0 && test -t 1 && test -t 2 && tty < /dev/tty && stty size")
    assert re.fullmatch(r"/dev/\S+\r\n24 80\r\n", run.stdout)
    run = client.run("!test $(ps -o sid= -p $$) = $$ && echo leads")
    assert run.stdout == "leads\r\n"
    assert client.run("x = !test -t 1 || echo none\nx").result == "['none']"
    # As in a script of a shell.
    run = client.run("!kill -INT $$; echo not reached")
    assert (run.stdout, run.reply["ename"]) == ("", "KeyboardInterrupt")
    assert client.run("_exit_code").result == "-2"


def test_a_command_blocks_no_signal(client: Client) -> None:
    for form in ("!{}", "%%bash\n{}", "x = !{}\nprint(x[0])"):
        run = client.run(form.format("grep SigBlk /proc/self/status"))
        if run.stdout:
            assert "0000000000000000" in run.stdout


def test_exit_codes(client: Client) -> None:
    for form in ("!{}", "x = !{}", "%sx {}", "%%script --no-raise-error bash\n{}"):
        client.run(form.format("exit 3"))
        assert client.run("_exit_code").result == "3"
        client.run(form.format("true"))
        assert client.run("_exit_code").result == "0"
    client.run("!kill -9 $$")
    assert client.run("_exit_code").result == "-9"


def test_a_failure_can_be_an_error(client: Client) -> None:
    client.run("get_ipython().system_raise_on_error = True")
    try:
        for code in ("1\n!exit 3", "1\nx = !exit 3", "1\n%sx exit 3"):
            run = client.run(code)
            assert run.reply["ename"] == "CalledProcessError"
            assert "exit status 3" in run.reply["evalue"]
            assert "----> 2 get_ipython()" in plain(run).replace("x = ", "")
            assert "async_magics.py" not in plain(run)
        assert client.run("x = !echo a; echo b >&2\nx").result == "['a', 'b']"
    finally:
        client.run("get_ipython().system_raise_on_error = False")


def test_errors_of_commands(client: Client) -> None:
    for code in ("!sleep 100 &", "x = !sleep 100 &", "async def f():\n    !sleep 100 &\nawait f()"):
        assert client.run(code).reply["ename"] == "OSError"
    client.run("import os\nshell = os.environ.get('SHELL')\nos.environ['SHELL'] = '/no/such/shell'")
    for code in ("!echo", "x = !echo"):
        run = client.run(code)
        assert "/no/such/shell" in run.reply["evalue"]
        assert "process.py" not in plain(run)
    client.run("del os.environ['SHELL']\nif shell: os.environ['SHELL'] = shell")
    assert client.run("!echo fine").stdout == "fine\r\n"


def test_variables_are_expanded_in_the_right_place(client: Client) -> None:
    code = (
        "name = 'global'\nasync def f(name):\n    !echo {name} $name $$HOME\n"
        "    x = !echo {name}\n    y = %sx echo $name\n    return list(x), list(y)\nawait f('local')"
    )
    run = client.run(code)
    assert run.stdout.startswith("local local /")
    assert run.result == "(['local'], ['local'])"
    assert client.run("name = 'global'\n!echo {name} {name[0]}").stdout == "global g\r\n"
    assert client.run("def f(name):\n    !echo {name}\nf('plain')").stdout == "plain\r\n"
    assert client.run("def f(name):\n    x = !echo {name}\n    return list(x)\nf('plain')").result == "['plain']"
    assert client.run("%%bash -s {name}\necho $1 {name}").stdout == "global {name}\n"


def test_in_a_plain_function_a_command_is_synchronous(client: Client) -> None:
    code = "def f():\n    !echo printed\n    x = !echo returned\n    return list(x)\nf()"
    run = client.run(code)
    assert run.stdout == "printed\r\n"
    assert run.result == "['returned']"
    assert client.run("(lambda: get_ipython().getoutput('echo lambda'))()").result == "['lambda']"


def test_a_system_of_the_users_is_called(client: Client) -> None:
    client.run("ip = get_ipython()\nip.system = lambda cmd: print('mine', cmd)")
    try:
        assert client.run("!echo hello").stdout == "mine echo hello\n"
    finally:
        client.run("del ip.system")
    assert client.run("!echo hello").stdout == "hello\r\n"


def test_pip_is_awaited(client: Client, tmp_path: Path) -> None:
    """With a Python that is none."""
    file = tmp_path / "made"
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\necho "$@"\n{waiting_for(file)}\n')
    program.chmod(0o755)
    client.run(
        f"import sys, pathlib\nexecutable, sys.executable = sys.executable, {str(program)!r}\n"
        f"asyncio.get_running_loop().call_later(0.01, pathlib.Path({str(file)!r}).touch);"
    )
    try:
        run = client.run("%pip install this-one")
    finally:
        client.run("sys.executable = executable")
    assert run.status == "ok"
    assert run.stdout.replace("\r", "").splitlines() == [
        "-m pip install this-one",
        "done",
        "Note: you may need to restart the kernel to use updated packages.",
    ]


# -- %%script -------------------------------------------------------------------------------------------


def test_a_script_keeps_its_options(client: Client) -> None:
    run = client.run("%%bash --out out --err err --no-raise-error\necho o; echo e >&2; exit 3")
    assert (run.status, run.stdout, run.stderr) == ("ok", "", "")
    assert client.run("out, err").result == r"('o\n', 'e\n')"
    run = client.run("%%bash\necho o; echo e >&2; exit 3")
    assert (run.reply["ename"], run.stdout, run.stderr) == ("CalledProcessError", "o\n", "e\n")
    assert "async_magics.py" not in plain(run)
    assert client.run("%%script python3 -c 'import sys; print(len(sys.stdin.read()))'\nabc").stdout == "4\n"
    assert client.run("%%script cat -n\na\nb").stdout == "     1\ta\n     2\tb\n"
    assert client.run("%%script no-such-program\na").stdout == "Couldn't find program: 'no-such-program'\n"
    assert client.run("%%script\na").reply["ename"] == "UsageError"


def test_a_script_in_the_background(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "made"
    run = client.run(f"%%bash --bg --out out --proc proc\n{waiting_for(file)}")
    assert run.status == "ok"
    file.touch()
    assert client.run("(await out.read()).decode()").result == r"'done\n'"
    assert client.run("await proc.wait()").result == "0"


def test_a_script_may_be_large_and_print_before_it_has_read_all(client: Client) -> None:
    lines = "\n".join(f"echo {'x' * 100} {n}" for n in range(5000))
    run = client.run("%%bash\n" + lines)
    assert run.stdout == "".join(f"{'x' * 100} {n}\n" for n in range(5000))
    assert client.run("%%script true\n" + "x\n" * 500_000).status == "ok"


# -- interrupt ------------------------------------------------------------------------------------------

#: Prints the numbers of processes that would run for long, and does not end.
FAMILIES = {
    "child": "echo pids $$; sleep 1000",
    "pipe": "sleep 1000 | sleep 1000 & echo pids $$ $!; wait",
    "grandchildren": "bash -c 'sleep 1000 & echo pids $$ $!; wait' | cat",
    "another session": "setsid bash -c 'echo pids $$; sleep 1000' | cat",
    "deaf": 'trap "" INT TERM; bash -c "trap \'\' INT TERM; echo pids \\$\\$; sleep 1000; sleep 1000" ; sleep 1000',
    "outlives": "bash -c 'trap \"\" INT HUP; echo pids $$; sleep 1000; sleep 1000' & wait",
    "stopped": "sleep 1000 & kill -STOP $!; echo pids $$ $!; wait",
    "closed": "echo pids $$; exec >&- 2>&- <&-; sleep 1000",
}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
@pytest.mark.parametrize(
    "form", ["!{}", "%%bash\n{}", "async def f():\n    !{}\nawait f()"], ids=["!", "%%bash", "def"]
)
def test_an_interrupt_ends_a_command_with_its_processes(
    kernel: Kernel, client: Client, how: str, form: str, family: str
) -> None:
    msg_id = client.execute(form.format(family))
    printed = client.wait_text("\n", msg_id)
    pids = [int(pid) for pid in printed.split("pids")[1].split()]
    assert pids
    assert not any(pid_is_gone(pid) for pid in pids)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.reply["ename"] == "KeyboardInterrupt"
    assert all(pid_is_gone(pid) for pid in pids)
    assert client.run("_exit_code").result == "-2"
    assert client.run("!echo alive").stdout == "alive\r\n"


@pytest.mark.parametrize("form", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_form_is_interrupted(kernel: Kernel, client: Client, tmp_path: Path, form: str) -> None:
    file = tmp_path / "pid"
    msg_id = client.execute(form.format(f"sh -c 'echo $PPID > {file}.new; mv {file}.new {file}'; sleep 1000"))
    client.execute("'next'")
    while not file.exists():
        client.ask("kernel_info_request", channel="control")
    pid = int(file.read_text())
    interrupt(client, kernel, "message")
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert pid_is_gone(pid)
    assert client.run("'alive'").result == "'alive'"


def test_a_command_may_clean_up_when_it_is_interrupted(kernel: Kernel, client: Client, how: str) -> None:
    for form in ("!{}", "%%bash\n{}"):
        command = "trap 'echo cleaned up; exit 0' INT; echo ready; while true; do sleep 0.01; done"
        msg_id = client.execute(form.format(command))
        client.wait_text("ready", msg_id)
        interrupt(client, kernel, how)
        run = client.finish(msg_id, timeout=20)
        assert "cleaned up" in run.stdout
        assert run.reply["ename"] == "KeyboardInterrupt"


def test_a_second_interrupt_does_not_wait(kernel: Kernel, client: Client, how: str) -> None:
    code = "!trap 'echo deaf' INT TERM; echo ready; while true; do sleep 0.01; done"
    msg_id = client.execute(code)
    client.wait_text("ready", msg_id)
    interrupt(client, kernel, how)
    client.wait_text("deaf", msg_id)
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert client.run("!echo alive").stdout == "alive\r\n"


def test_the_rest_of_an_interrupted_cell_does_not_run(kernel: Kernel, client: Client, how: str) -> None:
    msg_id = client.execute("try:\n    !echo ready; sleep 1000\nfinally:\n    print('finally')\nprint('after')")
    client.wait_text("ready", msg_id)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.stdout == "ready\r\nfinally\n"
    text = plain(run)
    assert "----> 2     get_ipython().system('echo ready; sleep 1000')" in text
    assert "process.py" not in text
    assert "asyncio" not in text


def test_an_async_magic_is_interrupted(kernel: Kernel, client: Client, how: str) -> None:
    client.run("@register_line_magic\nasync def forever(line):\n    print('started')\n    await asyncio.sleep(1000)")
    msg_id = client.start("x = 1\n%forever")
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.reply["ename"] == "KeyboardInterrupt"
    assert "----> 2 get_ipython().run_line_magic('forever', '')" in plain(run)


def test_a_timeout_ends_a_command(client: Client) -> None:
    run = client.run(
        "try:\n    async with asyncio.timeout(0.2):\n        !echo pid $$; sleep 1000\n"
        "except TimeoutError:\n    print('timeout')"
    )
    assert run.status == "ok", run.reply
    assert run.stdout.endswith("timeout\n")
    assert pid_is_gone(int(run.stdout.split()[1]))


def test_what_a_command_leaves_behind_is_left_alone(client: Client, tmp_path: Path) -> None:
    """A command that ends by itself may leave a daemon."""
    daemon = f"setsid sh -c 'touch {tmp_path}/made; exec sleep 1000' > /dev/null 2>&1 < /dev/null"
    run = client.run(f"!{daemon} & while [ ! -e {tmp_path}/made ]; do sleep 0.01; done; echo $!")
    pid = int(run.stdout)
    try:
        client.run("1")
        assert not pid_is_gone(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_commands_end_with_the_kernel(fresh_kernel: Kernel, fresh_client: Client) -> None:
    msg_id = fresh_client.execute("!trap '' INT TERM HUP; echo $$; while true; do sleep 1; done")
    pid = int(fresh_client.wait_text("\n", msg_id))
    fresh_client.ask("shutdown_request", {"restart": False}, channel="control")
    fresh_kernel.wait_end()
    wait_for_end(pid)


# -- %%capture ------------------------------------------------------------------------------------------


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
    assert run.reply["ename"] == "ZeroDivisionError"
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


# -- other threads and trio -----------------------------------------------------------------------------

IN_TRIO = """
import threading
def run_trio(main):
    import trio
    results = []
    thread = threading.Thread(target=lambda: results.append(trio.run(main)))
    thread.start()
    return thread, results
"""


def test_commands_work_in_trio(client: Client, tmp_path: Path) -> None:
    pytest.importorskip("trio")
    file = tmp_path / "made"
    client.run(IN_TRIO)
    run = client.run(
        "import trio, pathlib\n"
        "async def other():\n"
        f"    pathlib.Path({str(file)!r}).touch()\n"
        "async def main():\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        nursery.start_soon(other)\n"
        f"        !{waiting_for(file)}\n"
        "        x = !echo output\n"
        "        y = %sx echo magic\n"
        "    return list(x), list(y)\n"
        "thread, results = run_trio(main)\n"
        "await asyncio.to_thread(thread.join)\nresults"
    )
    assert run.result == "[(['output'], ['magic'])]"
    assert run.stdout == "done\r\n"


def test_a_cancellation_by_trio_ends_a_command(client: Client) -> None:
    pytest.importorskip("trio")
    client.run(IN_TRIO)
    run = client.run(
        "import trio\n"
        "async def main():\n"
        "    with trio.move_on_after(0.2) as scope:\n"
        "        !trap '' INT; echo $$; while true; do sleep 1; done\n"
        "        print('not reached')\n"
        "    return scope.cancelled_caught\n"
        "thread, results = run_trio(main)\n"
        "await asyncio.to_thread(thread.join)\nresults"
    )
    assert run.result == "[True]"
    assert pid_is_gone(int(run.stdout))


def test_a_cell_may_run_in_the_loop_of_another_thread(client: Client) -> None:
    run = client.run(
        "import asyncio, threading\nip = get_ipython()\n"
        "def work():\n"
        "    code = '!echo command\\nx = %upper a\\nprint(x)'\n"
        "    asyncio.run(ip.run_cell_async(code, transformed_cell=ip.transform_cell(code)))\n"
        "thread = threading.Thread(target=work)\nthread.start()\nawait asyncio.to_thread(thread.join)"
    )
    assert run.stdout == "command\r\nA\n"


# -- run modes and the kernel's own magics --------------------------------------------------------------

MODES = ["# task", "# thread", '# thread name="Runner" backend=trio', "%%thread", "%%trio", "%%asyncio"]


@pytest.mark.parametrize("mode", MODES)
def test_commands_work_in_every_run_mode(client: Client, tmp_path: Path, mode: str) -> None:
    if "trio" in mode:
        pytest.importorskip("trio")
    file = tmp_path / "made"
    msg_id = client.execute(f"{mode}\n!echo started; {waiting_for(file)}\nx = !echo output\nprint(x, _exit_code)")
    client.wait_text("started", msg_id)
    other = client.execute(f"# task\nprint('task')\n!touch {file}")
    assert client.finish(msg_id).stdout.replace("\r", "") == "started\ndone\n['output'] 0\n"
    assert client.finish(other).stdout == "task\n"


@pytest.mark.parametrize("mode", MODES)
def test_commands_are_interrupted_in_every_run_mode(kernel: Kernel, client: Client, how: str, mode: str) -> None:
    if "trio" in mode:
        pytest.importorskip("trio")
    msg_id = client.execute(f"{mode}\n!echo pids $$; sleep 1000")
    pid = int(client.wait_text("\n", msg_id).split()[1])
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    if mode.startswith("#"):
        assert run.reply["ename"] == "KeyboardInterrupt"
        assert pid_is_gone(pid)
    else:
        # The magic has the call that it makes cancelled, and does not wait for its end.
        assert run.status == "error"
        wait_for_end(pid)
    assert client.run("'alive'").result == "'alive'"


def test_commands_and_magics_work_in_a_kernel_on_trio(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    pytest.importorskip("trio")
    kernel = start_kernel("--backend", "trio")
    with kernel.connect() as client:
        client.run(
            "import trio\nfrom IPython.core.magic import register_line_magic\n"
            "@register_line_magic\nasync def upper(line):\n    await trio.sleep(0)\n    return line.upper()\n"
        )
        assert client.run("x = %upper a\nx").result == "'A'"
        file = tmp_path / "made"
        msg_id = client.execute(f"!{waiting_for(file)}")
        client.finish(client.execute(f"# task\n!touch {file}"))
        assert client.finish(msg_id).stdout == "done\r\n"
        for family in ("child", "grandchildren", "deaf"):
            msg_id = client.execute("x = 1\n!" + FAMILIES[family])
            pids = [int(pid) for pid in client.wait_text("\n", msg_id).split("pids")[1].split()]
            interrupt(client, kernel, "message")
            run = client.finish(msg_id, timeout=20)
            assert run.reply["ename"] == "KeyboardInterrupt"
            assert "----> 2 get_ipython().system(" in plain(run)
            assert "process.py" not in plain(run)
            assert all(pid_is_gone(pid) for pid in pids)


def test_a_scope_of_anyio_ends_a_command_once(client: Client) -> None:
    """It cancels again and again, which is no second interrupt."""
    pytest.importorskip("anyio")
    run = client.run(
        "import anyio\nwith anyio.move_on_after(0.2) as scope:\n"
        "    !trap 'echo cleaned up; exit' INT; echo $$; while true; do sleep 0.01; done\n"
        "scope.cancelled_caught"
    )
    assert run.stdout.replace("\r", "").endswith("\ncleaned up\n")
    assert run.result == "True"


# -- the transformation itself --------------------------------------------------------------------------

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
    from callboard.ipython.magics.async_magics import AwaitMagics

    tree = AwaitMagics(lambda method, args: True).visit(ast.parse(code))
    assert ast.unparse(tree) == (code if expected is None else expected)
    compile(tree, "<test>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
