"""Loops inside cells: `asyncio.run()` and its like do in a cell what they do in a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import interrupt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Client, Kernel

for name in ("anyio", "trio", "uvloop"):
    pytest.importorskip(name)

PRELUDE = """
import anyio, asyncio, gc, sniffio, sys, threading, time, trio, uvloop

async def main(then=None):
    library = sniffio.current_async_library()
    print("in", library)
    await (trio if library == "trio" else asyncio).sleep(0.001)
    inner = then() if then else None
    await (trio if library == "trio" else asyncio).sleep(0.001)
    assert sniffio.current_async_library() == library
    return [library, *(inner or [])]

async def fail(*_):
    raise ValueError("on purpose")

async def wait(*_):
    print("started", flush=True)
    await anyio.sleep(100)

async def compute(*_):
    print("started", flush=True)
    while True: pass

async def block(*_):
    print("started", flush=True)
    time.sleep(100)

def in_loop(new_event_loop, coroutine):
    loop = new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()

def in_runner(coroutine):
    with asyncio.Runner() as runner:
        return runner.run(coroutine)

def forever(coroutine):
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    stop = lambda _: loop.stop()
    task.add_done_callback(stop)
    try:
        loop.run_forever()
    finally:
        if not task.done():
            task.remove_done_callback(stop)
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
        loop.close()
        task.cancelled() or task.exception()
    return task.result()

RUN = {
    "asyncio.run": lambda f, *args: asyncio.run(f(*args)),
    "Runner": lambda f, *args: in_runner(f(*args)),
    "run_until_complete": lambda f, *args: in_loop(asyncio.new_event_loop, f(*args)),
    "run_forever": lambda f, *args: forever(f(*args)),
    "uvloop.run": lambda f, *args: uvloop.run(f(*args)),
    "uvloop loop": lambda f, *args: in_loop(uvloop.new_event_loop, f(*args)),
    "trio.run": lambda f, *args: trio.run(f, *args),
    "anyio.run": lambda f, *args: anyio.run(f, *args),
    "anyio.run trio": lambda f, *args: anyio.run(f, *args, backend="trio"),
}

outer = asyncio.get_running_loop()

def check():
    "Nothing is left of a loop that ran inside this one."
    assert asyncio.get_running_loop() is outer
    assert asyncio.get_event_loop_policy().get_event_loop() is outer
    assert asyncio.current_task().get_name() == "cell"
    assert sniffio.current_async_library() == "asyncio"
    gc.collect()
    return True
"""

LIBRARY = {
    "asyncio.run": "asyncio",
    "Runner": "asyncio",
    "run_until_complete": "asyncio",
    "run_forever": "asyncio",
    "uvloop.run": "asyncio",
    "uvloop loop": "asyncio",
    "trio.run": "trio",
    "anyio.run": "asyncio",
    "anyio.run trio": "trio",
}


@pytest.fixture
def client(client: Client) -> Client:
    """A frontend of a kernel that knows the prelude."""
    run = client.run(PRELUDE)
    assert run.status == "ok", run.error
    return client


def assert_intact(client: Client) -> None:
    """Plain and awaiting cells run on the kernel's loop, and there was nothing to complain of."""
    run = client.run("check(), await asyncio.sleep(0, 'alive'), check()")
    assert run.result == "(True, 'alive', True)"
    assert run.stderr == ""


@pytest.mark.parametrize("name", LIBRARY)
def test_a_loop_runs_inside_a_cell(client: Client, name: str) -> None:
    code = f"task = asyncio.current_task()\nresult = RUN[{name!r}](main)\n"
    run = client.run(code + "check(), asyncio.current_task() is task, await asyncio.sleep(0, result), check()")
    assert run.result == f"(True, True, ['{LIBRARY[name]}'], True)"
    assert run.stdout == f"in {LIBRARY[name]}\n"
    assert run.stderr == ""
    assert_intact(client)


@pytest.mark.parametrize("name", LIBRARY)
def test_loops_run_inside_loops_inside_a_cell(client: Client, name: str) -> None:
    for inner in LIBRARY:
        run = client.run(f"RUN[{name!r}](main, lambda: RUN[{inner!r}](main, lambda: RUN[{name!r}](main)))")
        assert run.result == str([LIBRARY[name], LIBRARY[inner], LIBRARY[name]])
        assert run.stderr == ""
    assert_intact(client)


@pytest.mark.parametrize("name", LIBRARY)
def test_what_the_main_function_raises_is_the_cells_error(client: Client, name: str) -> None:
    for code in (f"RUN[{name!r}](fail)", f"RUN[{name!r}](main, lambda: RUN[{name!r}](fail))"):
        run = client.run(code)
        assert run.error["ename"] == "ValueError"
        assert run.stderr == ""
        assert_intact(client)
    run = client.run(
        f"try:\n    RUN[{name!r}](fail)\nexcept ValueError:\n    print(check())\nawait asyncio.sleep(0, 5)"
    )
    assert (run.stdout, run.result) == ("True\n", "5")


def test_inside_there_is_no_loop_before_the_loop(client: Client) -> None:
    code = """
    seen = []
    def look():
        for question in (asyncio.get_running_loop, sniffio.current_async_library, trio.lowlevel.current_task):
            try:
                seen.append(question())
            except RuntimeError as error:
                seen.append(type(error).__name__)
        return asyncio.SelectorEventLoop()
    asyncio.Runner(loop_factory=look).run(main())
    seen
    """
    assert client.run(code).result == "['RuntimeError', 'AsyncLibraryNotFoundError', 'RuntimeError']"
    assert_intact(client)


def test_a_loop_that_runs_does_not_run_again(client: Client) -> None:
    for call in ("run_until_complete(coroutine)", "run_forever()"):
        for code in (
            f"outer.{call}",
            f"async def again(): outer.{call}\nasyncio.run(again())",
            f"async def again(): asyncio.get_running_loop().{call}\nasyncio.run(again())",
        ):
            run = client.run(f"coroutine = asyncio.sleep(0)\n{code}")
            assert run.error["ename"] == "RuntimeError"
            assert "already running" in run.error["evalue"]
            client.run("coroutine.close()")
    assert_intact(client)


def test_a_runner_is_used_by_several_cells(client: Client) -> None:
    client.run("runner = asyncio.Runner()\nlater = runner.get_loop().create_task(main())")
    assert_intact(client)
    assert client.run("runner.run(main())").result == "['asyncio']"
    assert_intact(client)
    assert client.run("await asyncio.sleep(0)\nasync def result(): return await later\nrunner.run(result())").result
    assert client.run("runner.close()\ncheck()").result == "True"
    assert_intact(client)


@pytest.mark.parametrize("name", LIBRARY)
def test_loops_run_in_threads(client: Client, name: str) -> None:
    code = (
        f"results = []\ndef work(): results.append(RUN[{name!r}](main, lambda: RUN[{name!r}](main)))\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\n"
        "results.append(await asyncio.to_thread(work))\nresults.append(check())\nresults"
    )
    library = LIBRARY[name]
    run = client.run(code)
    assert run.result == str([[library, library], [library, library], None, True])
    assert run.stdout == f"in {library}\n" * 4
    assert_intact(client)


@pytest.mark.parametrize("name", LIBRARY)
def test_loops_run_inside_functions_of_a_coroutine_cell(client: Client, name: str) -> None:
    code = (
        f"async def f():\n    await asyncio.sleep(0)\n    result = RUN[{name!r}](main)\n"
        "    await asyncio.sleep(0)\n    return result\n"
        "await f(), await asyncio.create_task(f()), await asyncio.gather(f(), f())"
    )
    library = LIBRARY[name]
    assert client.run(code).result == str(([library], [library], [[library], [library]]))
    assert_intact(client)


def test_loops_run_inside_callbacks(client: Client) -> None:
    code = (
        "done = asyncio.Event()\n"
        "def callback():\n    for run in RUN.values(): run(main)\n    done.set()\n"
        "outer.call_soon(callback)\nawait done.wait()"
    )
    run = client.run(code)
    assert run.status == "ok"
    assert run.stdout == "".join(f"in {library}\n" for library in LIBRARY.values())
    assert_intact(client)


def test_output_of_the_tasks_and_threads_of_a_nested_loop_is_the_cells(client: Client) -> None:
    code = """
    async def many():
        async with asyncio.TaskGroup() as group:
            group.create_task(main())
            group.create_task(asyncio.to_thread(print, "in a thread"))
        asyncio.get_running_loop().call_soon(print, "in a callback")
        await asyncio.sleep(0)
        process = await asyncio.create_subprocess_exec("echo", "in a process")
        await process.wait()
    async def trios():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(main)
            nursery.start_soon(trio.to_thread.run_sync, print, "in a thread")
    asyncio.run(many())
    uvloop.run(many())
    trio.run(trios)
    """
    run = client.run(code)
    assert run.status == "ok"
    lines = sorted(run.stdout.splitlines())
    several = ["in a callback", "in a process", "in a thread", "in asyncio"] * 2
    assert lines == sorted([*several, "in a thread", "in trio"])


SCRIPT = """
import asyncio, signal, sys

async def main():
    try:
        await asyncio.sleep(0)
        print(asyncio.current_task().get_name() != "cell", len(asyncio.all_tasks()))
        return "done"
    finally:
        await asyncio.sleep(0)

if __name__ == "__main__":
    print(asyncio.run(main()))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    with asyncio.Runner() as runner:
        print(runner.run(main()))
    loop = asyncio.new_event_loop()
    print(loop.run_until_complete(main()), loop.is_running())
    loop.close()

    async def interrupted():
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(100)
        except BaseException as error:
            print(type(error).__name__)
            raise

    for run in asyncio.run, asyncio.new_event_loop().run_until_complete:
        try:
            run(interrupted())
        except BaseException as error:
            print(type(error).__name__)

    async def stubborn():
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return "went on"

    print(asyncio.run(stubborn()))
"""


def test_a_script_runs_in_a_cell_as_it_does_alone(client: Client, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    # Whoever runs the tests may ignore SIGINT.
    start = "import runpy, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    start += "runpy.run_path(sys.argv[1], run_name='__main__')"
    alone = subprocess.run([sys.executable, "-c", start, str(script)], capture_output=True, text=True, check=True)
    assert alone.stderr == ""
    run = client.run(f"%run {script}")
    assert run.stdout == alone.stdout
    assert run.stderr == ""
    assert_intact(client)
    assert client.run(SCRIPT).stdout == alone.stdout
    assert_intact(client)


# -- interrupts -------------------------------------------------------------------------------------------------


def assert_interrupted(client: Client, kernel: Kernel, how: str, code: str) -> None:
    """One interrupt ends this cell, without any complaint, and the next ones run."""
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.reply["ename"] == "KeyboardInterrupt"
    assert run.error["ename"] == "KeyboardInterrupt"
    assert run.stderr == ""
    assert_intact(client)


def assert_interrupted_early(client: Client, kernel: Kernel, how: str, code: str) -> None:
    """Like `assert_interrupted`, for a cell that may not have called its loop yet: of a coroutine that never gets to
    run Python says so."""
    msg_id = client.start(f"print('started', flush=True)\n{code}")
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert client.run("check(), await asyncio.sleep(0, 'alive')").result == "(True, 'alive')"


@pytest.mark.parametrize("main", ["wait", "compute", "block"])
@pytest.mark.parametrize("name", LIBRARY)
def test_a_nested_loop_is_interrupted(kernel: Kernel, client: Client, how: str, name: str, main: str) -> None:
    assert_interrupted(client, kernel, how, f"RUN[{name!r}]({main})")


@pytest.mark.parametrize("name", ["asyncio.run", "uvloop.run", "trio.run"])
def test_a_loop_in_a_nested_loop_is_interrupted(kernel: Kernel, client: Client, how: str, name: str) -> None:
    for inner in ("asyncio.run", "run_until_complete", "uvloop.run", "trio.run", "anyio.run trio"):
        assert_interrupted(client, kernel, how, f"RUN[{name!r}](main, lambda: RUN[{inner!r}](wait))")


@pytest.mark.parametrize("call", ["asyncio.run(asyncio.sleep(100))", "trio.run(trio.sleep, 100)"])
def test_a_loop_that_only_sleeps_is_interrupted(kernel: Kernel, client: Client, how: str, call: str) -> None:
    assert_interrupted_early(client, kernel, how, call)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_code_of_an_interrupted_loop_cleans_up(kernel: Kernel, client: Client, how: str, name: str) -> None:
    code = (
        "async def tidy():\n    try:\n        await wait()\n    finally:\n        print('cleaned up')\n"
        f"try:\n    RUN[{name!r}](tidy)\nexcept KeyboardInterrupt:\n    print('caught', check())\n"
        "await asyncio.sleep(0, 'went on')"
    )
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.result == "'went on'"
    # A loop that is not a Runner's stops at once; what its tasks do then is up to the caller.
    assert run.stdout in ("started\ncleaned up\ncaught True\n", "started\ncaught True\n")
    assert run.stdout.count("cleaned") or name in ("run_until_complete", "uvloop loop")
    assert_intact(client)


def test_a_nested_loop_may_end_well_after_an_interrupt(kernel: Kernel, client: Client, how: str) -> None:
    code = (
        "async def server():\n    try:\n        await wait()\n"
        "    except asyncio.CancelledError:\n        await asyncio.sleep(0.01)\n        return 'shut down'\n"
        "asyncio.run(server())"
    )
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).result == "'shut down'"
    assert_intact(client)


def test_a_nested_loop_that_refuses_is_stopped_by_the_second_interrupt(
    kernel: Kernel, client: Client, how: str
) -> None:
    code = (
        "async def refuse():\n    try:\n        await wait()\n"
        "    except asyncio.CancelledError:\n        print('stubborn', flush=True)\n        await asyncio.sleep(100)\n"
        "asyncio.run(refuse())"
    )
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    client.wait_text("stubborn", msg_id)
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert_intact(client)


def test_a_nested_loop_of_a_task_in_the_background_is_interrupted(kernel: Kernel, client: Client, how: str) -> None:
    code = (
        "def callback():\n    print('started', flush=True)\n    asyncio.run(asyncio.sleep(100))\n"
        "outer.call_soon(callback)\nawait asyncio.sleep(0)\nawait asyncio.sleep(100)"
    )
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert_intact(client)


def test_interrupts_at_any_moment_leave_the_kernels_loop_as_it_is(
    fresh_kernel: Kernel, fresh_client: Client, how: str
) -> None:
    kernel, client = fresh_kernel, fresh_client
    assert client.run(PRELUDE + "async def short(): pass").status == "ok"
    for name in ("asyncio.run", "run_until_complete", "trio.run", "anyio.run") * 3:
        msg_id = client.start(f"print('started', flush=True)\nwhile True: RUN[{name!r}](short)")
        interrupt(client, kernel, how)
        assert client.finish(msg_id, timeout=20).status == "error"
        # An interrupt that hits a loop which is being made leaves it half made, as in a script: no word on stderr.
        assert client.run("check(), await asyncio.sleep(0, 'alive')").result == "(True, 'alive')"


def test_cells_are_interrupted_after_a_nested_loop_has_handled_sigint(kernel: Kernel, client: Client, how: str) -> None:
    for new_event_loop in ("asyncio.new_event_loop", "uvloop.new_event_loop"):
        code = f"""
        import signal
        async def server():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
            print("started", flush=True)
            await stop.wait()
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            return "stopped"
        in_loop({new_event_loop}, server())
        """
        msg_id = client.start(code)
        interrupt(client, kernel, how)
        assert client.finish(msg_id, timeout=20).result == "'stopped'"
        assert_interrupted(client, kernel, how, "print('started', flush=True)\ntime.sleep(100)")
        assert_interrupted(client, kernel, how, "print('started', flush=True)\nawait asyncio.sleep(100)")
        assert_interrupted(client, kernel, how, "RUN['asyncio.run'](wait)")


@pytest.mark.parametrize("name", LIBRARY)
def test_other_signals_still_reach_the_kernels_loop(kernel: Kernel, client: Client, name: str) -> None:
    client.run("import signal\nhit = asyncio.Event()\nouter.add_signal_handler(signal.SIGUSR1, hit.set)")
    code = f"RUN[{name!r}](main, lambda: RUN[{name!r}](main))\nprint('started', flush=True)\nawait hit.wait()"
    msg_id = client.start(code)
    os.kill(kernel.process.pid, signal.SIGUSR1)
    assert client.finish(msg_id).result == "True"
    assert client.run("outer.remove_signal_handler(signal.SIGUSR1)").result == "True"
    assert_intact(client)


def test_a_signal_that_comes_while_a_nested_loop_runs_is_kept(client: Client) -> None:
    code = (
        "import signal\nhit = asyncio.Event()\nouter.add_signal_handler(signal.SIGUSR1, hit.set)\n"
        "async def send():\n    signal.raise_signal(signal.SIGUSR1)\n    await asyncio.sleep(0)\n"
        "asyncio.run(send())\nprint(hit.is_set())\nawait hit.wait()"
    )
    run = client.run(code)
    assert (run.stdout, run.result) == ("False\n", "True")
    assert client.run("outer.remove_signal_handler(signal.SIGUSR1)").result == "True"


# -- without uvloop, and with libraries imported early -------------------------------------------------------------


def test_loops_run_inside_cells_of_a_kernel_without_uvloop(
    start_kernel: Callable[..., Kernel], tmp_path: Path, how: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['uvloop'] = None")
    kernel = start_kernel(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with kernel.connect() as client:
        assert client.run("import uvloop").error["ename"] == "ModuleNotFoundError"
        assert client.run(PRELUDE.replace(", uvloop", "")).status == "ok"
        for name in ("asyncio.run", "Runner", "run_until_complete", "run_forever", "trio.run", "anyio.run"):
            run = client.run(f"RUN[{name!r}](main, lambda: RUN['asyncio.run'](main, lambda: RUN['trio.run'](main)))")
            assert run.result == str([LIBRARY[name], "asyncio", "trio"])
            assert_interrupted(client, kernel, how, f"RUN[{name!r}](wait)")
            assert_interrupted(client, kernel, how, f"RUN[{name!r}](compute)")


def test_functions_taken_from_their_modules_before_and_after_are_the_same(start_kernel: Callable[..., Kernel]) -> None:
    lines = (
        "import uvloop",
        "from asyncio import run",
        "from trio import run as trun",
        "from anyio import run as arun",
    )
    kernel = start_kernel(*(f"--IPKernelApp.exec_lines={line}" for line in lines))
    with kernel.connect() as client:
        assert client.run(PRELUDE).status == "ok"
        assert client.run("run(main()), trun(main), arun(main), uvloop.run(main())").result == (
            "(['asyncio'], ['trio'], ['asyncio'], ['asyncio'])"
        )
        assert client.run("from asyncio import run\nfrom trio import run as trun\nrun(main()), trun(main)").result == (
            "(['asyncio'], ['trio'])"
        )
        assert_intact(client)
