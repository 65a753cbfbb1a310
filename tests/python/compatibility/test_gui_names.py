"""The names that ``%gui`` and ``%matplotlib`` take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client

#: Names that need no event loop: matplotlib passes those of its web backends.
NO_LOOP = ("inline", "nbagg", "notebook", "webagg", "ipympl", "widget", "asyncio")


@pytest.mark.parametrize("name", [None, *NO_LOOP])
def test_what_needs_no_event_loop_is_selected(client: Client, name: str | None) -> None:
    """As with ipykernel, whose names they are."""
    run = client.run(f"get_ipython().enable_gui({name!r})\nget_ipython().active_eventloop")
    assert (run.status, run.result) == ("ok", None if name is None else repr(name))
    assert client.run(f"import ipykernel.eventloops; ipykernel.eventloops.enable_gui({name!r})").status == "ok"
    assert client.run(f"ipykernel.eventloops.enable_gui({name!r}, get_ipython().kernel)").status == "ok"


@pytest.mark.parametrize(
    "backend", ["inline", "agg", "notebook", "nbagg", "webagg", "svg", "module://matplotlib_inline.backend_inline"]
)
def test_matplotlib_takes_a_backend(client: Client, backend: str) -> None:
    # IPython keeps to the first one that has a name of its own.
    client.run("get_ipython().pylab_gui_select = None")
    run = client.run(f"%matplotlib {backend}")
    assert run.status == "ok", run.traceback
    assert (run.stdout, run.stderr) == ("", "")
    client.run("%matplotlib inline")


@pytest.mark.parametrize("name", ["tk", "qt", "nonsense"])
def test_an_event_loop_that_does_not_exist_is_refused(client: Client, name: str) -> None:
    run = client.run(f"get_ipython().enable_gui({name!r})")
    assert f"no event loop for {name!r}" in run.stderr + run.stdout
    error = client.run(f"import ipykernel.eventloops; ipykernel.eventloops.enable_gui({name!r})").error
    assert error["ename"] == "ValueError"


def test_a_library_registers_its_event_loop(client: Client) -> None:
    """Several do when they are imported; the loop itself cannot be selected yet."""
    run = client.run(
        "from ipykernel.eventloops import loop_map, register_integration\n"
        "@register_integration('own', 'other')\ndef loop(kernel): pass\n"
        "@loop.exit\ndef end(kernel): pass\n"
        "loop_map['own'] is loop_map['other'] is loop, loop.exit_hook is end"
    )
    assert run.result == "(True, True)"
    assert "no event loop for 'own'" in client.run("get_ipython().enable_gui('own')").stderr
    client.run("del loop_map['own'], loop_map['other']")
