"""``nest_asyncio.apply()`` does no harm: loops can be nested before and after it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from loops import ON_EACH_LOOP
from support import interrupt

if TYPE_CHECKING:
    from support import Client, Kernel

pytestmark = ON_EACH_LOOP

PRELUDE = """
import asyncio, sys, threading, time

async def co(value):
    await asyncio.sleep(0.001)
    return value

async def busy():
    print("started", flush=True)
    while True:
        time.sleep(0.001)

async def wait():
    print("started", flush=True)
    await asyncio.sleep(100)
"""


@pytest.fixture(params=["nest_asyncio", "nest_asyncio2"])
def client(fresh_client: Client, request: pytest.FixtureRequest) -> Client:
    if request.param == "nest_asyncio" and sys.version_info >= (3, 14):
        pytest.skip("it is not maintained, and does not know the tasks of Python 3.14: asyncio.current_task() is None")
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    assert fresh_client.run(f"{PRELUDE}\nimport {request.param} as nest_asyncio").status == "ok"
    return fresh_client


def result(client: Client, code: str) -> str | None:
    run = client.run(code)
    assert run.status == "ok", run.traceback
    return run.result


def test_loops_can_be_nested_as_before(client: Client, loop: str) -> None:
    assert result(client, "asyncio.run(co(1))") == "1"
    for _ in range(2):
        assert result(client, "nest_asyncio.apply()") is None
        assert result(client, "asyncio.run(co(2))") == "2"
        assert result(client, "asyncio.run(main=co(3), debug=False)") == "3"
        assert result(client, "new = asyncio.new_event_loop()\nvalue = new.run_until_complete(co(4))\nvalue") == "4"
        assert result(client, "new.close()") is None
        code = "threading.Thread(target=lambda: print(asyncio.run(co(5)))).start()"
        msg_id = client.execute(code)
        client.wait_text("5\n", msg_id)
        assert result(client, "# thread\nasyncio.run(co(6))") == "6"
        assert result(client, "# thread backend=trio\nimport trio\nawait trio.sleep(0)\nasyncio.run(co(7))") == "7"
        assert result(client, "async def outer():\n    return asyncio.run(co(8))\nasyncio.run(outer())") == "8"
        if loop != "trio":
            assert result(client, "await outer()") == "8"
            assert result(client, "await co(9)") == "9"
    assert result(client, "import anyio\nanyio.run(co, 10)") == "10"
    assert result(client, "trio.run(trio.sleep, 0)") is None


def test_the_loop_that_runs_can_be_entered(client: Client, loop: str) -> None:
    if loop == "trio":
        pytest.skip("asyncio has no loop that runs")
    client.run("nest_asyncio.apply()\nloop = asyncio.get_event_loop()")
    assert result(client, "loop.run_until_complete(co(1))") == "1"
    assert result(client, "asyncio.get_event_loop().run_until_complete(co(2))") == "2"
    inner = "asyncio.get_event_loop().run_until_complete(co(3))"
    assert result(client, f"async def inner():\n    return {inner}\nasyncio.run(inner())") == "3"
    assert result(client, "await inner()") == "3"
    run = client.run("loop.run_until_complete(asyncio.gather(co(4), co(5)))")
    if loop == "asyncio":
        assert run.result == "[4, 5]"
    else:
        # Its futures belong to the loop that runs, which cannot go on.
        assert "await the future instead" in run.error["evalue"]
    assert result(client, "await asyncio.gather(co(6), co(7))") == "[6, 7]"


def test_it_is_applied_in_a_thread(client: Client, loop: str) -> None:
    assert (
        result(client, "# thread name=a backend=asyncio use_uvloop=false\nnest_asyncio.apply()\nasyncio.run(co(1))")
        == "1"
    )
    again = "# thread name=a backend=asyncio\nasyncio.get_event_loop().run_until_complete(co(2))"
    assert result(client, again) == "2"
    assert result(client, "asyncio.run(co(3))") == "3"
    assert result(client, "# thread name=b\nasyncio.run(co(4))") == "4"
    if loop != "trio":
        assert result(client, "await co(5)") == "5"


@pytest.mark.parametrize("code", ["asyncio.run(busy())", "asyncio.run(wait())"])
def test_nested_loops_are_interrupted(client: Client, fresh_kernel: Kernel, how: str, code: str) -> None:
    client.run("nest_asyncio.apply()")
    msg_id = client.start(code)
    interrupt(client, fresh_kernel, how)
    assert client.finish(msg_id, timeout=20).error["ename"] == "KeyboardInterrupt"
    assert result(client, "asyncio.run(co(1))") == "1"


@pytest.mark.parametrize("code", ["loop.run_until_complete(busy())", "loop.run_until_complete(wait())"])
def test_a_loop_that_is_entered_is_interrupted(
    client: Client, fresh_kernel: Kernel, loop: str, how: str, code: str
) -> None:
    if loop == "trio":
        pytest.skip("asyncio has no loop that runs")
    client.run("nest_asyncio.apply()\nloop = asyncio.get_event_loop()")
    msg_id = client.start(code)
    interrupt(client, fresh_kernel, how)
    assert client.finish(msg_id, timeout=20).error["ename"] == "KeyboardInterrupt"
    assert result(client, "loop.run_until_complete(co(1))") == "1"
    assert result(client, "await co(2)") == "2"
