"""An interrupt, a timeout or the end of the kernel ends a command with all its processes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from commands_of_cells import COMMANDS, FAMILIES, pid_is_gone, wait_for_end
from support import interrupt

if TYPE_CHECKING:
    from pathlib import Path

    from support import Client, Kernel


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
    text = run.traceback
    assert "----> 2     get_ipython().system('echo ready; sleep 1000')" in text
    assert "callboard/processes" not in text
    assert "asyncio" not in text


def test_an_async_magic_is_interrupted(kernel: Kernel, client: Client, how: str) -> None:
    client.run("@register_line_magic\nasync def forever(line):\n    print('started')\n    await asyncio.sleep(1000)")
    msg_id = client.start("x = 1\n%forever")
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.reply["ename"] == "KeyboardInterrupt"
    assert "----> 2 get_ipython().run_line_magic('forever', '')" in run.traceback


def test_a_timeout_ends_a_command(client: Client) -> None:
    run = client.run(
        "try:\n    async with asyncio.timeout(0.2):\n        !echo pid $$; sleep 1000\n"
        "except TimeoutError:\n    print('timeout')"
    )
    assert run.status == "ok", run.reply
    assert run.stdout.endswith("timeout\n")
    assert pid_is_gone(int(run.stdout.split()[1]))


def test_a_daemon_that_a_command_leaves_goes_on(client: Client, tmp_path: Path) -> None:
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
