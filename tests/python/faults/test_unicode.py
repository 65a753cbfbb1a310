"""What reaches a client can be saved: text that is no valid Unicode, and values that JSON does not have."""

from __future__ import annotations

import datetime
import decimal
import fractions
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from callboard.util.json import encode

if TYPE_CHECKING:
    from support import Client

#: U+FFFD, in the place of a lone surrogate.
MARK = "\N{REPLACEMENT CHARACTER}"


def saved(value: Any) -> str:
    """A value as a notebook is saved: fails for text that UTF-8 cannot carry."""
    return json.dumps(value, ensure_ascii=False).encode().decode()


@pytest.mark.parametrize(
    ("code", "msg_type"),
    [
        (r"display({'text/plain': '\udce9 a'}, raw=True)", "display_data"),
        (r"display({'text/plain': '', 'application/json': ['\ud800', {'b': '\udfff'}]}, raw=True)", "display_data"),
        (r"display({'text/plain': '', 'application/json': {'\udce9': 1}}, raw=True)", "display_data"),
        (r"display({'text/plain': ''}, raw=True, metadata={'a': '\udce9'})", "display_data"),
        (r"display({'text/plain': ''}, raw=True, display_id='\udce9')", "display_data"),
        (r"update_display({'text/plain': '\udce9'}, raw=True, display_id='a')", "update_display_data"),
        (r"display(HTML('<b>\ud800</b>'))", "display_data"),
        (r"get_ipython().display_pub.publish({'text/plain': '\udce9'})", "display_data"),
        (r"Odd()", "execute_result"),
        (r"print('\udce9')", "stream"),
        (r"print('\udce9', file=sys.stderr)", "stream"),
        (r"sys.stdout.buffer.write(b'\xe9\n');", "stream"),
        (r"os.write(1, b'\xe9\n');", "stream"),
        (r"warnings.warn('\udce9')", "stream"),
        (r"kernel.send_response(kernel.iopub_socket, 'stream', {'name': 'stdout', 'text': '\udce9'})", "stream"),
        (r"raise ValueError('\udce9')", "error"),
        (r"raise Odd.Error", "error"),
        (r"raise SyntaxError('\udce9', ('\udce9', 1, 1, '\udce9'))", "error"),
        (r"raise ExceptionGroup('\udce9', [ValueError('\udce9')])", "error"),
        (r"create_comm(target_name='\udce9', data={'\udce9': '\udce9'}, metadata={'a': '\udce9'});", "comm_open"),
        (r"create_comm(target_name='a').send({'a': '\udce9'})", "comm_msg"),
        (r"create_comm(target_name='a').close({'a': '\udce9'})", "comm_close"),
    ],
)
def test_what_a_cell_publishes_can_be_saved(client: Client, code: str, msg_type: str) -> None:
    client.run(
        "import os, sys, warnings\nkernel = get_ipython().kernel\nfrom comm import create_comm\nfrom IPython.display import HTML, update_display\n"
        "class Odd:\n"
        "    class Error(Exception):\n"
        "        def __str__(self): return '\\udce9'\n"
        "        __module__ = 'm\\udce9'\n"
        "    def __repr__(self): return '\\udce9'\n"
    )
    run = client.run(code)
    assert run.contents(msg_type), run
    # The header is the client's own part of the message, with dates that it has read.
    text = saved([[message["msg_type"], message["content"], message["metadata"]] for message in run.messages])
    assert MARK in text or r"\\udce9" in text or r"\\xe9" in text
    saved(run.reply)


@pytest.mark.parametrize("ident", ["None", r"'topic\udce9'"])
def test_the_type_of_a_message_can_be_saved(client: Client, ident: str) -> None:
    run = client.run(
        "kernel = get_ipython().kernel\n"
        rf"kernel.session.send(kernel.iopub_socket, 'kind\udce9', {{}}, kernel.get_parent(), {ident});"
    )
    assert run.reply["status"] == "ok", run
    assert [kind for kind in run.types if kind.startswith("kind")] == [f"kind{MARK}"]


def test_pairs_of_surrogates_become_characters(client: Client) -> None:
    run = client.run(r"display({'text/plain': 'a\ud83d\ude00b\ud83dc\uffffd'}, raw=True)")
    assert run.contents("display_data")[0]["data"] == {"text/plain": f"a\N{GRINNING FACE}b{MARK}c\uffffd"}


def test_keys_that_differ_stay_different(client: Client) -> None:
    run = client.run(r"display({'text/plain': '', 'application/json': {'\udc80': 1, '\udc81': 2}}, raw=True)")
    data = run.contents("display_data")[0]["data"]["application/json"]
    assert sorted(data.values()) == [1, 2]
    saved(data)


@pytest.mark.parametrize(
    "code", [r"get_ipython().set_next_input('\udce9')", r"from IPython.core import page; page.page('\udce9')"]
)
def test_payloads_can_be_saved(client: Client, code: str) -> None:
    reply = client.run(code).reply
    assert len(reply["payload"]) == 1
    assert MARK in saved(reply)


def test_values_of_user_expressions_can_be_saved(client: Client) -> None:
    client.run("class Odd:\n    def __repr__(self): return '\\udce9'")
    expressions = {"value": "Odd()", "error": r"(_ for _ in ()).throw(ValueError('\udce9'))"}
    reply = client.run("1", user_expressions=expressions).reply
    assert saved(reply["user_expressions"]["value"]).count(MARK) == 1
    assert reply["user_expressions"]["error"]["status"] == "error"
    assert MARK in saved(reply["user_expressions"]["error"])


def test_replies_to_editors_can_be_saved(client: Client) -> None:
    client.run(
        "class Odd:\n"
        "    def __dir__(self): return ['abc\\udce9']\n"
        "    def _ipython_key_completions_(self): return ['key\\udce9']\n"
        "odd = Odd()\n"
        "def function(): pass\n"
        "function.__doc__ = 'doc \\udce9'\n"
    )
    reply = client.ask("complete_request", {"code": "odd.ab", "cursor_pos": 6})
    assert saved(reply["matches"]) == f'["abc{MARK}"]'
    reply = client.ask("complete_request", {"code": "odd['k", "cursor_pos": 6})
    assert reply["status"] == "ok"
    saved(reply)
    reply = client.ask("inspect_request", {"code": "function", "cursor_pos": 1})
    assert f"doc {MARK}" in saved(reply)
    client.run("get_ipython().history_manager.store_output_cache = True")
    saved(client.ask("history_request", {"hist_access_type": "tail", "n": 50, "output": True, "raw": True}))


@pytest.mark.parametrize(
    ("code", "password"),
    [(r"input('name \udce9: ')", False), (r"__import__('getpass').getpass('name \udce9: ')", True)],
)
def test_a_prompt_can_be_shown(client: Client, code: str, password: bool) -> None:
    msg_id = client.execute(code)
    prompt = next(client.prompts())
    assert prompt["content"] == {"prompt": f"name {MARK}: ", "password": password}
    client.answer("me", prompt)
    assert client.finish(msg_id).result == "'me'"


def test_an_error_outside_of_a_cell_is_answered(client: Client) -> None:
    client.run(
        "def fail(*_args): raise ValueError('\\udce9')\n"
        "complete, get_ipython().Completer.completions = get_ipython().Completer.completions, fail"
    )
    try:
        reply = client.ask("complete_request", {"code": "a", "cursor_pos": 1})
        assert (reply["status"], reply["ename"], reply["evalue"]) == ("error", "ValueError", MARK)
        saved(reply)
    finally:
        client.run("get_ipython().Completer.completions = complete")


class Float(float):
    """As NumPy's, whose repr is another one."""

    def __repr__(self) -> str:
        return f"Float({float(self)})"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 1.5, None, True, "é"]}, {"a": [1, 1.5, None, True, "é"]}),
        ([math.nan, math.inf, -math.inf], ["nan", "inf", "-inf"]),
        ([Float(1.5), Float(math.nan)], [1.5, "nan"]),
        ({7: 1, None: 2, True: 3, 2.5: 4}, {"7": 1, "null": 2, "true": 3, "2.5": 4}),
        ({(1, 2): 1}, {"(1, 2)": 1}),
        ({math.nan: 1}, {"nan": 1}),
        (b"abc", "YWJj"),
        ({"a": {"b": [bytearray(b"abc"), memoryview(b"abc"), math.nan]}}, {"a": {"b": ["YWJj", "YWJj", "nan"]}}),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        ([datetime.date(2026, 1, 2), math.nan], ["2026-01-02", "nan"]),
        ([{1}, frozenset({2}), (3,), {"a": 4}.values(), {5: 6}.keys()], [[1], [2], [3], [4], [5]]),
        ({"a": math.nan}.values(), ["nan"]),
        (fractions.Fraction(1, 2), 0.5),
    ],
)
def test_a_value_is_converted(value: Any, expected: Any) -> None:
    assert json.loads(encode(value)) == expected


def test_a_value_that_cannot_be_converted_is_named() -> None:
    with pytest.raises(TypeError, match=r"Decimal cannot be sent as JSON: Decimal\('1.5'\)"):
        encode({"a": decimal.Decimal("1.5")})


def test_clean_text_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard.util.json.valid_text", None)
    monkeypatch.setattr("callboard.util.json._clean", None)
    text = "plain, é, \N{GRINNING FACE}, \x00\u2028"
    assert json.loads(encode({"text/plain": text, "n": 1.5})) == {"text/plain": text, "n": 1.5}
