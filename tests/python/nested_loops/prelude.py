"""Forms of an event loop inside a cell, and checks of the kernel's loop afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import interrupt

if TYPE_CHECKING:
    from support import Client, Kernel


PRELUDE = """
import anyio, asyncio, gc, sniffio, sys, threading, time, trio, uvloop, warnings

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
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


def assert_intact(client: Client) -> None:
    """Plain and awaiting cells run on the kernel's loop, without a warning on stderr."""
    run = client.run("check(), await asyncio.sleep(0, 'alive'), check()")
    assert run.result == "(True, 'alive', True)"
    assert run.stderr == ""


def assert_interrupted(client: Client, kernel: Kernel, how: str, code: str) -> None:
    """One interrupt ends this cell without output on stderr, and the next cells run."""
    msg_id = client.start(code)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.reply["ename"] == "KeyboardInterrupt"
    assert run.error["ename"] == "KeyboardInterrupt"
    assert run.stderr == ""
    assert_intact(client)
