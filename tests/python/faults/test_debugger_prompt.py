"""An interrupt leaves the prompt of a debugger, which is IPython's, as with ipykernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import interrupt, without_colours

if TYPE_CHECKING:
    from support import Client, Kernel

PRELUDE = "import pdb, sys\ndef divide(a):\n    b = a\n    return b / 0\n"


@pytest.fixture
def client(client: Client) -> Client:
    assert client.run(PRELUDE).status == "ok"
    return client


def prompted(client: Client, code: str, *answers: str) -> str:
    """Runs a cell that asks, until all answers are given and it asks again. Returns the request's id."""
    msg_id = client.execute(code)
    prompts = client.prompts()
    for answer in answers:
        client.answer(answer, next(prompts))
    prompt = next(prompts)
    assert "ipdb>" in prompt["content"]["prompt"] or "inner" in prompt["content"]["prompt"]
    return msg_id


CASES = {
    "set_trace": ("pdb.set_trace()\nx = 1",),
    "in a function": ("def f():\n    y = 1\n    pdb.set_trace()\n    return y\nf()", "p y", "n"),
    "breakpoint": ("def f():\n    breakpoint()\n    return 1\nf()", "l"),
    "imported name": ("from pdb import set_trace\nset_trace()\nx = 1",),
    "Pdb": ("pdb.Pdb().set_trace()\nx = 1", "p 1"),
    "Pdb of IPython": ("from IPython.core.debugger import Pdb\nPdb().set_trace()\nx = 1",),
    "set_trace of IPython": ("from IPython.core.debugger import set_trace\nset_trace()\nx = 1",),
    "subclass": ("class Mine(pdb.Pdb): pass\nMine().set_trace()\nx = 1",),
    "post_mortem": ("try:\n    divide(1)\nexcept ZeroDivisionError:\n    pdb.post_mortem()", "p a", "u"),
    "runcall": ("pdb.runcall(divide, 1)", "n"),
    "run": ("pdb.run('divide(1)', globals())", "s"),
    "nested": ("pdb.set_trace()\nx = 1", "debug divide(1)", "s"),
    "%debug of a statement": ("%debug divide(1)", "s"),
    "in a coroutine": ("async def f():\n    pdb.set_trace()\n    return 1\nawait f()", "p 1"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_interrupt_leaves_the_prompt(kernel: Kernel, client: Client, how: str, case: tuple[str, ...]) -> None:
    msg_id = prompted(client, *case)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.reply["status"] in ("ok", "error")
    assert client.run("sys.settrace(None); 'alive'").result == "'alive'"


def test_interrupts_end_a_command_that_asks_and_the_prompt(kernel: Kernel, client: Client, how: str) -> None:
    """Since Python 3.13 the first interrupt may end the command alone."""
    msg_id = prompted(client, "pdb.set_trace()\nx = 1", "!input('inner ')")
    interrupt(client, kernel, how)
    if "*** KeyboardInterrupt" in client.wait_text("KeyboardInterrupt", msg_id):
        interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["status"] in ("ok", "error")
    assert client.run("sys.settrace(None); 'alive'").result == "'alive'"


@pytest.mark.parametrize("code", ["%debug", "pdb.pm()"])
def test_an_interrupt_leaves_the_prompt_after_an_error(kernel: Kernel, client: Client, how: str, code: str) -> None:
    assert client.run("divide(1)").error["ename"] == "ZeroDivisionError"
    msg_id = prompted(client, code, "p a")
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).status == "ok"
    assert client.run("'alive'").result == "'alive'"


def test_an_interrupt_leaves_the_prompt_that_an_error_opens(kernel: Kernel, client: Client, how: str) -> None:
    client.run("%pdb on")
    msg_id = prompted(client, "divide(1)", "p a")
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).error["ename"] == "ZeroDivisionError"
    client.run("%pdb off")
    assert client.run("'alive'").result == "'alive'"


def test_the_debugger_shows_context_and_goes_on(client: Client) -> None:
    msg_id = prompted(client, "def f():\n    pdb.set_trace()\n    y = 2\n    return y\nf()")
    client.answer("c")
    run = client.finish(msg_id)
    assert run.result == "2"
    shown = without_colours(run.stdout)
    # Since Python 3.13 it stops at the call, not behind it.
    assert "----> 3     y = 2" in shown or "----> 2     pdb.set_trace()" in shown
    assert "4     return y" in shown


def test_the_cells_behind_a_prompt_that_is_left_run(kernel: Kernel, client: Client, how: str) -> None:
    msg_id = prompted(client, "pdb.set_trace()\nx = 1")
    after = client.execute("'after'")
    interrupt(client, kernel, how)
    client.finish(msg_id, timeout=20)
    assert client.finish(after).reply["status"] in ("ok", "aborted")


def test_a_kernel_starts_without_a_debugger(fresh_client: Client) -> None:
    loaded = "import sys\nprint([name for name in sys.modules if name in ('pdb', 'IPython.core.debugger')])"
    assert fresh_client.run(loaded).stdout == "[]\n"
    assert fresh_client.run("import pdb, IPython\npdb.Pdb is IPython.core.debugger.Pdb").result == "True"


@pytest.mark.parametrize("first", ["pdb", "IPython.core.debugger", "doctest"])
def test_the_debugger_is_replaced_whatever_is_imported_first(fresh_client: Client, first: str) -> None:
    run = fresh_client.run(
        f"import {first}, pdb, IPython.core.debugger as ipythons\n"
        "assert pdb.Pdb is ipythons.Pdb\n"
        "assert pdb.Pdb is ipythons.InterruptiblePdb\n"
        "assert pdb.set_trace is ipythons.set_trace\n"
        "assert ipythons.OldPdb is not pdb.Pdb"
    )
    assert run.status == "ok", run.traceback


@pytest.mark.parametrize("first_line", ["# thread\n", ""], ids=["thread", "subshell"])
@pytest.mark.parametrize("code", ["pdb.set_trace()\nx = 1", "input('inner')"])
def test_an_interrupt_leaves_the_prompt_of_another_thread(
    kernel: Kernel, client: Client, how: str, first_line: str, code: str
) -> None:
    header = {}
    if not first_line:
        subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
        header = {"subshell_id": subshell}
    client.run("import pdb", header=header)
    msg_id = client.execute(first_line + code, header=header)
    next(client.prompts())
    interrupt(client, kernel, how)
    assert client.finish(msg_id, timeout=20).reply["status"] in ("ok", "error")
    assert client.run("'alive'", header=header).result == "'alive'"
    assert client.run("'alive'").result == "'alive'"
