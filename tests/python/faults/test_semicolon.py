"""A semicolon at the end of a cell hides its value; one in the text of a magic says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client

MAGIC = (
    "from IPython.core.magic import register_cell_magic, register_line_cell_magic\n"
    "@register_cell_magic\ndef ret(line, cell): return 5\n"
    "@register_line_cell_magic\nasync def later(line, cell=None): return 5"
)


@pytest.mark.parametrize(
    "code",
    [
        "%%ret\nselect 1;",
        "%%ret\n  select 1;\n -- indented;",
        "%%ret\nselect 1; -- don't;",
        '%%ret\n"""a;',
        "%%ret\n(;",
        "%%ret x;\ny",
        "%%later\nselect 1;",
        "%later x;",
        "x = 5; x",
        "5 # ;",
        "'a;' and 5",
        "5\n# a comment;\n",
    ],
)
def test_the_value_is_shown(client: Client, code: str) -> None:
    client.run(MAGIC)
    run = client.run(code)
    assert (run.status, run.result, run.contents("error")) == ("ok", "5", [])


@pytest.mark.parametrize(
    "code",
    [
        "5;",
        "5; # x",
        "5;\n\n",
        "%time 5;",
        "%%time\n5;",
        "x = 5\nx;",
        "await later_();",
        "get_ipython().getoutput('ls');",
    ],
)
def test_the_value_is_hidden(client: Client, code: str) -> None:
    client.run("async def later_(): return 5")
    run = client.run(code)
    assert (run.status, run.result) == ("ok", None)


def test_a_cell_in_a_cell_is_judged_by_its_own_code(client: Client) -> None:
    run = client.run("ip = get_ipython()\nip.run_cell('5;')\nip.run_cell('6');")
    assert [content["data"]["text/plain"] for content in run.contents("execute_result")] == ["6"]
    run = client.run("result = ip.run_cell('6');\nresult.result")
    assert [content["data"]["text/plain"] for content in run.contents("execute_result")] == ["6", "6"]


@pytest.mark.parametrize("line", ["# task", "# thread"])
def test_cells_beside_the_queue(client: Client, line: str) -> None:
    assert client.run(f"{line}\n5;").result is None
    assert client.run(f"{line}\n5").result == "5"
