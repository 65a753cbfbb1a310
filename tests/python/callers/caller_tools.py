"""Helpers for tests of Callers: event loops of a program, endless calls, and waits for the end of a Caller."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from event_loops import sleep

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable

    from callboard import Caller, Pending


BACKENDS = ("asyncio", "trio")
LOOPS = ("asyncio", "uvloop", "trio")

#: How long anything may take, seconds. Generous, because it measures nothing.
PATIENCE = 10.0


def run(loop: str, func: Callable[..., Any], *args: Any) -> Any:
    """Runs a coroutine function in an event loop of this thread, as a program does."""
    if loop == "trio":
        import trio

        return trio.run(func, *args)
    if loop == "uvloop":
        import uvloop

        return uvloop.run(func(*args))
    return asyncio.run(func(*args))


def library() -> str | None:
    """The library whose loop runs the calling code."""
    sniffio = sys.modules.get("sniffio")
    name = None if sniffio is None else sniffio.thread_local.name
    return name or (None if asyncio._get_running_loop() is None else "asyncio")


def spin() -> None:
    """Computes until it is interrupted."""
    while True:
        pass


def ended(pen: Pending | None) -> Pending:
    """Waits for the end: a result, an error or a cancellation."""
    assert pen is not None
    pen.wait_sync(timeout=PATIENCE, result=False, protect=True)
    return pen


def stop(*callers: Caller) -> None:
    """Stops Callers, and waits until they have."""
    pens = [caller.stop(force=True) for caller in callers]
    for pen in pens:
        ended(pen)


def collected(*refs: weakref.ref) -> bool:
    """Whether these objects are collected as garbage within `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while any(ref() is not None for ref in refs):
        if time.monotonic() > deadline:
            return False
        gc.collect()
        time.sleep(0.001)
    return True


def run_program(code: str, *args: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Runs a Python program."""
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


async def number(n: int, seconds: float = 0) -> int:
    await sleep(seconds)
    return n


async def run_until_stopped(started: Callable[[], None], stop: Pending) -> str:
    started()
    await stop
    await sleep(0.001)
    return "stopped"
