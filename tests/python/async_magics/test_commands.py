"""Shell commands and scripts: they do not block the event loop, and set the variables that they set in IPython."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from commands_of_cells import output, waiting_for

if TYPE_CHECKING:
    from pathlib import Path

    from support import Client


# -- commands do not hold up the event loop ------------------------------------------------------------


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
    """Each waits for a file that the other makes."""
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


# -- what commands find, and what they leave -----------------------------------------------------------


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
            assert "----> 2 get_ipython()" in run.traceback.replace("x = ", "")
            assert "callboard/ipython/magics" not in run.traceback
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
        assert "callboard/processes" not in run.traceback
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
    """With a stand-in for Python."""
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


# -- %%script ------------------------------------------------------------------------------------------


def test_a_script_keeps_its_options(client: Client) -> None:
    run = client.run("%%bash --out out --err err --no-raise-error\necho o; echo e >&2; exit 3")
    assert (run.status, run.stdout, run.stderr) == ("ok", "", "")
    assert client.run("out, err").result == r"('o\n', 'e\n')"
    run = client.run("%%bash\necho o; echo e >&2; exit 3")
    assert (run.reply["ename"], run.stdout, run.stderr) == ("CalledProcessError", "o\n", "e\n")
    assert "callboard/ipython/magics" not in run.traceback
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
