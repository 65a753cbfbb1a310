"""Output of threads, tasks and callbacks goes to the cell that started them, also after its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from backends import MODES, ON_ASYNCIO, ON_TRIO
from event_loops import skip_without_guest

if TYPE_CHECKING:
    from support import Client


#: Defines `speak`, which prints which request the code belongs to. It waits for `on` or `gate`, and completes `done`.
SPEAK = """
import sys, threading, callboard
from IPython.display import display
gate, on = threading.Event(), callboard.Pending()
async def let_on(): await on.wait(protect=True)
def speak():
    print('printed')
    print('warned', file=sys.stderr)
    display('shown')
    handle.update('updated')
    ip = get_ipython()
    messages = ip.get_parent(), ip.kernel.get_parent(), ip.kernel.get_parent('shell'), callboard.utils.get_parent()
    parents = {sys.stdout.parent_header['msg_id'], ip.parent_header['msg_id']}
    for message in messages:
        parents |= {message['msg_id'], message['header']['msg_id']}
    print(parents == {mine} and 'mine' or parents)
    done.set_result(None)
def blocking():
    gate.wait()
    speak()
async def awaiting():
    await let_on()
    speak()
"""

#: A cell's own part.
BEGIN = """
import callboard.utils
done = callboard.Pending()
mine = get_ipython().get_parent()['msg_id']
handle = display('first', display_id=mine)
"""

BLOCKING = {
    "threading.Thread": "threading.Thread(target=blocking).start()",
    "a subclass of Thread": "class T(threading.Thread):\n    def run(self): blocking()\nT().start()",
    "a thread of a thread": "threading.Thread(target=lambda: threading.Thread(target=blocking).start()).start()",
    "threading.Timer": "threading.Timer(0.001, blocking).start()",
    "ThreadPoolExecutor.submit": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\npool.submit(blocking);"
    ),
    "ThreadPoolExecutor.map": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\n"
        "pool.map(lambda _: blocking(), [1]);"
    ),
    "an old worker of a pool": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\npool.submit(int).result()\n"
        "threading.Thread(target=lambda: pool.submit(blocking)).start()"
    ),
    "Caller.to_thread": "callboard.Caller().to_thread(blocking);",
    "a named Caller": "callboard.Caller().get(name='speaker').call_soon(blocking);",
    "a Caller of its own thread": "callboard.Caller('NewThread', name='own').call_soon(blocking);",
    "a Caller on trio": "callboard.Caller().get(name='on trio', backend='trio').call_soon(blocking);",
}

#: On both backends.
AWAITING = {
    "Caller.call_soon": "callboard.Caller().call_soon(awaiting);",
    "Caller.call_later": "callboard.Caller().call_later(0.001, awaiting);",
    "a call of a call": (
        "async def outer(): callboard.Caller().call_soon(awaiting)\ncallboard.Caller().call_soon(outer);"
    ),
    "queue_call": "callboard.Caller().queue_call(awaiting)",
    "call_using_backend asyncio": "callboard.Caller().call_using_backend('asyncio', awaiting);",
    "call_using_backend trio": "callboard.Caller().call_using_backend('trio', awaiting);",
    "the main Caller from a thread": (
        "threading.Thread(target=lambda: callboard.Caller('MainThread').call_soon(awaiting)).start()"
    ),
}

ASYNCIO = {
    "asyncio.create_task": "import asyncio\ntask = asyncio.create_task(awaiting())",
    "ensure_future": "import asyncio\ntask = asyncio.ensure_future(awaiting())",
    "TaskGroup": (
        "import asyncio\nasync def group():\n    async with asyncio.TaskGroup() as g: g.create_task(awaiting())\n"
        "task = asyncio.create_task(group())"
    ),
    "gather": "import asyncio\nfuture = asyncio.gather(awaiting())",
    "call_soon": (
        "import asyncio\nloop = asyncio.get_running_loop()\ndef when_on():\n"
        "    loop.call_soon(speak) if on.done() else loop.call_later(0.01, when_on)\nloop.call_soon(when_on);"
    ),
    "call_later": (
        "import asyncio\nloop = asyncio.get_running_loop()\ndef when_on():\n"
        "    speak() if on.done() else loop.call_later(0.001, when_on)\nloop.call_later(0.001, when_on);"
    ),
    "call_soon_threadsafe": (
        "import asyncio\nloop = asyncio.get_running_loop()\n"
        "threading.Thread(target=lambda: (gate.wait(), loop.call_soon_threadsafe(speak))).start()"
    ),
    "add_done_callback": (
        "import asyncio\ntask = asyncio.create_task(let_on())\ntask.add_done_callback(lambda _: speak())"
    ),
    "run_in_executor": "import asyncio\nfuture = asyncio.get_running_loop().run_in_executor(None, blocking)",
    "asyncio.to_thread": "import asyncio\ntask = asyncio.create_task(asyncio.to_thread(blocking))",
    "run_coroutine_threadsafe": (
        "import asyncio\nloop = asyncio.get_running_loop()\n"
        "threading.Thread(target=lambda: asyncio.run_coroutine_threadsafe(awaiting(), loop)).start()"
    ),
    "asyncio.run in a thread": "import asyncio\nthreading.Thread(target=lambda: asyncio.run(awaiting())).start()",
    "anyio.to_thread": "import anyio, asyncio\ntask = asyncio.create_task(anyio.to_thread.run_sync(blocking))",
    "an anyio task group": (
        "import anyio, asyncio\nasync def group():\n"
        "    async with anyio.create_task_group() as g: g.start_soon(awaiting)\n"
        "task = asyncio.create_task(group())"
    ),
    "a task of a class": (
        "import asyncio\nclass Ticker:\n"
        "    def start(self): self.task = asyncio.get_running_loop().create_task(self.run())\n"
        "    async def run(self): await awaiting()\nticker = Ticker()\nticker.start()"
    ),
}

TRIO = {
    "a system task": "import trio\ntrio.lowlevel.spawn_system_task(awaiting);",
    "a nursery of a system task": (
        "import trio\nasync def group():\n    async with trio.open_nursery() as n: n.start_soon(awaiting)\n"
        "trio.lowlevel.spawn_system_task(group);"
    ),
    "a nursery of a call": (
        "import trio\nasync def group():\n    async with trio.open_nursery() as n: n.start_soon(awaiting)\n"
        "callboard.Caller().call_soon(group);"
    ),
    "trio.to_thread": (
        "import trio\nasync def run(): await trio.to_thread.run_sync(blocking)\ncallboard.Caller().call_soon(run);"
    ),
    "trio.from_thread": (
        "import trio\ntoken = trio.lowlevel.current_trio_token()\n"
        "threading.Thread(target=lambda: trio.from_thread.run(awaiting, trio_token=token)).start()"
    ),
    "run_sync_soon of a thread": (
        "import trio, contextvars\ntoken = trio.lowlevel.current_trio_token()\ncontext = contextvars.copy_context()\n"
        "threading.Thread(target=lambda: (gate.wait(), token.run_sync_soon(context.run, speak))).start()"
    ),
    "anyio.to_thread": (
        "import anyio\nasync def run(): await anyio.to_thread.run_sync(blocking)\ncallboard.Caller().call_soon(run);"
    ),
}


def check(client: Client, msg_id: str) -> None:
    """All output of `speak` came to this cell, in order."""
    messages = [
        m for m in client.published(msg_id) if m["msg_type"] not in ("status", "execute_input", "execute_result")
    ]
    stdout = "".join(m["content"]["text"] for m in messages if m["content"].get("name") == "stdout")
    stderr = "".join(m["content"]["text"] for m in messages if m["content"].get("name") == "stderr")
    assert stdout == "printed\nmine\n"
    assert stderr == "warned\n"
    # One text may arrive in several messages.
    kinds = [m["content"].get("name") or m["msg_type"] for m in messages]
    kinds = [kind for before, kind in zip([None, *kinds], kinds, strict=False) if before != kind]
    assert kinds == ["display_data", "stdout", "stderr", "display_data", "update_display_data", "stdout"]
    _, shown, updated = (m["content"] for m in messages if m["msg_type"] != "stream")
    assert shown["data"]["text/plain"] == "'shown'"
    assert updated["data"]["text/plain"] == "'updated'"
    assert updated["transient"]["display_id"] == msg_id


def check_output(client: Client, mode: str, code: str) -> None:
    """Code that a cell has started prints in that cell when it has ended and another one runs."""
    assert client.run(SPEAK).status == "ok"
    cell = client.run(f"{mode}{BEGIN}{code}")
    assert cell.status == "ok"
    client.run("'another cell has ended'")
    other = client.start("print('started')\ngate.set(), on.set_result(None)\nawait done.wait()\nprint('the end')")
    assert client.finish(other).stdout == "started\nthe end\n"
    client.wait_text("mine\n", cell.msg_id)
    check(client, cell.msg_id)


@MODES
@pytest.mark.parametrize("code", [*BLOCKING.values(), *AWAITING.values()], ids=[*BLOCKING, *AWAITING])
def test_output_comes_to_the_cell_that_started_the_code(client: Client, backend: str, mode: str, code: str) -> None:
    if code == AWAITING["call_using_backend asyncio"]:
        skip_without_guest(backend)
    check_output(client, mode, code)


@MODES
@ON_ASYNCIO
@pytest.mark.parametrize("code", ASYNCIO.values(), ids=ASYNCIO.keys())
def test_output_comes_to_the_cell_that_started_it_on_asyncio(client: Client, mode: str, code: str) -> None:
    check_output(client, mode, code)


@MODES
@ON_TRIO
@pytest.mark.parametrize("code", TRIO.values(), ids=TRIO.keys())
def test_output_comes_to_the_cell_that_started_it_on_trio(client: Client, mode: str, code: str) -> None:
    check_output(client, mode, code)


@pytest.mark.parametrize("kind", ["asyncio.create_task", "call_later", "asyncio.to_thread"])
@ON_TRIO
def test_output_of_asyncio_beside_trio(client: Client, kind: str) -> None:
    check_output(client, "# thread backend=asyncio\n", ASYNCIO[kind])


@pytest.mark.parametrize("kind", ["a system task", "a nursery of a call", "trio.to_thread"])
@ON_ASYNCIO
def test_output_of_trio_beside_asyncio(client: Client, kind: str) -> None:
    check_output(client, "# thread backend=trio\n", TRIO[kind])
