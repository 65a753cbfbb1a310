"""A ``run_cell`` or ``run_cell_async`` that a library puts in the place of IPython's is called, as on ipykernel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client


@pytest.fixture(scope="module")
def python() -> str:
    """One environment: nothing here asks whether ipykernel is installed."""
    return sys.executable


WRAP = """
from IPython.core.interactiveshell import InteractiveShell
shell = get_ipython()
owner = {owner}
original, own = getattr(owner, {name!r}), {name!r} in vars(owner)

def wrapper(*args, **kwargs):
    print({name!r}, repr(next(arg for arg in args if isinstance(arg, str))))
    return original(*args, **kwargs)

setattr(owner, {name!r}, wrapper)
"""

PUT_BACK = """await __import__("asyncio").sleep(0)
if own:
    setattr(owner, {name!r}, original)
else:
    delattr(owner, {name!r})
"""

OWNERS = ["shell", "type(shell)", "InteractiveShell"]


@pytest.fixture
def replaced(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """Replaces a method of the shell; its owner and its name are the parameter."""
    owner, name = request.param
    assert client.run(WRAP.format(owner=owner, name=name)).reply["status"] == "ok"
    yield name
    assert client.run(PUT_BACK.format(name=name)).reply["status"] == "ok"
    assert client.run("'as before'").stdout == ""


@pytest.mark.parametrize("replaced", [(owner, "run_cell") for owner in OWNERS], indirect=True)
def test_a_replaced_run_cell_gets_the_cells_that_do_not_await(client: Client, replaced: str) -> None:
    run = client.run("print('ran'); _x = 1; _x + 1")
    assert run.stdout == "run_cell \"print('ran'); _x = 1; _x + 1\"\nran\n"
    assert run.result == "2"
    failed = client.run("1/0")
    assert failed.error["ename"] == "ZeroDivisionError"
    assert failed.reply["status"] == "error"
    assert failed.reply["execution_count"] == run.reply["execution_count"] + 1
    assert client.run("import asyncio; await asyncio.sleep(0); 'awaited'").stdout == ""
    syntax = client.run("x =")
    assert syntax.error["ename"] == "SyntaxError"


@pytest.mark.parametrize("replaced", [(owner, "run_cell_async") for owner in OWNERS], indirect=True)
def test_a_replaced_run_cell_async_gets_the_cells(client: Client, replaced: str) -> None:
    run = client.run("import asyncio; await asyncio.sleep(0); 'awaited'")
    assert run.stdout == "run_cell_async \"import asyncio; await asyncio.sleep(0); 'awaited'\"\n"
    assert run.result == "'awaited'"


def test_a_run_cell_that_takes_little_and_returns_nothing(client: Client) -> None:
    client.run("shell = get_ipython(); shell.run_cell = lambda raw_cell, silent=False: print('sent', raw_cell)")
    run = client.run("somewhere = 'else'")
    assert run.stdout == "sent somewhere = 'else'\n"
    assert run.reply["status"] == "ok"
    client.run("await __import__('asyncio').sleep(0); del shell.run_cell")
    assert client.run("'here'").result == "'here'"


def test_a_run_cell_that_was_put_back_leaves_commands_awaited(client: Client) -> None:
    """As ``%autopx`` does: what it has read is a bound method."""
    client.run("shell = get_ipython(); before = shell.run_cell; shell.run_cell = before")
    run = client.run("import asyncio\ntask = asyncio.ensure_future(asyncio.sleep(0, 'went on'))\n!true\ntask.result()")
    assert run.result == "'went on'"
    client.run("del shell.run_cell")
