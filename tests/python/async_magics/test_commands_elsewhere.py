"""Commands and magics in other threads, on trio and in every run mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from commands_of_cells import FAMILIES, pid_is_gone, wait_for_end, waiting_for
from support import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Client, Kernel


# -- other threads and trio ----------------------------------------------------------------------------


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


# -- run modes and the kernel's own magics -------------------------------------------------------------


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
            assert "----> 2 get_ipython().system(" in run.traceback
            assert "callboard/processes" not in run.traceback
            assert all(pid_is_gone(pid) for pid in pids)


def test_a_scope_of_anyio_ends_a_command_once(client: Client) -> None:
    """anyio cancels repeatedly, which does not count as a second interrupt."""
    pytest.importorskip("anyio")
    run = client.run(
        "import anyio\nwith anyio.move_on_after(0.2) as scope:\n"
        "    !trap 'echo cleaned up; exit' INT; echo $$; while true; do sleep 0.01; done\n"
        "scope.cancelled_caught"
    )
    assert run.stdout.replace("\r", "").endswith("\ncleaned up\n")
    assert run.result == "True"
