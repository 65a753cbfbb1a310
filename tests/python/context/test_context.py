"""Whom output belongs to: everything a cell has started, wherever and whenever it runs, prints in that cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import parent_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel, Run


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """Whose event loop the main thread runs."""
    return request.param


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)


#: What tells, from anywhere, which request code belongs to. It waits until it is let on, and calls `done` at its end.
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


MODES = pytest.mark.parametrize("mode", ["", "# task\n", "# thread\n"], ids=["queue", "task", "thread"])
ON_ASYNCIO = pytest.mark.parametrize("backend", ["asyncio"], indirect=True)
ON_TRIO = pytest.mark.parametrize("backend", ["trio"], indirect=True)


def check(client: Client, msg_id: str) -> None:
    """All that `speak` has to say came to this cell, in order."""
    messages = [
        m for m in client.published(msg_id) if m["msg_type"] not in ("status", "execute_input", "execute_result")
    ]
    stdout = "".join(m["content"]["text"] for m in messages if m["content"].get("name") == "stdout")
    stderr = "".join(m["content"]["text"] for m in messages if m["content"].get("name") == "stderr")
    assert stdout == "printed\nmine\n"
    assert stderr == "warned\n"
    # Text may come in pieces.
    kinds = [m["content"].get("name") or m["msg_type"] for m in messages]
    kinds = [kind for before, kind in zip([None, *kinds], kinds, strict=False) if before != kind]
    assert kinds == ["display_data", "stdout", "stderr", "display_data", "update_display_data", "stdout"]
    _, shown, updated = (m["content"] for m in messages if m["msg_type"] != "stream")
    assert shown["data"]["text/plain"] == "'shown'"
    assert updated["data"]["text/plain"] == "'updated'"
    assert updated["transient"]["display_id"] == msg_id


def check_output(client: Client, mode: str, code: str) -> None:
    """What the code starts speaks in its cell when that has ended and another one runs."""
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
def test_output_comes_to_the_cell_that_started_the_code(client: Client, mode: str, code: str) -> None:
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


# -- questions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        "threading.Thread(target=ask).start()",
        "callboard.Caller().to_thread(ask);",
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(); pool.submit(ask);",
    ],
)
def test_input_asks_the_client_of_its_cell(kernel: Kernel, client: Client, start: str) -> None:
    client.run(
        "import callboard, threading\ngo, answered = threading.Event(), callboard.Pending()\ndef ask():\n"
        "    go.wait()\n    answered.set_result(input('which? '))"
    )
    cell = client.run(start)
    with kernel.connect() as other:
        other.run("go.set()")
        prompt = next(client.prompts())
        assert parent_id(prompt) == cell.msg_id
        client.answer("mine", prompt)
        assert other.run("await answered.wait()").result == "'mine'"


# -- errors -------------------------------------------------------------------------------------------------

THREADS_THAT_FAIL = {
    "a thread": "threading.Thread(target=fail).start()",
    "a timer": "threading.Timer(0.001, fail).start()",
    "a thread of a pool": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\n"
        "pool.submit(lambda: threading.Thread(target=fail).start());"
    ),
}

FAIL_ON_ASYNCIO = {
    "a task that nobody awaits": "asyncio.create_task(work());\n_ = None",
    "a group": (
        "async def group():\n    async with asyncio.TaskGroup() as g: g.create_task(work())\n"
        "asyncio.create_task(group());\n_ = None"
    ),
    "a callback": "on.add_done_callback(lambda _: None)\nasyncio.get_running_loop().call_soon(when_on);",
    "a later callback": "asyncio.get_running_loop().call_later(0.001, when_on);",
    "a callback of a task": "task = asyncio.create_task(let_on())\ntask.add_done_callback(lambda _: fail())",
}

FAIL_ON_TRIO = {
    "a system task": "trio.lowlevel.spawn_system_task(work);",
    "a nursery": (
        "async def group():\n    async with trio.open_nursery() as n: n.start_soon(work)\n"
        "trio.lowlevel.spawn_system_task(group);"
    ),
}

#: `fail` fails when `on` has been completed.
FAIL = """
import callboard, threading
on = callboard.Pending()
async def let_on(): await on.wait(protect=True)
def fail():
    on.wait_sync(protect=True)
    raise ValueError('it failed')
async def work():
    await let_on()
    fail()
def when_on():
    if on.done(): fail()
    asyncio.get_running_loop().call_later(0.001, when_on)
"""


def check_errors(client: Client, mode: str, code: str) -> None:
    """What the code starts fails, and its cell, which has ended, is told."""
    client.run(FAIL)
    cell = client.run(f"{mode}{code}")
    assert cell.status == "ok"
    client.run("'another cell'")
    collect = "import gc\nfor _ in range(5):\n    await callboard.Caller().call_soon(gc.collect)"
    other = client.execute(f"on.set_result(None)\n{collect}")
    if mode == "# thread\n":
        # A task that has failed is told of when it is collected.
        client.run(f"# thread\n{collect}")
    text = client.wait_text("ValueError: it failed", cell.msg_id, "stderr")
    assert "fail" in text
    assert client.finish(other).stderr == ""
    assert client.run("'alive'").result == "'alive'"


@MODES
@pytest.mark.parametrize("code", THREADS_THAT_FAIL.values(), ids=THREADS_THAT_FAIL.keys())
def test_errors_of_threads_are_told_to_the_cell_that_started_them(client: Client, mode: str, code: str) -> None:
    check_errors(client, mode, code)


@MODES
@ON_ASYNCIO
@pytest.mark.parametrize("code", FAIL_ON_ASYNCIO.values(), ids=FAIL_ON_ASYNCIO.keys())
def test_errors_on_asyncio_are_told_to_the_cell_that_started_the_code(client: Client, mode: str, code: str) -> None:
    check_errors(client, mode, f"import asyncio\n{code}")


@MODES
@ON_TRIO
@pytest.mark.parametrize("code", FAIL_ON_TRIO.values(), ids=FAIL_ON_TRIO.keys())
def test_errors_on_trio_are_told_to_the_cell_that_started_the_code(client: Client, mode: str, code: str) -> None:
    check_errors(client, mode, f"import trio\n{code}")


@ON_ASYNCIO
def test_a_task_that_is_thrown_away_while_it_waits_is_told_to_its_cell(client: Client) -> None:
    code = (
        "import asyncio\nasync def wait(): await asyncio.get_running_loop().create_future()\n"
        "asyncio.create_task(wait());\n_ = None"
    )
    cell = client.run(code)
    other = client.execute("import gc\nfor i in range(5):\n    await asyncio.sleep(0)\n    n = gc.collect()")
    client.wait_text("Task was destroyed but it is pending", cell.msg_id, "stderr")
    assert client.finish(other).stderr == ""


@ON_TRIO
def test_a_nursery_that_is_left_open_does_not_end_the_kernel(client: Client) -> None:
    client.run("kept = 'kept'\nimport trio")
    for code in (
        "nursery = await trio.open_nursery().__aenter__()\nnursery.start_soon(trio.sleep_forever)",
        "scope = trio.CancelScope().__enter__()",
        "trio.lowlevel.spawn_system_task.__wrapped__(fail);",
    ):
        client.run("async def fail(): raise ValueError('of a system task')\n" + code)
        queued = [client.execute("await trio.sleep(0)\nkept") for _ in range(3)]
        for msg_id in queued:
            client.finish(msg_id)
        assert client.run("await trio.sleep(0)\nkept").result == "'kept'"
        assert client.run("# task\nkept").result == "'kept'"
        assert client.run("import callboard\nawait callboard.Caller().call_soon(lambda: 'called')").result == "'called'"


# -- widgets ------------------------------------------------------------------------------------------------


def test_the_handler_of_a_comm_message_has_that_message_as_its_parent(client: Client, backend: str) -> None:
    client.run(
        "import comm, callboard, threading\nheard = callboard.Pending()\n"
        "def on_open(c, message):\n"
        "    parent = get_ipython().kernel.get_parent()\n"
        "    print('opened', get_ipython().get_parent()['msg_type'], parent['header'] == message['header'])\n"
        "    c.on_msg(on_msg)\n"
        "def on_msg(message):\n    print('heard')\n    threading.Thread(target=lambda: print('thread')).start()\n"
        "    callboard.Caller().call_soon(lambda: (print('call'), heard.set_result(None)))\n"
        "comm.get_comm_manager().register_target('parents', on_open)"
    )
    opened = client.send("comm_open", {"comm_id": "p1", "target_name": "parents", "data": {}})
    client.wait_text("opened comm_open True\n", opened)
    sent = client.send("comm_msg", {"comm_id": "p1", "data": {}})
    for text in ("heard\n", "thread\n", "call\n"):
        client.wait_text(text, sent)
    assert client.run("await heard.wait()").stdout == ""


def test_a_button_prints_where_ipykernel_lets_it(client: Client) -> None:
    cell = client.run(
        "import ipywidgets\nbutton = ipywidgets.Button()\nbutton.on_click(lambda _: print('clicked'))\n"
        "output = ipywidgets.Output()\n@output.capture()\ndef captured(_): print('captured')\n"
        "second = ipywidgets.Button()\nsecond.on_click(captured)\n(button.comm.comm_id, second.comm.comm_id)"
    )
    first, second = eval(cell.result or "")
    click = {"method": "custom", "content": {"event": "click"}}
    sent = client.send("comm_msg", {"comm_id": first, "data": click})
    client.wait_text("clicked\n", sent)
    sent = client.send("comm_msg", {"comm_id": second, "data": click})
    client.wait_text("captured\n", sent)
    client.wait_idle(sent)
    ids = [
        m["content"]["data"]["state"]["msg_id"]
        for m in client.published(sent)
        if "msg_id" in m["content"].get("data", {}).get("state", {})
    ]
    assert ids == [sent, ""]
    assert "clicked" not in "".join(m["content"].get("text", "") for m in client.published(cell.msg_id))


# -- parents by hand ----------------------------------------------------------------------------------------


def test_a_parent_can_be_set_and_reset(client: Client) -> None:
    first = client.run("kept = get_ipython().get_parent()\nkept['header']['msg_type']")
    assert first.result == "'execute_request'"
    run = client.run(
        "ip = get_ipython()\nbefore = ip.get_parent()\ntoken = ip.set_thread_parent(kept)\nprint('in the first')\n"
        "found = [ip.get_parent() == kept, ip.kernel.get_parent() is ip.get_parent()]\nip.reset_thread_parent(token)\n"
        "print('here')\nfound + [ip.get_parent() is before]"
    )
    assert (run.stdout, run.result) == ("here\n", "[True, True, True]")
    client.wait_text("in the first\n", first.msg_id)
    run = client.run("ip.set_parent(kept)\nprint('first again')")
    assert run.stdout == ""
    client.wait_text("first again\n", first.msg_id)
    # The next cell has its own.
    assert client.run("print('mine')").stdout == "mine\n"


@pytest.mark.parametrize(
    "thing", ["get_ipython()", "sys.stdout", "sys.stderr", "get_ipython().display_pub", "get_ipython().displayhook"]
)
def test_ipykernels_names_are_there(client: Client, thing: str) -> None:
    first = client.run("kept = get_ipython().get_parent()")
    code = (
        f"import sys\nthing = {thing}\n"
        "token = thing.set_thread_parent(kept)\n"
        "def msg_id(p): return p.get('header', p)['msg_id']\n"
        "inside = msg_id(thing.parent_header)\nprint('inside')\nthing.reset_thread_parent(token)\n"
        "outside = msg_id(thing.parent_header)\nthing.set_parent(kept['header'])\n"
        "after = msg_id(thing.parent_header)\nprint('after')\n"
        "thing.parent_header = thing.parent_header\n"
        "(inside, outside, after)"
    )
    run = client.run(code)
    client.wait_text("inside\nafter\n", first.msg_id)
    (shown,) = [m for m in client.published(first.msg_id) if m["msg_type"] == "execute_result"]
    assert eval(shown["content"]["data"]["text/plain"]) == (first.msg_id, run.msg_id, first.msg_id)


def test_kernel_set_parent(client: Client) -> None:
    first = client.run("kept = get_ipython().kernel.get_parent()")
    client.run("get_ipython().kernel.set_parent([], kept, 'shell')\nprint('there')")
    client.wait_text("there\n", first.msg_id)


def test_a_thread_without_context_uses_the_parent_it_sets(client: Client) -> None:
    client.run(
        "import _thread, callboard\nended, go = callboard.Pending(), callboard.Pending()\n"
        "def raw(parent):\n    go.wait_sync()\n    get_ipython().set_thread_parent(parent)\n    print('raw')\n"
        "    ended.set_result(None)"
    )
    cell = client.run("_thread.start_new_thread(raw, (get_ipython().get_parent(),));")
    client.run("go.set_result(None)\nawait ended.wait()")
    client.wait_text("raw\n", cell.msg_id)


# -- context variables --------------------------------------------------------------------------------------


def test_context_variables_go_from_cell_to_cell(client: Client) -> None:
    client.run("import contextvars, callboard\nvar = contextvars.ContextVar('var', default='unset')")
    client.run("token = var.set('one')")
    assert client.run("var.get()").result == "'one'"
    client.run("await callboard.Caller().call_soon(int)\ntoken = var.set('two')")
    assert client.run("var.get()").result == "'two'"
    client.run("token = var.set('before')\nawait callboard.Caller().call_soon(int)")
    assert client.run("var.get()").result == "'before'"
    # Also when the next cell has been waiting.
    client.run("gate = callboard.Pending()")
    first = client.start("print('started')\nawait gate\ntoken = var.set('late')")
    second = client.execute("var.get()")
    client.run("# task\ngate.set_result(None)")
    client.finish(first)
    assert client.finish(second).result == "'late'"
    assert client.run("1/0").status == "error"
    assert client.run("var.get()").result == "'late'"


def test_a_context_variable_can_be_reset_in_a_later_cell(client: Client) -> None:
    client.run(
        "import contextvars\nresettable = contextvars.ContextVar('resettable', default='unset')\n"
        "token = resettable.set(1)"
    )
    client.run("resettable.reset(token)")
    assert client.run("resettable.get()").result == "'unset'"


@pytest.mark.parametrize("mode", ["task", "thread", "thread name=variables"])
def test_tasks_and_threads_see_variables_and_keep_their_own(client: Client, mode: str) -> None:
    client.run(
        "import contextvars, callboard\nvar = contextvars.ContextVar('var', default='unset')\ntoken = var.set('main')"
    )
    assert client.run(f"# {mode}\nvar.get()").result == "'main'"
    assert (
        client.run(f"# {mode}\ntoken = var.set('own')\nawait callboard.Caller().call_soon(int)\nvar.get()").result
        == "'own'"
    )
    assert client.run("var.get()").result == "'main'"
    assert client.run(f"# {mode}\nvar.get()").result == "'main'"


def test_a_subshell_has_its_own_context_variables(client: Client) -> None:
    subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
    header = {"subshell_id": subshell}
    client.run(
        "import contextvars\nof_shell = contextvars.ContextVar('of_shell', default='unset')\n"
        "token = of_shell.set('main')"
    )
    client.run("token = of_shell.set('sub')", header=header)
    assert client.run("of_shell.get()", header=header).result == "'sub'"
    assert client.run("# task\nof_shell.get()", header=header).result == "'sub'"
    assert client.run("# thread\nof_shell.get()", header=header).result == "'sub'"
    assert client.run("of_shell.get()").result == "'main'"
    client.ask("delete_subshell_request", {"subshell_id": subshell}, channel="control")


# -- the kernel as code sees it -----------------------------------------------------------------------------


def test_the_kernel_is_found(client: Client, backend: str) -> None:
    run = client.run(
        "import callboard, callboard.utils, threading\nkernel = get_ipython().kernel\n"
        "shell, control = kernel.callers['shell'], kernel.callers['control']\n"
        "(kernel is callboard.utils.get_kernel(), kernel.interface.backend, sorted(kernel.callers),"
        " kernel.shell is get_ipython(), kernel.subshells,"
        " shell is callboard.Caller() is callboard.Caller('MainThread') is kernel.caller,"
        " control.thread.name, shell.thread is threading.main_thread(), kernel.interface.callers == kernel.callers)"
    )
    assert eval(run.result or "") == (True, backend, ["control", "shell"], True, {}, True, "Control", True, True)


def test_the_callers_magic_prints_a_table(client: Client) -> None:
    client.run('# thread name="My thread"\n1')
    lines = client.run("%callers").stdout.splitlines()
    assert lines[0].split() == ["Name", "Running", "Protected", "Thread", "Caller"]
    assert set(lines[1]) == {"\u2500"}
    rows = {line.split("  ")[0]: line for line in lines[2:]}
    assert {"Shell", "Control", "My thread"} <= rows.keys()
    assert "\u2190 current" in rows["Shell"]
    assert "\u2190 current" not in rows["Control"] + rows["My thread"]
    assert "\U0001f510" in rows["Shell"]
    assert "\U0001f510" not in rows["My thread"]
    assert all("\u2713" in row for row in rows.values())
    assert "MainThread" in rows["Shell"]
    there = client.run('# thread name="My thread"\n%callers').stdout.splitlines()
    assert "\u2190 current" in next(line for line in there if line.startswith("My thread"))


def test_two_clients_get_what_is_theirs(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as one, kernel.connect() as two:
        one.run("import callboard, threading\ngo = threading.Event()")

        def start(client: Client, name: str) -> Run:
            return client.run(f"threading.Thread(target=lambda: (go.wait(), print({name!r}))).start()")

        runs = {"one": start(one, "one"), "two": start(two, "two")}
        one.run("go.set()")
        for name, run in runs.items():
            one.wait_text(f"{name}\n", run.msg_id)
