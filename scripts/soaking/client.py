"""A client that counts what it sends and what comes back."""

from __future__ import annotations

import contextlib
import queue
import time
from typing import TYPE_CHECKING, Any

from jupyter_client import BlockingKernelClient

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    Message = dict[str, Any]

#: The longest that anything may take, seconds.
TIMEOUT = 60.0


class KernelError(Exception):
    """The kernel did not do what was asked of it."""


class Client:
    """A real client of the kernel, which counts what it sends and what comes back."""

    def __init__(self, connection_file: str, counts: Counter[str]) -> None:
        self._kc = BlockingKernelClient()
        self._kc.load_connection_file(connection_file)
        self._kc.start_channels(hb=False)
        self._counts = counts
        #: The newest error in a reply.
        self.last_error = ""
        self._replies: dict[str, Message] = {}
        self._published: dict[str | None, list[Message]] = {}
        self._wait("iopub", lambda: any(m["msg_type"] == "iopub_welcome" for m in self._published.get(None, [])))

    def close(self) -> None:
        for name in ("shell", "control", "stdin", "iopub"):
            getattr(self._kc, f"{name}_channel").stop()
        self._kc.context.destroy(linger=1000)

    def send(self, msg_type: str, content: dict[str, Any], channel: str = "shell", **header: Any) -> str:
        """Sends a request; returns its id."""
        message = self._kc.session.msg(msg_type, content)
        message["header"].update(header)
        self._kc.session.send(getattr(self._kc, f"{channel}_channel").socket, message)
        self._counts["requests"] += 1
        return message["header"]["msg_id"]

    def execute(self, code: str, **header: Any) -> str:
        """Sends a cell; returns its id. The history stays as it is: that of the user may grow."""
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": True, "stop_on_error": True}
        return self.send("execute_request", content, **header)

    def reply(self, msg_id: str, channel: str = "shell") -> dict[str, Any]:
        """Waits for the reply to a request and for its idle; returns the content of the reply."""
        self._wait(channel, lambda: msg_id in self._replies)
        self._counts["replies"] += 1
        self.idle(msg_id)
        content = self._replies.pop(msg_id)["content"]
        if content["status"] == "error":
            # Reported if the piece of work fails because of it.
            self.last_error = f"{content['ename']}: {content['evalue']}"
        return content

    def ask(self, msg_type: str, content: dict[str, Any], channel: str = "shell") -> dict[str, Any]:
        """The answer to a request."""
        msg_id = self.send(msg_type, content, channel)
        reply = self.reply(msg_id, channel)
        self.forget(msg_id)
        return reply

    def idle(self, msg_id: str) -> None:
        """Waits for the idle status of a request."""

        def is_idle() -> bool:
            return any(m["content"].get("execution_state") == "idle" for m in self._published.get(msg_id, []))

        self._wait("iopub", is_idle)
        self._counts["idles"] += 1

    def text(self, msg_id: str, name: str = "stdout") -> str:
        """The text that a cell has printed so far."""
        streams = [m["content"] for m in self._published.get(msg_id, []) if m["msg_type"] == "stream"]
        return "".join(content["text"] for content in streams if content["name"] == name)

    def wait_text(self, text: str, msg_id: str) -> None:
        """Waits until a cell has printed this."""
        self._wait("iopub", lambda: text in self.text(msg_id))

    def contents(self, msg_id: str, msg_type: str) -> list[dict[str, Any]]:
        """The contents of the messages of this type published for a request."""
        return [m["content"] for m in self._published.get(msg_id, []) if m["msg_type"] == msg_type]

    def answer(self, value: str) -> None:
        """Waits for a prompt and answers it."""
        prompt = self._kc.stdin_channel.get_msg(timeout=TIMEOUT)
        answer = self._kc.session.msg("input_reply", {"value": value}, parent=prompt["header"])
        self._kc.stdin_channel.send(answer)

    def forget(self, *msg_ids: str) -> None:
        """Drops what was published for these and for other clients' requests."""
        for msg_id in msg_ids:
            if msg_id in self._replies:
                raise KernelError(f"a second reply to {msg_id}")
        self._published.clear()

    def _wait(self, channel: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise KernelError(f"waited {TIMEOUT:.0f} s in vain for a message on {channel}")
            with contextlib.suppress(queue.Empty):
                message = getattr(self._kc, f"{channel}_channel").get_msg(timeout=min(left, 1))
                parent = message["parent_header"].get("msg_id")
                if channel == "iopub":
                    self._published.setdefault(parent, []).append(message)
                elif parent in self._replies:
                    raise KernelError(f"a second reply to {parent}")
                else:
                    self._replies[parent] = message


def expect(what: str, got: object, wanted: object) -> None:
    """Raises `KernelError` unless both are equal."""
    if got != wanted:
        raise KernelError(f"{what}: got {got!r}, wanted {wanted!r}")
