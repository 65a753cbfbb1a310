"""The start and the end of a kernel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jupyter_client import AsyncKernelManager
from kernels_by_hand import PARENT, write_connection
from support import TIMEOUT, Client, command, environment, write_kernelspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Kernel

#: Seconds: far more than the kernel's own deadline.
AT_LAST = 40


def test_a_shutdown_is_answered_first_and_then_the_kernel_ends_well(fresh_kernel: Kernel, fresh_client: Client) -> None:
    trace = fresh_kernel.folder / "trace"
    fresh_client.run(f"import atexit\natexit.register(lambda: open({str(trace)!r}, 'a').write('exit '))")
    reply = fresh_client.ask("shutdown_request", {"restart": False}, channel="control")
    assert reply == {"status": "ok", "restart": False}
    assert fresh_kernel.wait_end() == 0
    assert trace.read_text() == "exit "


def test_a_shutdown_is_announced_on_iopub(fresh_kernel: Kernel, fresh_client: Client) -> None:
    fresh_client.run("1")
    fresh_client.send("shutdown_request", {"restart": True}, channel="control")
    announced = fresh_client.wait(lambda m: m["msg_type"] == "shutdown_reply")
    assert announced["content"]["restart"] is True
    fresh_kernel.wait_end()


def test_a_shutdown_on_the_shell_channel_works_as_well(fresh_kernel: Kernel, fresh_client: Client) -> None:
    fresh_client.run("1")
    assert fresh_client.ask("shutdown_request", {"restart": False})["status"] == "ok"
    assert fresh_kernel.wait_end() == 0


def test_a_kernel_shuts_down_before_it_has_run_anything(fresh_kernel: Kernel) -> None:
    with Client(fresh_kernel.connection_file, fresh_kernel.process) as client:
        assert client.ask("shutdown_request", {"restart": False}, channel="control")["status"] == "ok"
    assert fresh_kernel.wait_end(AT_LAST) == 0


@pytest.mark.parametrize("code", ["while True: pass", "time.sleep(100)", "await asyncio.sleep(100)", "input()"])
def test_a_shutdown_ends_a_cell_that_runs(fresh_kernel: Kernel, fresh_client: Client, code: str) -> None:
    trace = fresh_kernel.folder / "trace"
    fresh_client.start(
        "import asyncio, atexit, time\n"
        f"atexit.register(lambda: open({str(trace)!r}, 'a').write('exit '))\n"
        f"print('started', flush=True)\n{code}"
    )
    queued = fresh_client.execute("print('never')")
    assert fresh_client.ask("shutdown_request", {"restart": False}, channel="control")["status"] == "ok"
    assert fresh_kernel.wait_end(AT_LAST) == 0
    assert trace.read_text() == "exit "
    assert not any(m["msg_type"] == "stream" for m in fresh_client.published(queued))


@pytest.mark.parametrize(
    "code",
    [
        "import threading\nthreading.Thread(target=threading.Event().wait).start()",
        "import atexit, threading\natexit.register(threading.Event().wait)",
        "import atexit, ctypes\natexit.register(ctypes.PyDLL(None).sleep, 1000)",
        "import asyncio\nasync def stubborn():\n"
        "    while True:\n        try: await asyncio.sleep(100)\n        except asyncio.CancelledError: pass\n"
        "task = asyncio.create_task(stubborn())",
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGINT, signal.SIG_IGN);",
    ],
    ids=["thread", "atexit", "atexit with the GIL", "task", "signals ignored"],
)
def test_a_shutdown_comes_to_its_end_whatever_python_does(start_kernel: Callable[..., Kernel], code: str) -> None:
    kernel = start_kernel("--shutdown-deadline=0.5")
    with kernel.connect() as client:
        assert client.run(code).status == "ok"
        assert client.ask("shutdown_request", {"restart": False}, channel="control")["status"] == "ok"
        assert kernel.wait_end(AT_LAST) == 0
    assert ("the process ends now deadline=500ms" in kernel.terminal) == ("signal" not in code)


def test_a_cell_that_never_lets_the_gil_go_does_not_stop_the_shutdown(
    fresh_kernel: Kernel, fresh_client: Client
) -> None:
    # `sleep` of the C library would return when it is interrupted; this waits for a command that cannot be.
    command = "trap '' INT TERM; echo started; while :; do sleep 1; done"
    fresh_client.start(f"import ctypes\nctypes.PyDLL(None).system({command.encode()!r})")
    assert fresh_client.ask("shutdown_request", {"restart": False}, channel="control")["status"] == "ok"
    assert fresh_kernel.wait_end(AT_LAST) == 0
    assert "the process ends now deadline=3s" in fresh_kernel.terminal


def test_exit_in_a_cell_ends_the_kernel(fresh_kernel: Kernel, fresh_client: Client) -> None:
    run = fresh_client.run("exit")
    assert run.reply["payload"] == [{"source": "ask_exit", "keepkernel": False}]
    assert fresh_kernel.wait_end(AT_LAST) == 0


def test_finally_blocks_of_tasks_run_at_the_end(fresh_kernel: Kernel, fresh_client: Client) -> None:
    trace = fresh_kernel.folder / "trace"
    fresh_client.run(
        "import asyncio\nasync def work():\n    try: await asyncio.sleep(1000)\n"
        f"    finally: open({str(trace)!r}, 'a').write('cleaned ')\n"
        "task = asyncio.create_task(work())\nawait asyncio.sleep(0)"
    )
    fresh_client.ask("shutdown_request", {"restart": False}, channel="control")
    fresh_kernel.wait_end(AT_LAST)
    assert trace.read_text() == "cleaned "


def test_a_restart_keeps_the_ports_and_the_connection_file(fresh_kernel: Kernel) -> None:
    before = Path(fresh_kernel.connection_file).read_text()
    with fresh_kernel.connect() as client:
        client.run("left = 1")
    first = fresh_kernel.process.pid
    for now in (False, True):
        fresh_kernel.manager.restart_kernel(now=now)
        with fresh_kernel.connect() as client:
            assert client.run("'left' in globals()").result == "False"
    assert fresh_kernel.process.pid != first
    assert Path(fresh_kernel.connection_file).read_text() == before


def test_asynchronous_managers_start_restart_and_stop_it(way: str, tmp_path: Path) -> None:
    async def whole_life() -> None:
        manager = AsyncKernelManager(
            kernel_name="callboard",
            kernel_spec_manager=write_kernelspec(tmp_path, way),
            connection_file=str(tmp_path / "connection.json"),
        )
        await manager.start_kernel(env=environment(tmp_path))
        try:
            client = manager.client()
            client.start_channels()
            await client.wait_for_ready(timeout=TIMEOUT)
            reply = await client.execute_interactive("1 + 1", timeout=TIMEOUT)
            assert reply["content"]["status"] == "ok"
            await manager.restart_kernel()
            await client.wait_for_ready(timeout=TIMEOUT)
            client.stop_channels()
        finally:
            await manager.shutdown_kernel()
        assert not await manager.is_alive()

    asyncio.run(whole_life())


def test_a_terminated_kernel_is_gone(fresh_kernel: Kernel, fresh_client: Client) -> None:
    fresh_client.run("1")
    fresh_kernel.process.send_signal(signal.SIGTERM)
    fresh_kernel.wait_end(AT_LAST)


@pytest.mark.parametrize("code", ["", "time.sleep(1000)", "while True: pass"], ids=["idle", "sleep", "loop"])
def test_the_death_of_the_parent_ends_the_kernel(way: str, tmp_path: Path, code: str) -> None:
    connection = write_connection(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *command(way), "-f", connection],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    watch = os.pidfd_open(pid)
    try:
        with Client(connection, parent) as client:
            client.subscribe()
            if code:
                client.start(f"import time\nprint('started', flush=True)\n{code}")
            parent.kill()
            parent.wait()
        assert select.select([watch], [], [], AT_LAST)[0], "the kernel has survived its parent"
    finally:
        parent.kill()
        parent.stdout.close()
        os.close(watch)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_without_a_connection_file_one_is_written_named_and_removed(way: str, tmp_path: Path) -> None:
    kernel = subprocess.Popen(command(way), env=environment(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert kernel.stdout is not None
        file = Path(re.search(r"(/\S+\.json)", kernel.stdout.readline()).group(1))
        assert file.parent == tmp_path / "runtime"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(json.loads(file.read_text())["key"]) > 30
        with Client(file, kernel) as client:
            client.subscribe()
            assert client.run("1 + 1").result == "2"
            client.ask("shutdown_request", {"restart": False}, channel="control")
        assert kernel.wait(AT_LAST) == 0
        assert "--existing" in kernel.stdout.read()
        assert not file.exists()
    finally:
        kernel.kill()
        kernel.wait()
        kernel.stdout.close()


def test_kernel_info_is_answered_before_ipython_is_imported(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    """An `IPython` that waits in its import until it is let go."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    slow = tmp_path / "slow"
    (slow / "IPython").mkdir(parents=True)
    (slow / "IPython" / "__init__.py").write_text(
        f"import sys\nopen({str(gate)!r}).read()\n"
        f"sys.path.remove({str(slow)!r})\ndel sys.modules['IPython']\nimport IPython\n"
    )
    kernel = start_kernel(PYTHONPATH=os.pathsep.join([str(slow), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    # Opening it for writing waits until the import reads it: IPython is being imported from now on.
    with gate.open("w"), Client(kernel.connection_file, kernel.process) as client:
        for channel in ("shell", "control"):
            content = client.ask("kernel_info_request", channel=channel)
            assert content["language_info"]["name"] == "python"
            assert content["language_info"]["version"].startswith(f"3.{sys.version_info.minor}.")
            assert content["protocol_version"].startswith("5.")
        cell = client.execute("'a cell sent early'")
        client.ask("kernel_info_request")
        assert not client.replied(cell)
    with kernel.connect() as client:
        assert client.run("'imported'").result == "'imported'"


def test_an_interrupt_while_the_kernel_starts_does_no_harm(fresh_kernel: Kernel) -> None:
    with Client(fresh_kernel.connection_file, fresh_kernel.process) as client:
        # At first they hit the first moments of Python, then imports, then the set-up of the shell.
        for _ in range(200):
            assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
        client.subscribe()
        assert client.run("'alive'", timeout=TIMEOUT).status in ("ok", "error", "aborted")
        assert client.run("'alive'").result == "'alive'"


def test_cells_sent_while_the_kernel_starts_are_run(fresh_kernel: Kernel) -> None:
    with Client(fresh_kernel.connection_file, fresh_kernel.process) as client:
        client.subscribe()
        ids = [client.execute(f"{n} + {n}") for n in range(10)]
        assert [client.finish(msg_id).result for msg_id in ids] == [str(n + n) for n in range(10)]
