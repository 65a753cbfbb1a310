#!/usr/bin/env python3
"""Writes the seed corpora of the fuzz targets: real messages, and messages with one flaw. See README.md."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
KEY = b"key"

#: The contents that clients send, in the order of `SENT` in src/properties.rs: the first one stands for `a`.
CONTENTS: list[tuple[str, list[object]]] = [
    (
        "execute_request",
        [
            {
                "code": "# thread name='Solar panel' backend=trio\nprint(1)",
                "silent": False,
                "store_history": True,
                "user_expressions": {"a": "1 + 1"},
                "allow_stdin": True,
                "stop_on_error": None,
            },
            {"code": "# task\n", "silent": True, "run_mode": "task", "tags": ["thread"]},
        ],
    ),
    ("inspect_request", [{"code": "zip", "cursor_pos": 3, "detail_level": 1, "omit_sections": ["source"]}]),
    ("complete_request", [{"code": "\U0001f980.is", "cursor_pos": -1}]),
    (
        "history_request",
        [
            {"hist_access_type": "tail", "n": 10, "raw": True, "output": False},
            {"hist_access_type": "range", "session": -1, "start": 2, "stop": None},
            {"hist_access_type": "search", "pattern": "imp*", "n": 9223372036854775807, "unique": True},
        ],
    ),
    ("is_complete_request", [{"code": "for i in range(5):"}]),
    ("connect_request", [{}]),
    ("comm_info_request", [{"target_name": "jupyter.widget"}]),
    ("kernel_info_request", [{}]),
    ("shutdown_request", [{"restart": True}, {"restart": None}]),
    ("interrupt_request", [{}]),
    ("debug_request", [{"type": "request", "seq": 1, "command": "initialize", "arguments": {"a": [1.5e3]}}]),
    ("create_subshell_request", [{}]),
    ("delete_subshell_request", [{"subshell_id": "1ac71702-5b81-4eb6-a109-a8f05bd25269"}]),
    ("list_subshell_request", [{}]),
    ("usage_request", [{}]),
    ("comm_open", [{"comm_id": "a", "target_name": "jupyter.widget", "target_module": None, "data": {"b": []}}]),
    ("comm_msg", [{"comm_id": "a", "data": {"method": "update", "state": {}, "buffer_paths": [["x", 0]]}}]),
    ("comm_close", [{"comm_id": "a"}]),
    ("input_reply", [{"value": "yes\n", "status": "ok"}]),
]

RUN_MODES = [
    "queue",
    "task",
    "thread",
    "# task\n1 + 1",
    "##task",
    "# thread safety matters",
    'thread name="My thread" backend=trio',
    "thread name='it'\"'\"'s' use_uvloop=false",
    "# thread backend=asyncio use_uvloop=True\nawait x",
    "thread nam=x",
    "thread name=",
    "thread name='x",
    '{"run_mode": "thread name=meta", "tags": ["x", 1, "task"]}',
    '{"tags": ["# thread name=tag"]}',
    '{"run_mode": {"mode": "task"}}',
]


def header(msg_type: str, **more: object) -> dict[str, object]:
    """A header as jupyter_client makes it."""
    return {
        "msg_id": "0b0e-1_7_0",
        "msg_type": msg_type,
        "username": "user",
        "session": "0b0e-1",
        "date": "2026-01-01T00:00:00.000000Z",
        "version": "5.4",
        **more,
    }


def message(header: object, content: object, parent: object = None, metadata: object = None) -> bytes:
    """Signed frames, each in its line."""
    dicts = [json.dumps(part, ensure_ascii=False).encode() for part in (header, parent or {}, metadata or {}, content)]
    signature = hmac.new(KEY, b"".join(dicts), hashlib.sha256).hexdigest().encode()
    return b"\n".join([b"client", b"<IDS|MSG>", signature, *dicts])


def write(target: str, name: str, data: bytes | str) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def main() -> None:
    for number, (msg_type, contents) in enumerate(CONTENTS):
        for at, content in enumerate(contents):
            text = json.dumps(content, ensure_ascii=False)
            write("contents", f"{msg_type}_{at}", chr(ord("a") + number) + text)
    write("contents", "unknown_request", 'unknown_request\n{"any": [{}, null]}')
    write("contents", "no_object", 'a["1 + 1", false]')
    write("contents", "wrong_type", 'a{"code": "", "silent": "no"}')

    headers = {
        "usual": header("execute_request"),
        "least": {"msg_id": "1", "msg_type": "kernel_info_request"},
        "subshell": header("execute_request", subshell_id="1ac71702", run_mode="thread name=a"),
        "run_mode_object": header("execute_request", subshell_id=None, run_mode={"a": [1]}),
        "subshell_number": header("execute_request", subshell_id=3),
        "unknown": header("\U0001f980_request", extra={"deep": [[[[]]]]}),
        "list": ["1", "status"],
    }
    for name, content in headers.items():
        write("headers", name, json.dumps(content, ensure_ascii=False))
    write("headers", "escapes", r'{"msg_id":"é😀\ud800\"[{","msg_type":"a","n":1e400}')
    write("headers", "not_text", b'{"msg_id":"1","msg_type":"a","x":"\xff"}')

    good = message(header("execute_request"), {"code": "1"}, metadata={"tags": ["task"]})
    write("frames", "execute", good)
    write("frames", "buffers", message(header("comm_msg"), {"comm_id": "a", "data": {}}) + b"\nbuffer\n\nanother")
    write("frames", "answer", message(header("input_reply"), {"value": ""}, parent=header("input_request")))
    write("frames", "unsigned", good.replace(good.split(b"\n")[2], b""))
    write("frames", "wrong_key", good.replace(good.split(b"\n")[2], b"0" * 64))
    write("frames", "half", good[: len(good) // 2])
    write("frames", "twice", good + b"\n" + good)
    write("frames", "none", "client\nanother\n")

    for at, text in enumerate(RUN_MODES):
        write("run_modes", f"{at:02}", text)


if __name__ == "__main__":
    main()
