"""A request whose start fails is answered, and its queue goes on: the kernel makes its tasks itself, and answers what it
cannot start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from loops import ON_ASYNCIO_LOOPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client

pytestmark = ON_ASYNCIO_LOOPS


@pytest.fixture
def client(client: Client) -> Iterator[Client]:
    assert client.run("import asyncio, contextvars\nloop = asyncio.get_running_loop()").status == "ok"
    yield client
    client.run("loop.set_task_factory(None); vars(loop).pop('create_task', None);")


@pytest.mark.parametrize(
    "break_it",
    [
        "loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))",
        "loop.set_task_factory(lambda loop, coro, **options: None)",
        "loop.set_task_factory(lambda loop, coro, **options: 'no task')",
        "loop.set_task_factory(lambda loop, coro, **options: asyncio.sleep(100))",
        "loop.set_task_factory(lambda loop, coro, **options: 1 / 0)",
        "def leave(*_, **options): raise SystemExit\nloop.set_task_factory(leave)",
        "def stop(*_, **options): raise KeyboardInterrupt\nloop.set_task_factory(stop)",
        "def make_twice(loop, coro, **options):\n"
        "    asyncio.Task(coro, loop=loop, **options)\n"
        "    raise ValueError\n"
        "loop.set_task_factory(make_twice)",
        "loop.create_task = None",
        "def fail(*_, **options): raise ValueError\nloop.create_task = fail",
    ],
)
def test_tasks_that_the_users_code_cannot_make(client: Client, break_it: str) -> None:
    assert client.run(break_it).status == "ok"
    cells = [client.execute(f"await asyncio.sleep(0)\n{n}") for n in range(3)]
    assert [client.finish(msg_id).result for msg_id in cells] == ["0", "1", "2"]
    assert client.run("# task\nawait asyncio.sleep(0)\n'beside'").result == "'beside'"
    assert client.run("# thread\n'in a thread'").result == "'in a thread'"
    reply = client.ask("complete_request", {"code": "contextva", "cursor_pos": 9})
    assert "contextvars" in reply["matches"]


def test_the_factory_of_the_user_makes_the_tasks_of_the_user(client: Client) -> None:
    run = client.run(
        "made = []\n"
        "def factory(loop, coro, **options):\n"
        "    made.append(coro.__name__)\n"
        "    return asyncio.Task(coro, loop=loop, **options)\n"
        "async def mine(): pass\n"
        "loop.set_task_factory(factory)\n"
        "await loop.create_task(mine())\n"
        "made"
    )
    assert run.result == "['mine']"


@pytest.mark.parametrize("error", ["ValueError", "SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("mode", ["", "# task\n"], ids=["queue", "task"])
def test_a_cell_that_cannot_be_started(client: Client, error: str, mode: str) -> None:
    """The loop takes no callbacks for a moment: no task can be made on it."""
    client.run(
        "from callboard.aio.loops import asyncio_loop\n"
        "task, left = asyncio_loop.Task, 1\n"
        "def fail(*args, **options):\n"
        "    global left\n"
        "    if left and options.get('name') == 'cell':\n"
        "        left -= 1\n"
        "        args[0].close()\n"
        f"        raise {error}('no task')\n"
        "    return task(*args, **options)\n"
    )
    client.run("asyncio_loop.Task = fail", silent=True)
    refused = client.execute(mode + "1", stop_on_error=False)
    after = client.execute("2")
    run = client.finish(refused)
    assert (run.reply["status"], run.reply["ename"], run.error["evalue"]) == ("error", error, "no task")
    assert client.finish(after).result == "2"
    assert client.run("asyncio_loop.Task = task\n'alive'").result == "'alive'"


def test_a_stopped_loop_goes_on(client: Client) -> None:
    cells = [client.execute(f"loop.stop()\nawait asyncio.sleep(0)\n{n}") for n in range(5)]
    assert [client.finish(msg_id).result for msg_id in cells] == list("01234")
    client.run("loop.call_soon(loop.stop); loop.call_later(0.01, loop.stop);")
    assert client.run("await asyncio.sleep(0.05)\n'alive'").result == "'alive'"


def test_a_loop_that_runs_cannot_be_closed(client: Client) -> None:
    assert client.run("loop.close()").error["ename"] == "RuntimeError"
    client.run("loop.call_soon(loop.close);")
    assert client.run("await asyncio.sleep(0.01)\n'alive'").result == "'alive'"


def test_the_policy_and_the_loop_of_the_thread_may_be_replaced(client: Client) -> None:
    client.run(
        "policy = asyncio.get_event_loop_policy()\n"
        "class Odd(asyncio.DefaultEventLoopPolicy):\n"
        "    def get_event_loop(self): raise SystemExit\n"
        "    new_event_loop = get_event_loop\n"
        "asyncio.set_event_loop_policy(Odd())\n"
    )
    assert client.run("await asyncio.sleep(0)\n'alive'").result == "'alive'"
    client.run("asyncio.set_event_loop_policy(policy); asyncio.set_event_loop(None)")
    assert client.run("await asyncio.sleep(0)\n'alive'").result == "'alive'"
    client.run("asyncio.set_event_loop(loop)")


def test_variables_of_contexts_that_are_set_to_nonsense(client: Client) -> None:
    run = client.run("for variable in list(contextvars.copy_context()):\n    variable.set('nonsense')\n")
    assert run.reply["status"] in ("ok", "error")
    assert client.run("'alive'").result == "'alive'"
