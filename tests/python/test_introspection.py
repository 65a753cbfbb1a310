"""Completion, inspection and history, also answered while a cell runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from support import without_colours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import Client, Kernel

#: States of a running cell: blocked outside of Python, blocked in Python, awaiting.
RUNNING = {
    "sleep": "import time\nprint('started', flush=True)\ntime.sleep(60)",
    "loop": "print('started', flush=True)\nwhile True: pass",
    "await": "import asyncio\nprint('started', flush=True)\nawait asyncio.Event().wait()",
}


@pytest.fixture(params=["idle", *RUNNING])
def asking(request: pytest.FixtureRequest, client: Client) -> Iterator[Client]:
    """A client of a kernel that is idle, or that runs an endless cell."""
    client.run(
        "prepared_name = {'key one': 1}\nimport json\ndef prepared_function(argument: int) -> str: 'What it does.'"
    )
    if request.param == "idle":
        yield client
        return
    cell = client.start(RUNNING[request.param])
    yield client
    assert not client.replied(cell), "the answers have come while the cell was running"
    client.send("interrupt_request", channel="control")
    client.finish(cell)


def complete(client: Client, code: str, cursor: int | None = None) -> dict[str, Any]:
    content = {"code": code, "cursor_pos": len(code) if cursor is None else cursor}
    return client.ask("complete_request", content)


def test_names_are_completed(asking: Client) -> None:
    reply = complete(asking, "print(prepared_n")
    assert reply["status"] == "ok"
    assert reply["matches"] == ["prepared_name"]
    assert (reply["cursor_start"], reply["cursor_end"]) == (6, 16)


def test_completions_tell_their_type_and_signature(asking: Client) -> None:
    reply = complete(asking, "prepared_f")
    (kind,) = reply["metadata"]["_jupyter_types_experimental"]
    assert kind["text"] == "prepared_function"
    assert kind["type"] == "function"
    assert "argument" in kind["signature"]
    assert (kind["start"], kind["end"]) == (0, 10)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("json.du", {"dump", "dumps"}),
        ("prepared_name['", {"key one"}),
        ("import impor", {"importlib"}),
        ("from json import JSONDecodeE", {"JSONDecodeError"}),
        ("%timei", {"%timeit"}),
        ("%%capt", {"%%capture"}),
        ("x = 1\nx.bit_l", {"bit_length"}),
    ],
)
def test_all_kinds_of_things_are_completed(client: Client, code: str, expected: set[str]) -> None:
    client.run("prepared_name = {'key one': 1}\nimport json")
    assert expected <= set(complete(client, code)["matches"])


def test_completion_in_the_middle_replaces_only_the_word(client: Client) -> None:
    client.run("prepared_name = 1")
    code = "a = prepared_n + 1"
    reply = complete(client, code, cursor=14)
    assert reply["matches"] == ["prepared_name"]
    assert code[reply["cursor_start"] : reply["cursor_end"]] == "prepared_n"


def test_files_are_completed(client: Client, kernel: Kernel) -> None:
    (kernel.folder / "a_file_to_find.txt").write_text("")
    assert any("a_file_to_find.txt" in match for match in complete(client, "open('a_file_to")["matches"])


def test_nothing_to_complete_is_no_error(client: Client) -> None:
    reply = complete(client, "no_such_name_anywhere")
    assert reply["status"] == "ok"
    assert reply["matches"] == []


@pytest.mark.parametrize(("level", "expected"), [(0, "What it does."), (1, "def prepared_function")])
def test_objects_are_inspected(asking: Client, level: int, expected: str) -> None:
    content = {"code": "prepared_function(1)", "cursor_pos": 5, "detail_level": level}
    reply = asking.ask("inspect_request", content)
    assert (reply["status"], reply["found"]) == ("ok", True)
    text = reply["data"]["text/plain"]
    assert expected in "".join(without_colours(text))
    assert "prepared_function(argument: int) -> str" in without_colours(text)


def test_inspection_finds_the_function_whose_arguments_are_typed(client: Client) -> None:
    client.run("import json")
    reply = client.ask("inspect_request", {"code": "json.dumps(", "cursor_pos": 11, "detail_level": 0})
    assert "Serialize" in reply["data"]["text/plain"]


def test_what_is_not_there_is_not_found(asking: Client) -> None:
    reply = asking.ask("inspect_request", {"code": "no_such_name", "cursor_pos": 3, "detail_level": 0})
    assert (reply["status"], reply["found"], reply["data"]) == ("ok", False, {})


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1 + 1", {"status": "complete"}),
        ("def f():", {"status": "incomplete", "indent": "    "}),
        ("def f():\n    return 1", {"status": "incomplete", "indent": "    "}),
        ("def f():\n    return 1\n", {"status": "complete"}),
        ("'''", {"status": "incomplete", "indent": ""}),
        ("await f()", {"status": "complete"}),
        ("%%bash", {"status": "incomplete", "indent": ""}),
        ("x = )", {"status": "invalid"}),
        ("", {"status": "complete"}),
    ],
)
def test_is_complete_tells_whether_code_is_complete(client: Client, code: str, expected: dict[str, str]) -> None:
    reply = client.ask("is_complete_request", {"code": code})
    if code == "def f():\n    return 1":
        # After a return, one level less is as good.
        reply.pop("indent")
        expected = {"status": "incomplete"}
    assert reply == expected


def test_is_complete_is_answered_while_a_cell_runs(asking: Client) -> None:
    assert asking.ask("is_complete_request", {"code": "1 + 1"})["status"] == "complete"


def history(client: Client, **content: Any) -> list[list[Any]]:
    reply = client.ask("history_request", {"raw": True, "output": False, **content})
    assert reply["status"] == "ok"
    return reply["history"]


def test_history_is_answered_while_a_cell_runs(asking: Client) -> None:
    entries = history(asking, hist_access_type="tail", n=3)
    assert any("prepared_function" in entry[2] for entry in entries)
    entries = history(asking, hist_access_type="search", pattern="*prepared_func*", n=3)
    assert any("prepared_function" in entry[2] for entry in entries)


def test_history_with_output_has_both(client: Client) -> None:
    client.run("'with output'")
    session, line, (source, output) = history(client, hist_access_type="tail", n=1, output=True)[0]
    assert source == "'with output'"
    assert output in ("'with output'", None), "written to the file only if IPython is configured so"
    (entry,) = history(client, hist_access_type="range", session=0, start=line, stop=line + 1, output=True)
    assert entry[2] == ["'with output'", "'with output'"]
    assert session > 0


def test_history_tells_raw_and_transformed_code(client: Client) -> None:
    client.run("%pwd")
    assert history(client, hist_access_type="tail", n=1)[0][2] == "%pwd"
    assert "run_line_magic" in history(client, hist_access_type="tail", n=1, raw=False)[0][2]


def test_history_goes_on_over_sessions(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    """Two kernels, one after the other, in the same IPython folder; and a restart."""
    shared = str(tmp_path / "shared-ipython")
    kernel = start_kernel(IPYTHONDIR=shared)
    with kernel.connect() as client:
        client.run("first_session = 1")
        client.run("marker_one = 'ä🎭'")
        first = history(client, hist_access_type="tail", n=1)[0][0]
    kernel.manager.restart_kernel()
    with kernel.connect() as client:
        client.run("second_session = 2")
        assert [entry[2] for entry in history(client, hist_access_type="tail", n=3)] == [
            "first_session = 1",
            "marker_one = 'ä🎭'",
            "second_session = 2",
        ]
        second = history(client, hist_access_type="tail", n=1)[0][0]
        assert second > first
        assert history(client, hist_access_type="range", session=first, start=1, stop=3) == [
            [first, 1, "first_session = 1"],
            [first, 2, "marker_one = 'ä🎭'"],
        ]
        assert history(client, hist_access_type="range", session=-1, start=2, stop=3)[0][2] == "marker_one = 'ä🎭'"
        # Lines of this session are found by its number too, and carry it.
        assert history(client, hist_access_type="range", session=second, start=1, stop=2) == [
            [second, 1, "second_session = 2"]
        ]
        found = history(client, hist_access_type="search", pattern="marker_*")
        assert [entry[2] for entry in found] == ["marker_one = 'ä🎭'"]
        client.run("marker_one = 'ä🎭'")
        assert len(history(client, hist_access_type="search", pattern="marker_*")) == 2
        assert len(history(client, hist_access_type="search", pattern="marker_*", unique=True)) == 1
        assert len(history(client, hist_access_type="search", pattern="*_*", n=2)) == 2
    kernel.manager.shutdown_kernel()
    with start_kernel(IPYTHONDIR=shared).connect() as client:
        lines = [entry[2] for entry in history(client, hist_access_type="tail", n=10)]
        assert lines[-4:] == ["first_session = 1", "marker_one = 'ä🎭'", "second_session = 2", "marker_one = 'ä🎭'"]


def test_a_history_file_that_cannot_be_used_does_not_stop_the_kernel(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    broken = tmp_path / "ipython" / "profile_default"
    os.makedirs(broken)
    (broken / "history.sqlite").write_bytes(b"this is no database" * 100)
    with start_kernel(IPYTHONDIR=str(tmp_path / "ipython")).connect() as client:
        assert client.run("1 + 1").result == "2"
        assert history(client, hist_access_type="tail", n=1)[0][2] == "1 + 1"
