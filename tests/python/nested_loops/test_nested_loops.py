"""Event loops inside cells: `asyncio.run()`, `trio.run()` and others do in a cell what they do in a script."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from prelude import LIBRARY, PRELUDE, assert_intact, assert_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Client, Kernel


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
    # SIGINT may be ignored in the process that runs the tests.
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
