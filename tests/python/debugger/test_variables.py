"""What the debugger shows of variables."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dap import Dap
    from support import Client

CODE = "def shows(x):\n    items = list(range(300))\n    table = {'a': 1}\n    return x\nshows('text')"


def at_stop(debug: Dap, code: str, line: int) -> tuple[str, int, int]:
    """Runs a cell to this line. Returns its request, its thread and its frame."""
    debug.break_in(code, line)
    msg_id = debug.client.execute(code)
    thread = debug.stopped("breakpoint")
    return msg_id, thread, debug.frames(thread)[0]["id"]


# -- between cells -------------------------------------------------------------------------------------


@pytest.fixture
def names(client: Client) -> None:
    client.run("%reset -f")


@pytest.mark.usefixtures("names")
def test_the_users_variables(off: Dap) -> None:
    off.client.run("number, text, items, table = 5, 'abc', [1, [2]], {'key': 'value'}\nimport os\nnumber")
    off.client.run("number")
    shown = {each["name"]: each for each in off.do("inspectVariables")["variables"]}
    assert set(shown) == {"number", "text", "items", "table", "os"}
    assert (shown["number"]["value"], shown["number"]["type"]) == ("5", "int")
    assert shown["number"]["variablesReference"] == 0
    assert shown["text"]["value"] == "'abc'"
    members = off.do("variables", variablesReference=shown["items"]["variablesReference"])["variables"]
    assert [each["value"] for each in members] == ["1", "[2]"]
    inner = off.do("variables", variablesReference=members[1]["variablesReference"])["variables"]
    assert [each["value"] for each in inner] == ["2"]
    (item,) = off.do("variables", variablesReference=shown["table"]["variablesReference"])["variables"]
    assert (item["name"], item["value"]) == ("'key'", "'value'")


@pytest.mark.usefixtures("names")
def test_ten_million_items_and_a_slow_repr_hold_up_nothing(off: Dap) -> None:
    client = off.client
    client.run(
        "import time\nclass Slow:\n    def __repr__(self):\n        time.sleep(2)\n        return 'slow at last'\n"
        "slow, many = Slow(), list(range(10_000_000))"
    )
    content = {"type": "request", "seq": 1, "command": "inspectVariables"}
    asked = client.send("debug_request", content, channel="control")
    begin = time.monotonic()
    assert client.ask("kernel_info_request", channel="control")["status"] == "ok"
    assert "slow" in client.ask("complete_request", {"code": "slo", "cursor_pos": 3})["matches"]
    assert time.monotonic() - begin < 1.5
    variables = client.reply(asked, "control")["content"]["body"]["variables"]
    shown = {each["name"]: each for each in variables}
    assert shown["slow"]["value"] == "slow at last"
    assert len(shown["many"]["value"]) < 1000
    assert shown["many"]["indexedVariables"] == 10_000_000
    reference = shown["many"]["variablesReference"]
    assert len(off.do("variables", variablesReference=reference)["variables"]) == 100
    page = off.do("variables", variablesReference=reference, start=9_999_998, count=100)["variables"]
    assert [each["value"] for each in page] == ["9999998", "9999999"]
    client.run("del slow, many")


@pytest.mark.usefixtures("names")
def test_reprs_that_fail(off: Dap) -> None:
    off.client.run(
        "class Wrong:\n    def __repr__(self): raise ValueError('no')\n"
        "class Attribute:\n    def __init__(self): self.inner = Wrong()\n    @property\n    def bad(self): 1/0\n"
        "wrong, attribute, recursive = Wrong(), Attribute(), []\nrecursive.append(recursive)\n"
        "long = 'x' * 10_000_000\nhuge = 10 ** 100_000"
    )
    shown = {each["name"]: each for each in off.do("inspectVariables")["variables"]}
    assert "Wrong" in shown["wrong"]["value"]
    assert "..." in shown["recursive"]["value"]
    assert len(shown["long"]["value"]) < 1000
    assert len(shown["huge"]["value"]) < 1000
    off.do("variables", variablesReference=shown["attribute"]["variablesReference"])


def test_a_variable_as_it_is_displayed(off: Dap) -> None:
    off.client.run("class Rich:\n    def _repr_html_(self): return '<b>rich</b>'\nrich = Rich()")
    assert off.do("richInspectVariables", variableName="rich")["data"]["text/html"] == "<b>rich</b>"
    assert off.do("richInspectVariables", variableName="special variables")["data"] == {}
    assert not off.ask("richInspectVariables", variableName="no_such_variable")["success"]


def test_modules(off: Dap) -> None:
    found = off.do("modules")
    assert found["totalModules"] == len(found["modules"]) > 100
    assert {"id", "name", "path"} <= set(found["modules"][0])
    page = off.do("modules", startModule=3, moduleCount=5)["modules"]
    assert page == found["modules"][3:8]


# -- at a stop -----------------------------------------------------------------------------------------


def test_variables_at_a_stop(debug: Dap) -> None:
    msg_id, thread, frame = at_stop(debug, CODE, 4)
    scopes = {each["name"]: each for each in debug.do("scopes", frameId=frame)["scopes"]}
    assert {"Locals", "Globals"} <= set(scopes)
    variables = debug.do("variables", variablesReference=scopes["Locals"]["variablesReference"])["variables"]
    shown = {each["name"]: each for each in variables}
    assert shown["x"]["value"] == "'text'"
    page = debug.do("variables", variablesReference=shown["items"]["variablesReference"], start=0, count=10)
    assert page["variables"]
    set_ = debug.do(
        "setVariable", variablesReference=scopes["Locals"]["variablesReference"], name="x", value="'changed'"
    )
    assert set_["value"] == "'changed'"
    debug.go_on(thread)
    assert debug.client.finish(msg_id).result == "'changed'"


def test_what_is_displayed_at_a_stop(debug: Dap) -> None:
    code = "def rich():\n    from IPython.display import HTML\n    local = HTML('<i>\"local\"</i>\\n\u00e9')\n    return 1\nrich()"
    msg_id, thread, frame = at_stop(debug, code, 4)
    body = debug.do("richInspectVariables", variableName="local", frameId=frame)
    assert body["data"]["text/html"] == '<i>"local"</i>\n\u00e9'
    assert body["metadata"] == {}
    assert not debug.ask("richInspectVariables", variableName="nowhere", frameId=frame)["success"]
    debug.go_on(thread)
    debug.client.finish(msg_id)


def test_a_local_variable_becomes_a_global_one(debug: Dap) -> None:
    msg_id, thread, frame = at_stop(debug, CODE, 4)
    debug.do("copyToGlobals", srcVariableName="table", dstVariableName="copied", srcFrameId=frame)
    assert not debug.ask("copyToGlobals", srcVariableName="table", dstVariableName="a'b", srcFrameId=frame)["success"]
    debug.go_on(thread)
    debug.client.finish(msg_id)
    assert debug.client.run("copied").result == "{'a': 1}"


def test_answers_of_any_size(debug: Dap) -> None:
    code = "def large():\n    text = 'Content-Length: 5\\r\\n\\r\\n' * 500_000\n    return len(text)\nlarge()"
    msg_id, thread, _ = at_stop(debug, code, 3)
    shown = debug.evaluate(thread, "text", context="clipboard")
    assert len(shown) > 10_000_000
    assert shown.count("Content-Length: 5") == 500_000
    debug.go_on(thread)
    assert debug.client.finish(msg_id).result == "10500000"


def test_completions_at_a_stop(debug: Dap) -> None:
    msg_id, thread, frame = at_stop(debug, CODE, 4)
    found: list[dict[str, Any]] = debug.do("completions", text="ite", column=4, frameId=frame)["targets"]
    assert "items" in [each["label"] for each in found]
    debug.go_on(thread)
    debug.client.finish(msg_id)


def test_the_console_evaluates_statements(debug: Dap) -> None:
    msg_id, thread, _ = at_stop(debug, CODE, 4)
    debug.evaluate(thread, "x = 'from the console'")
    failed = debug.ask("evaluate", expression="1/0", frameId=debug.frames(thread)[0]["id"], context="repl")
    assert not failed["success"]
    assert "ZeroDivisionError" in failed["message"]
    debug.go_on(thread)
    assert debug.client.finish(msg_id).result == "'from the console'"
