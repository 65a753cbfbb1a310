"""``%autoawait``: which event loop runs code that awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from event_loops import skip_without_guest
from support import interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client, Kernel


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)


@pytest.fixture
def loops(request: pytest.FixtureRequest, client: Client, backend: str) -> Iterator[Client]:
    if "asyncio" in request.node.callspec.params.values():
        skip_without_guest(backend)
    client.run("import asyncio, trio, sniffio")
    yield client
    client.run(f"%autoawait {backend}\n%autoawait on")


LIBRARY = "sniffio.current_async_library()"


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_code_that_awaits_runs_on_the_loop_that_is_named(loops: Client, name: str) -> None:
    assert loops.run(f"%autoawait {name}").status == "ok"
    run = loops.run(f"await {name}.sleep(0.001)\nprint('printed')\n{LIBRARY}")
    assert (run.status, run.stdout, run.result) == ("ok", "printed\n", repr(name))
    assert loops.run(f"await {name}.sleep(0);5;").result is None
    assert loops.run("6").result == "6"
    assert loops.run("!echo command").stdout.strip() == "command"


@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_it_fails_and_is_interrupted_as_any_cell(loops: Client, kernel: Kernel, name: str, how: str) -> None:
    loops.run(f"%autoawait {name}")
    run = loops.run("async def f(): 1/0\nawait f()")
    assert run.error["ename"] == run.reply["ename"] == "ZeroDivisionError"
    msg_id = loops.start(f"print('started', flush=True)\nawait {name}.sleep(1000)")
    interrupt(loops, kernel, how)
    run = loops.finish(msg_id, timeout=20)
    assert run.error["ename"] == run.reply["ename"] == "KeyboardInterrupt"
    assert loops.run("'alive'").result == "'alive'"


def test_a_function_of_the_user(loops: Client, backend: str) -> None:
    loops.run("def run(coroutine):\n    print('mine')\n    return asyncio.run(coroutine)\n")
    assert loops.run("%autoawait run").status == "ok"
    run = loops.run(f"await asyncio.sleep(0)\n{LIBRARY}")
    assert (run.stdout, run.result) == ("mine\n", "'asyncio'")
    run = loops.run("async def f(): 1/0\nawait f()")
    assert run.error["ename"] == run.reply["ename"] == "ZeroDivisionError"
    run = loops.run("5")
    assert (run.stdout, run.result) == ("", "5")


def test_a_library_that_is_missing_is_refused_in_one_sentence(loops: Client, backend: str) -> None:
    run = loops.run("%autoawait curio")
    assert (run.status, run.reply["ename"]) == ("error", "UsageError")
    assert "curio" in run.stderr
    assert run.stderr.strip().count("\n") == 0
    assert loops.run(f"await {backend}.sleep(0)\n{LIBRARY}").result == repr(backend)


def test_off_and_on(loops: Client, backend: str) -> None:
    loops.run("%autoawait off")
    assert loops.run("await f()").reply["ename"] == "SyntaxError"
    loops.run("%autoawait on")
    assert loops.run(f"await {backend}.sleep(0)\n{LIBRARY}").result == repr(backend)
    assert f"_{backend}" in loops.run("%autoawait").stdout.lower() or backend in loops.run("%autoawait").stdout.lower()
