"""Subshells as a client sees them, and cells that keep one busy."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import Client, Run


class Subshell:
    """A subshell as a client sees it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        reply = client.ask("create_subshell_request", channel="control")
        assert reply["status"] == "ok"
        self.id = reply["subshell_id"]

    @property
    def header(self) -> dict[str, Any]:
        return {"subshell_id": self.id}

    def execute(self, code: str, **options: Any) -> str:
        return self.client.execute(code, header=self.header, **options)

    def start(self, code: str) -> str:
        return self.client.start(code, header=self.header)

    def run(self, code: str, **options: Any) -> Run:
        return self.client.run(code, header=self.header, **options)

    def ask(self, msg_type: str, content: dict[str, Any]) -> dict[str, Any]:
        return self.client.ask(msg_type, content, header=self.header)

    def delete(self) -> dict[str, Any]:
        return self.client.ask("delete_subshell_request", {"subshell_id": self.id}, channel="control")


def ids(client: Client) -> list[str]:
    """The subshells there are."""
    reply = client.ask("list_subshell_request", channel="control")
    assert reply["status"] == "ok"
    return reply["subshell_id"]


@contextlib.contextmanager
def blocked(client: Client, code: str = "held.wait()") -> Iterator[str]:
    """Keeps the main shell busy with this code during the block. Gives the id of its cell."""
    client.run("import threading\nheld = threading.Event()")
    msg_id = client.start(f"print('started')\n{code}")
    try:
        yield msg_id
        assert not client.replied(msg_id)
    finally:
        client.run("held.set()", channel="control")
        assert client.finish(msg_id).status == "ok"


BUSY = {
    "compute": "while True: pass",
    "await": "import callboard\nawait callboard.Pending()",
    "sleep": {"asyncio": "import asyncio\nawait asyncio.sleep(1000)", "trio": "import trio\nawait trio.sleep(1000)"},
    "busy task": {
        "asyncio": "import asyncio\nwhile True: await asyncio.sleep(0)",
        "trio": "import trio\nwhile True: await trio.sleep(0)",
    },
}


def busy(kind: str, backend: str) -> str:
    code = BUSY[kind]
    return code if isinstance(code, str) else code[backend]
