"""``exit`` and ``quit``: of the notebook, and of the code of modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel

MODULE = (
    "import types\nlibrary = types.ModuleType('library')\n"
    'exec(\'def leave(*args):\\n    exit(*args)\\n    print("went on")\\n'
    'def leave_by_quit():\\n    quit()\\n    print("went on")\', vars(library))'
)


@pytest.mark.parametrize(
    "code",
    [
        "library.leave(1)",
        "library.leave('text')",
        "library.leave_by_quit()",
        "async def f(): library.leave(1)\nawait f()",
        "# task\nlibrary.leave(1)",
        "# thread\nlibrary.leave(1)",
        "%%thread\nlibrary.leave(1)",
    ],
)
def test_a_module_that_calls_it_raises_systemexit(client: Client, code: str) -> None:
    client.run(MODULE)
    run = client.run(code)
    assert (run.status, run.reply["ename"]) == ("error", "SystemExit")
    assert "went on" not in run.stdout
    assert run.reply.get("payload", []) == []
    assert client.run("'alive'").result == "'alive'"


@pytest.mark.parametrize(
    "code",
    [
        "import threading\nthread = threading.Thread(target=library.leave)\nthread.start()\nthread.join()",
        "import asyncio\nasync def f(): library.leave(1)\ntask = asyncio.create_task(f())\nawait asyncio.wait([task]);",
        "import asyncio\nloop = asyncio.get_running_loop()\nended = asyncio.Event()\n"
        "loop.call_soon(library.leave, 1)\nloop.call_soon(ended.set)\nawait ended.wait();",
        "import atexit, gc\nclass Last:\n    def __del__(self): library.leave(1)\nlast = Last()\ndel last\ngc.collect();",
        "ip = get_ipython()\ndef hook(*_args): library.leave(1)\nip.events.register('post_execute', hook)\n"
        "try: ip.events.trigger('post_execute')\nexcept SystemExit: pass\nfinally: ip.events.unregister('post_execute', hook)",
    ],
    ids=["thread", "asyncio task", "callback", "finalizer", "hook"],
)
def test_nothing_else_that_a_module_calls_it_in_ends_the_kernel(client: Client, code: str) -> None:
    client.run(MODULE)
    run = client.run(code)
    assert run.status == "ok", run.reply
    assert "went on" not in run.stdout
    assert client.run("'alive'").result == "'alive'"


def test_it_leaves_standard_input_open(client: Client) -> None:
    client.run(MODULE)
    client.run("library.leave()")
    assert client.run("import sys, os\nos.fstat(0) is not None, sys.__stdin__.closed").result == "(True, False)"


def test_a_module_can_catch_it(client: Client) -> None:
    client.run(MODULE)
    run = client.run("try: library.leave(7)\nexcept SystemExit as error: print(error.code)")
    assert (run.status, run.stdout) == ("ok", "7\n")


@pytest.mark.parametrize(
    "code",
    [
        "exit",
        "exit()",
        "quit",
        "quit()",
        "def f():\n    exit()\n    print('went on')\nf()",
        "async def f(): exit()\nawait f()",
        "import threading\nthread = threading.Thread(target=exit)\nthread.start()\nthread.join()",
        "%reset -f\nexit()",
    ],
)
def test_a_cell_that_calls_its_own_ends_the_kernel_after_the_cell(
    start_kernel: Callable[..., Kernel], code: str
) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        run = client.run(code)
        assert run.status == "ok"
        if "went on" in code:
            assert run.stdout == "went on\n"
        if "Thread(" not in code:
            assert run.reply["payload"] == [{"source": "ask_exit", "keepkernel": False}]
        assert kernel.wait_end() == 0


@pytest.mark.parametrize("isolated", [(), ("--isolated-subshells",)], ids=["shared", "isolated"])
def test_a_cell_of_a_subshell_ends_the_kernel(start_kernel: Callable[..., Kernel], isolated: tuple[str, ...]) -> None:
    kernel = start_kernel(*isolated)
    with kernel.connect() as client:
        subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
        assert client.run("exit()", header={"subshell_id": subshell}).status == "ok"
        assert kernel.wait_end() == 0


@pytest.mark.parametrize("code", ["quit(keep_kernel=True)", "exit(True)"])
def test_a_cell_that_keeps_the_kernel(client: Client, code: str) -> None:
    run = client.run(code)
    assert run.reply["payload"] == [{"source": "ask_exit", "keepkernel": True}]
    assert client.run("'alive'").result == "'alive'"
