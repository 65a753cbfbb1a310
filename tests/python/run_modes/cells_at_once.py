"""Helpers: cells that run until they are released, and waits for the ends of many cells."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from support import Deadline, Run, parent_id

if TYPE_CHECKING:
    from support import Client, Message


class Held:
    """A cell in the main shell's queue that goes on until it is released."""

    def __init__(self, client: Client, wait: str) -> None:
        self._client = client
        client.run("import threading, callboard\nheld, gate = threading.Event(), callboard.Pending()")
        self.msg_id = client.start(f"print('started')\n{wait}")

    def is_running(self) -> bool:
        return not self._client.replied(self.msg_id)

    def release(self) -> Run:
        """Lets it end. Returns what came of it."""
        self._client.run("held.set(), gate.set_result(None)", channel="control")
        return self._client.finish(self.msg_id)


WAITS = {
    "await": "await gate",
    "block": "held.wait()",
    "compute": "while not held.is_set(): pass",
}


def finish_all(client: Client, msg_ids: list[str], timeout: float = 100) -> dict[str, Run]:
    """Waits for the ends of many cells, and looks at each message once."""
    left, deadline = set(msg_ids), Deadline(timeout)
    messages: dict[str | None, list[Message]] = defaultdict(list)
    seen = 0
    while True:
        for message in client.log[seen:]:
            messages[parent_id(message)].append(message)
            if message["content"].get("execution_state") == "idle":
                left.discard(parent_id(message) or "")
        seen = len(client.log)
        if not left:
            break
        client._receive("iopub", deadline, f"the idle of {len(left)} cells")
    replies: dict[str | None, Any] = {}
    while not replies.keys() >= set(msg_ids):
        replies = {parent_id(reply): reply["content"] for reply in client.replies()}
        if not replies.keys() >= set(msg_ids):
            client._receive("shell", deadline, "the replies")
    return {msg_id: Run(msg_id, replies[msg_id], messages[msg_id]) for msg_id in msg_ids}
