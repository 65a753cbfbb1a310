"""Every cell that fails shows one error, also when formatting its traceback fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client, Kernel

BREAK = (
    "def broken(*_args, **_kwargs): raise RuntimeError('cannot format')\n"
    "tb = get_ipython().InteractiveTB\nwhole = tb.structured_traceback\ntb.structured_traceback = broken\n"
)


@pytest.fixture
def no_tracebacks(client: Client) -> Iterator[None]:
    """IPython cannot format tracebacks."""
    assert client.run(BREAK).status == "ok"
    yield
    assert client.run("tb.structured_traceback = whole").status == "ok"


@pytest.mark.parametrize("first_line", ["", "# task\n", "# thread\n"], ids=["queue", "task", "thread"])
@pytest.mark.usefixtures("no_tracebacks")
def test_an_error_whose_traceback_cannot_be_formatted_is_shown_plainly(client: Client, first_line: str) -> None:
    run = client.run(first_line + "raise ValueError('the reason')")
    shown = {"ename": "ValueError", "evalue": "the reason", "traceback": ["ValueError: the reason"]}
    assert run.error == shown
    assert {name: run.reply[name] for name in shown} == shown
    assert client.run("'alive'").result == "'alive'"


@pytest.mark.usefixtures("no_tracebacks")
@pytest.mark.parametrize("code", ["time.sleep(100)", "await asyncio.sleep(100)", "while True: pass"])
def test_an_interrupt_whose_traceback_cannot_be_formatted_is_shown(
    kernel: Kernel, client: Client, how: str, code: str
) -> None:
    msg_id = client.start("import asyncio, time\nprint('started', flush=True)\n" + code)
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.error["ename"] == run.reply["ename"] == "KeyboardInterrupt"
    assert run.error["traceback"] == ["KeyboardInterrupt: "]


@pytest.mark.usefixtures("no_tracebacks")
def test_a_suppressed_error_stays_suppressed(client: Client) -> None:
    run = client.run("1/0", metadata={"tags": ["suppress-error"]})
    assert (run.status, run.contents("error")) == ("ok", [])
    assert "\N{WARNING SIGN}" in run.stdout


@pytest.mark.parametrize(
    "code",
    [
        "class Odd(Exception):\n    def _render_traceback_(self): raise RuntimeError('no')\nraise Odd('text')",
        "class Odd(Exception):\n    def _render_traceback_(self): return 5\nraise Odd('text')",
        "class Odd(Exception):\n    def __str__(self): return 5\n    __repr__ = __str__\nraise Odd('text')",
        "class Odd(KeyboardInterrupt):\n    def __str__(self): raise ValueError\nraise Odd",
        "class Odd(Exception): pass\nraise Odd('\\ud800')",
        "class Odd(Exception): pass\nOdd.__module__ = None\nraise Odd('text')",
        "class Odd(Exception): pass\n"
        "def handler(*_args, **_kwargs): raise ValueError('a broken handler')\n"
        "get_ipython().set_custom_exc((Odd,), handler)\nraise Odd('text')",
    ],
    ids=[
        "_render_traceback_ raises",
        "_render_traceback_ returns nonsense",
        "__str__ returns a number",
        "interrupt without a text",
        "surrogate",
        "no module",
        "custom handler raises",
    ],
)
def test_odd_exceptions_are_shown_once(client: Client, code: str) -> None:
    run = client.run(code)
    client.run("get_ipython().set_custom_exc((), None)")
    assert run.error["ename"] == run.reply["ename"] == "Odd"
    assert run.types[-2:] == ["error", "idle"]
    assert client.run("'alive'").result == "'alive'"


@pytest.mark.parametrize("method", ["__str__", "_render_traceback_"])
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit", "GeneratorExit"])
def test_what_ends_the_showing_of_an_error_is_shown_once(client: Client, method: str, raised: str) -> None:
    run = client.run(f"class Odd(Exception):\n    def {method}(self): raise {raised}\nraise Odd")
    assert run.error["ename"] == run.reply["ename"]
    assert run.reply["ename"] in ("Odd", raised)
    assert client.run("'alive'").result == "'alive'"


def test_an_error_is_shown_although_showtraceback_is_broken(client: Client) -> None:
    run = client.run(
        "shell = get_ipython()\n"
        "def broken(*_args, **_kwargs):\n    del shell.showtraceback\n    raise KeyboardInterrupt\n"
        "shell.showtraceback = broken\n1/0"
    )
    assert run.error["ename"] == run.reply["ename"]
    assert client.run("1/0").error["ename"] == "ZeroDivisionError"


def test_an_interrupt_while_a_statement_is_compiled_is_shown(client: Client) -> None:
    client.run(
        "import ast\nkind = type(get_ipython().compile)\nbefore = kind.__call__\n"
        "def hit(self, source, *args):\n"
        "    if 'unknown' in ast.dump(source):\n        raise KeyboardInterrupt\n    return before(self, source, *args)\n"
        "kind.__call__ = hit"
    )
    try:
        run = client.run("print('first')\nunknown")
        assert run.stdout == "first\n"
        assert run.stderr == ""
        assert run.reply["ename"] == run.error["ename"] == "KeyboardInterrupt"
        assert "callboard/ipython/magics" not in "".join(run.error["traceback"])
    finally:
        client.run("kind.__call__ = before")
