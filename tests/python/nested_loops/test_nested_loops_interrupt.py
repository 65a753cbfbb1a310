"""Interrupts and other signals while a loop runs inside a cell."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from prelude import LIBRARY, PRELUDE, assert_intact, assert_interrupted
from support import interrupt

if TYPE_CHECKING:
    from support import Client, Kernel


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
