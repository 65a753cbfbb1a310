"""A kernel that ends leaves nothing behind, and ends within its deadline."""

from __future__ import annotations

import socket
import sqlite3
from typing import TYPE_CHECKING

import psutil
import pytest
from jupyter_client import KernelManager
from support import Client, environment, write_kernelspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Kernel

#: Seconds: far more than the kernel's own deadline.
AT_LAST = 40

#: A short deadline for the kernel, seconds.
SOON = "--shutdown-deadline=0.3"


def shut_down(kernel: Kernel, client: Client) -> None:
    """Ends a kernel as a client does."""
    assert client.ask("shutdown_request", {"restart": False}, channel="control")["status"] == "ok"
    assert kernel.wait_end(AT_LAST) == 0


def processes_of(folder: Path) -> list[str]:
    """The processes that a kernel of this folder, or a child of it, has left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("IPYTHONDIR") == str(folder / "ipython") and process.status() != "zombie":
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            pass
    return found


def test_the_history_is_written(fresh_kernel: Kernel, fresh_client: Client) -> None:
    fresh_client.run("last_words = 1")
    shut_down(fresh_kernel, fresh_client)
    with sqlite3.connect(fresh_kernel.folder / "ipython/profile_default/history.sqlite") as database:
        assert database.execute("select source from history").fetchall() == [("last_words = 1",)]
    database.close()


def test_frontends_are_told_that_comms_are_closed(fresh_kernel: Kernel, fresh_client: Client) -> None:
    fresh_client.run(
        "import comm\ncomms = [comm.create_comm(target_name='t', comm_id=f'comm{n}') for n in range(3)]\n"
        "def broken(*_args, **_kwargs): raise RuntimeError\ncomms[0].close = broken"
    )
    shut_down(fresh_kernel, fresh_client)
    fresh_client.wait(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == "comm2")
    closed = [m["content"]["comm_id"] for m in fresh_client.log if m["msg_type"] == "comm_close"]
    assert closed == ["comm1", "comm2"]


@pytest.mark.skipif("sys.platform != 'linux'", reason="memory is limited as Linux does it")
def test_the_deadline_holds_even_if_the_system_has_no_thread_for_it(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel(SOON)
    with kernel.connect() as client:
        run = client.run(
            "import atexit, resource, threading\n"
            "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
            "resource.setrlimit(resource.RLIMIT_AS, (used + 1_000_000, -1))\n"
            "atexit.register(threading.Event().wait);"
        )
        assert run.status == "ok"
        shut_down(kernel, client)


def test_a_cell_that_holds_the_gil_ends_with_its_children(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel(SOON)
    with kernel.connect() as client:
        # The call waits for a command that nothing interrupts.
        command = "trap '' INT TERM; echo started; while :; do sleep 1; done"
        client.start(f"import ctypes\nctypes.PyDLL(None).system({command.encode()!r})")
        shut_down(kernel, client)
    assert processes_of(kernel.folder) == []


CHILDREN = {
    "plain": "subprocess.Popen(['sleep', '1000'])",
    "in the background of a shell, which ignores SIGINT": "os.system('sleep 1000 &')",
    "that ignores signals": "subprocess.Popen('trap \"\" INT TERM HUP; echo ready; while :; do sleep 1; done', shell=True)",
    "that keeps stdout open and writes": "subprocess.Popen('while echo more; do sleep 0.01; done', shell=True)",
    "orphan": "os.system('(sleep 1000 & sleep 1000 &)')",
    "forked": "os.fork() or time.sleep(1000)",
    "magic": "get_ipython().run_cell_magic('bash', '--bg', 'sleep 1000')",
}


@pytest.mark.parametrize("code", CHILDREN.values(), ids=CHILDREN.keys())
def test_children_of_cells_end_with_the_kernel(fresh_kernel: Kernel, fresh_client: Client, code: str) -> None:
    assert fresh_client.run(f"import os, subprocess, time\nleft = {code}").status == "ok"
    shut_down(fresh_kernel, fresh_client)
    assert processes_of(fresh_kernel.folder) == []


def test_a_child_in_a_session_of_its_own_goes_on(fresh_kernel: Kernel, fresh_client: Client) -> None:
    run = fresh_client.run(
        "import subprocess\nchild = subprocess.Popen(['sleep', '1000'], start_new_session=True)\nchild.pid"
    )
    daemon = psutil.Process(int(run.result or 0))
    try:
        shut_down(fresh_kernel, fresh_client)
        assert daemon.is_running()
        assert daemon.status() != "zombie"
    finally:
        daemon.kill()


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_restarts_in_a_row_leave_nothing_behind(way: str, tmp_path: Path, transport: str) -> None:
    count = 50 if (way, transport) == ("binary", "tcp") else 5
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "temporary").mkdir()
    manager = KernelManager(
        kernel_name="callboard",
        kernel_spec_manager=write_kernelspec(tmp_path, way),
        connection_file=str(folder / "connection.json"),
        transport=transport,
        **({"ip": str(folder / "socket")} if transport == "ipc" else {}),
    )
    manager.start_kernel(env=environment(tmp_path, TMPDIR=str(folder / "temporary")), cwd=str(folder))
    try:
        info = manager.get_connection_info()
        for number in range(count):
            with Client(manager.connection_file, manager.provisioner.process) as client:
                run = client.run(
                    "import os, tempfile; os.system('sleep 1000 &'); f\"{'left' in globals()} {tempfile.gettempdir()}\""
                )
                assert run.result == f"'False {folder / 'temporary'}'"
                client.execute(f"left = {number}")
            manager.restart_kernel(now=False)
        assert len(processes_of(tmp_path)) == 1
        manager.shutdown_kernel()
    finally:
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
    assert processes_of(tmp_path) == []
    assert [str(path) for path in folder.rglob("*")] == [str(folder / "temporary")]
    for name, port in info.items():
        if transport == "tcp" and name.endswith("_port"):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", port)), f"the {name} is still bound"
