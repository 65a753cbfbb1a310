"""Completion and inspection see the ContextVars that cells have set; they do not see thread-locals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client

PROXY = (
    "from contextvars import ContextVar\nvariable = ContextVar('variable')\n"
    "class Proxy:\n"
    "    def __dir__(self): return list(variable.get())\n"
    "    def __getattr__(self, name):\n"
    "        try: return variable.get()[name]\n"
    "        except KeyError: raise AttributeError(name)\n"
    "    def __repr__(self): return f'proxy of {variable.get()}'\n"
    "proxy = Proxy()"
)


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--backend", request.param)


def complete(client: Client, code: str, **parts: object) -> list[str]:
    return client.ask("complete_request", {"code": code, "cursor_pos": len(code)}, **parts)["matches"]  # type: ignore[arg-type]


def test_a_variable_that_a_cell_sets_is_seen(client: Client) -> None:
    client.run(PROXY)
    client.run("variable.set({'first': 1})")
    assert complete(client, "proxy.") == ["first"]
    client.run("variable.set({'second': 2})")
    assert complete(client, "proxy.") == ["second"]
    assert complete(client, "proxy.", channel="control") == ["second"]
    found = client.ask("inspect_request", {"code": "proxy", "cursor_pos": 5, "detail_level": 0})
    assert "proxy of {'second': 2}" in found["data"]["text/plain"]


def test_it_is_seen_while_a_cell_runs(client: Client) -> None:
    client.run(PROXY)
    msg_id = client.start("variable.set({'running': 1})\nprint('started', flush=True)\nanswer = input()")
    assert complete(client, "proxy.", channel="control") == ["running"]
    client.answer("", next(client.prompts()))
    client.finish(msg_id)


def test_what_completion_sets_is_not_seen_by_cells(client: Client) -> None:
    client.run(PROXY)
    client.run(
        "variable.set({'cell': 1})\nclass Setter:\n    def __dir__(self): variable.set({'lost': 1}); return ['x']"
    )
    client.run("setter = Setter()")
    assert complete(client, "setter.") == ["x"]
    assert client.run("variable.get()").result == "{'cell': 1}"


def test_each_subshell_has_its_own(client: Client) -> None:
    client.run(PROXY)
    client.run("variable.set({'main': 1})")
    subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
    client.run("variable.set({'other': 1})", header={"subshell_id": subshell})
    assert complete(client, "proxy.", header={"subshell_id": subshell}) == ["other"]
    assert complete(client, "proxy.") == ["main"]
    client.ask("delete_subshell_request", {"subshell_id": subshell}, channel="control")


def test_completion_belongs_to_no_cell(client: Client) -> None:
    """What it shows is its own: it does not count as shown by the last cell."""
    client.run(
        "class Prints:\n    def __dir__(self):\n        print('from completion')\n        return ['x']\nprints = Prints()"
    )
    last = client.run("5").msg_id
    assert complete(client, "prints.") == ["x"]
    assert client.run("6").result == "6"
    assert not [m for m in client.published(last) if m["msg_type"] == "stream"]
