"""A client of the debugger, as JupyterLab and VS Code are: it speaks the Debug Adapter Protocol in `debug_request`s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support import Deadline

if TYPE_CHECKING:
    from support import Client, Message

#: Seconds within which something has to happen.
PATIENCE = 30

INITIALIZE = {
    "clientID": "vscode",
    "adapterID": "",
    "pathFormat": "path",
    "linesStartAt1": True,
    "columnsStartAt1": True,
    "supportsVariableType": True,
    "supportsVariablePaging": True,
    "supportsRunInTerminalRequest": True,
    "locale": "en",
}


class Dap:
    """Debugs a kernel through a client of it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._seq = 0
        self._seen: set[str] = set()

    # -- requests ----------------------------------------------------------------------------------------

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Sends a request. Returns the response, after the checks that each has to pass."""
        self._seq += 1
        content = {"type": "request", "seq": self._seq, "command": command, "arguments": arguments}
        response: dict[str, Any] = self.client.ask("debug_request", content, channel="control")
        assert response["type"] == "response"
        assert response["request_seq"] == self._seq
        assert response["command"] == command
        assert isinstance(response["success"], bool)
        return response

    def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Sends a request that has to succeed. Returns the body of the response."""
        response = self.ask(command, **arguments)
        assert response["success"], response
        return response["body"]

    def attach(self, **arguments: Any) -> Dap:
        """Attaches as JupyterLab does."""
        self.do("initialize", **INITIALIZE)
        self.do("attach", **arguments)
        return self

    def detach(self) -> None:
        self.do("disconnect", restart=False, terminateDebuggee=True)

    def info(self) -> dict[str, Any]:
        return self.do("debugInfo")

    def cell(self, code: str) -> str:
        """The file of a cell."""
        path: str = self.do("dumpCell", code=code)["sourcePath"]
        return path

    def break_at(self, path: str, *lines: int, **more: Any) -> list[dict[str, Any]]:
        """Sets the breakpoints of a file."""
        breakpoints = [{"line": line, **more} for line in lines]
        found: list[dict[str, Any]] = self.do(
            "setBreakpoints", source={"path": path}, breakpoints=breakpoints, lines=list(lines), sourceModified=False
        )["breakpoints"]
        return found

    def break_in(self, code: str, *lines: int, **more: Any) -> str:
        """Sets the breakpoints of a cell. Returns its file."""
        path = self.cell(code)
        assert all(each["verified"] for each in self.break_at(path, *lines, **more))
        return path

    # -- stops -------------------------------------------------------------------------------------------

    def event(self, name: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Waits for the next event of this name. Returns its body."""

        def is_it(message: Message) -> bool:
            return (
                message["msg_type"] == "debug_event"
                and message["content"]["event"] == name
                and message["header"]["msg_id"] not in self._seen
            )

        message = self.client.wait(is_it, timeout, f"the event {name}")
        self._seen.add(message["header"]["msg_id"])
        body: dict[str, Any] = message["content"].get("body") or {}
        return body

    def stopped(self, reason: str | None = None) -> int:
        """Waits until a thread stands. Returns its number."""
        body = self.event("stopped")
        assert reason is None or body["reason"] == reason, body
        thread: int = body["threadId"]
        return thread

    def stopped_or_ended(self, msg_id: str) -> int | None:
        """Waits until a thread stands, and returns its number; or until a cell is idle."""

        def is_it(message: Message) -> bool:
            content = message["content"]
            if message["msg_type"] == "debug_event":
                return content["event"] == "stopped" and message["header"]["msg_id"] not in self._seen
            return content.get("execution_state") == "idle" and message["parent_header"].get("msg_id") == msg_id

        message = self.client.wait(is_it, PATIENCE, "a stop, or the end of the cell")
        if message["msg_type"] != "debug_event":
            return None
        self._seen.add(message["header"]["msg_id"])
        thread: int = message["content"]["body"]["threadId"]
        return thread

    def nothing_stands(self) -> None:
        """Waits until no thread stands: a cell may have ended before the debugger says that it goes on."""
        deadline = Deadline()
        while stands := self.info()["stoppedThreads"]:
            deadline.left(f"{stands} to go on")

    def frames(self, thread: int) -> list[dict[str, Any]]:
        """The stack of a thread that stands, the innermost frame first."""
        found: list[dict[str, Any]] = self.do("stackTrace", threadId=thread)["stackFrames"]
        return found

    def where(self, thread: int) -> tuple[str, int]:
        """The function and the line of a thread that stands."""
        frame = self.frames(thread)[0]
        return frame["name"], frame["line"]

    def locals(self, thread: int) -> dict[str, str]:
        """The local variables of a thread that stands."""
        (scope, *_) = self.do("scopes", frameId=self.frames(thread)[0]["id"])["scopes"]
        variables = self.do("variables", variablesReference=scope["variablesReference"])["variables"]
        return {each["name"]: each["value"] for each in variables}

    def evaluate(self, thread: int, expression: str, context: str = "repl") -> str:
        frame = self.frames(thread)[0]["id"]
        result: str = self.do("evaluate", expression=expression, frameId=frame, context=context)["result"]
        return result

    def go_on(self, thread: int) -> None:
        self.do("continue", threadId=thread)
