"""What happened decides whether a cell has failed, not what code has displayed; and a display of the user's is called
once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--backend", request.param)


@pytest.fixture
def ip(client: Client) -> Iterator[Client]:
    """A client whose kernel has the shell in ``ip``, without displays of the user's after the test."""
    client.run("import sys\nfrom IPython.core.interactiveshell import InteractiveShell\nip = get_ipython()")
    yield client
    client.run(
        "for name in ('showtraceback', '_showtraceback', 'showsyntaxerror', 'show_usage_error'):\n"
        "    vars(ip).pop(name, None)\n"
        "ip.set_custom_exc((), None)"
    )


#: Cells that display an exception and do not fail.
SHOWN = {
    "caught": "try: 1/0\nexcept Exception: get_ipython().showtraceback()",
    "made up": "ip.showtraceback((ValueError, ValueError('x'), None))",
    "excepthook": "sys.excepthook(ValueError, ValueError('x'), None)",
    "a cell in a cell": "ip.run_cell('1/0');",
    "an awaited cell in a cell": "await ip.run_cell_async('1/0', transformed_cell='1/0');",
    "a syntax error in a cell": "ip.run_cell('x = (');",
    "capture": "%%capture\n1/0",
    "capture that awaits": "%%capture\nasync def f(): 1/0\nawait f()",
    "a display": "class Odd:\n    def __repr__(self): 1/0\ndisplay(Odd())",
    "a usage error": "try: ip.run_line_magic('nope', '')\nexcept Exception: ip.showtraceback()",
}


@pytest.mark.parametrize("code", SHOWN.values(), ids=SHOWN)
def test_a_cell_that_only_displays_an_exception_succeeds(ip: Client, code: str) -> None:
    failed, behind = ip.execute(code), ip.execute("'behind'")
    run = ip.finish(failed)
    assert run.status == "ok"
    assert run.types.count("error") + ("UsageError" in run.stderr) == 1
    assert ip.finish(behind).result == "'behind'"


def test_the_traceback_of_an_earlier_cell_is_no_failure(ip: Client) -> None:
    ip.run("1/0")
    run = ip.run("%tb")
    assert (run.status, run.error["ename"]) == ("ok", "ZeroDivisionError")


def test_a_script_that_fails_is_no_failure_of_the_cell(ip: Client) -> None:
    ip.run("open('bad.py', 'w').write('1/0')")
    run = ip.run("%run bad.py")
    assert (run.status, run.error["ename"]) == ("ok", "ZeroDivisionError")


@pytest.mark.parametrize("event", ["pre_run_cell", "post_run_cell", "post_execute"])
def test_a_hook_that_fails_is_no_failure_of_the_cell(ip: Client, event: str) -> None:
    ip.run(f"def hook(*_args): raise RuntimeError('hook')\nip.events.register({event!r}, hook)")
    try:
        run = ip.run("5")
        assert (run.status, run.result, run.error["ename"]) == ("ok", "5", "RuntimeError")
        failed = ip.run("1/0")
        assert failed.reply["ename"] == "ZeroDivisionError"
        assert sorted(error["ename"] for error in failed.contents("error")) == ["RuntimeError", "ZeroDivisionError"]
    finally:
        ip.run(f"ip.events.unregister({event!r}, hook)")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("1/0", "ZeroDivisionError"),
        ("x = (", "SyntaxError"),
        ("return", "SyntaxError"),
        ("%nope", "UsageError"),
        ("class False_(Exception):\n    __bool__ = lambda self: False\nraise False_", "False_"),
        ("try: 1/0\nexcept Exception: ip.showtraceback()\nraise KeyError", "KeyError"),
        ("raise ExceptionGroup('group', [ValueError()])", "ExceptionGroup"),
        ("import sys\nsys.exit(3)", "SystemExit"),
        ("%%thread\n1/0", "ZeroDivisionError"),
        ("async def f(): 1/0\nawait f()", "ZeroDivisionError"),
    ],
)
def test_a_cell_that_fails_fails(ip: Client, code: str, name: str) -> None:
    run = ip.run(code)
    # Python 3.13 has a class of its own for code that is not complete.
    ename = run.reply["ename"].replace("_IncompleteInputError", "SyntaxError")
    assert (run.status, ename) == ("error", name)


def test_a_value_that_cannot_be_displayed_is_a_failure(ip: Client) -> None:
    """As with ipykernel."""
    run = ip.run("class Odd:\n    def __repr__(self): raise KeyError('no text')\nOdd()")
    assert (run.status, run.reply["ename"], run.error["ename"]) == ("error", "KeyError", "KeyError")
    assert ip.run("display(Odd())").status == "ok"


REPLACED = {
    "showtraceback": "ip.showtraceback = lambda *args, **kwargs: print('mine')",
    "_showtraceback": "ip._showtraceback = lambda *args, **kwargs: print('mine')",
    "in IPython's class": "before = InteractiveShell.showtraceback\n"
    "InteractiveShell.showtraceback = lambda *args, **kwargs: print('mine')",
    "set_custom_exc": "ip.set_custom_exc((Exception,), lambda *args, **kwargs: print('mine'))",
    "set_custom_exc that returns lines": "def mine(*args, **kwargs):\n    print('mine')\n    return ['a line']\n"
    "ip.set_custom_exc((Exception,), mine)",
}


@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize("code", ["1/0", "import asyncio\nasync def f(): 1/0\nawait f()"], ids=["code", "await"])
def test_a_display_of_the_user_is_called_once_and_nothing_else_is_shown(ip: Client, replace: str, code: str) -> None:
    ip.run(replace)
    try:
        run = ip.run(code)
        assert (run.stdout, run.stderr, run.contents("error")) == ("mine\n", "", [])
        assert run.status == "error"
        assert (run.reply["ename"], run.reply["evalue"]) == ("ZeroDivisionError", "division by zero")
        assert run.reply["traceback"] == ["ZeroDivisionError: division by zero"]
    finally:
        ip.run("if 'before' in globals(): InteractiveShell.showtraceback = globals().pop('before')")


@pytest.mark.parametrize("code", ["x = (", "  x\n y", "eval('x = (')"])
def test_a_display_of_the_user_for_syntax_errors(ip: Client, code: str) -> None:
    """What rich.traceback.install() replaces."""
    ip.run(
        "shown = []\nip._showtraceback = lambda *args, **kwargs: shown.append('traceback')\n"
        "ip.showsyntaxerror = lambda *args, **kwargs: shown.append('syntax')"
    )
    run = ip.run(code)
    assert (run.status, run.contents("error")) == ("error", [])
    assert ip.run("shown").result == "['syntax']"


def test_a_display_that_wraps_the_kernels_own_shows_one_error(ip: Client) -> None:
    ip.run("own = ip.showtraceback\ndef show(*args, **kwargs):\n    print('mine')\n    own(*args, **kwargs)")
    ip.run("ip.showtraceback = show")
    run = ip.run("1/0")
    assert (run.stdout, run.error["ename"], run.reply["ename"]) == ("mine\n", *["ZeroDivisionError"] * 2)


def test_a_display_that_fails_is_shown(ip: Client) -> None:
    ip.run("def show(*args, **kwargs): raise KeyError('broken display')\nip.showtraceback = show")
    run = ip.run("1/0")
    assert run.error["ename"] == run.reply["ename"] == "KeyError"


def test_a_handler_of_other_exceptions_is_not_called(ip: Client) -> None:
    ip.run("ip.set_custom_exc((ValueError,), lambda *args, **kwargs: print('mine'))")
    run = ip.run("1/0")
    assert (run.stdout, run.error["ename"]) == ("", "ZeroDivisionError")


def test_a_display_of_the_main_shell_holds_in_subshells(ip: Client) -> None:
    """There is one shell in ipykernel."""
    subshell = {"subshell_id": ip.ask("create_subshell_request", channel="control")["subshell_id"]}
    for replace in (REPLACED["showtraceback"], REPLACED["_showtraceback"], REPLACED["set_custom_exc"]):
        ip.run(replace)
        run = ip.run("1/0", header=subshell)
        assert (run.stdout, run.contents("error"), run.reply["ename"]) == ("mine\n", [], "ZeroDivisionError")
        ip.run("vars(ip).pop('showtraceback', None), vars(ip).pop('_showtraceback', None)\nip.set_custom_exc((), None)")
    assert ip.run("1/0", header=subshell).error["ename"] == "ZeroDivisionError"
    ip.ask("delete_subshell_request", subshell, channel="control")
