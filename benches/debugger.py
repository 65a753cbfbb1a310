"""What the debugger costs: calls of an empty Python function before attaching, attached, and after detaching.

    python benches/debugger.py

For the Python that runs it, with callboard and debugpy installed. Prints one line: millions of calls a second on the
main thread and on the thread of a `# thread` cell, the best of several rounds.
"""

from __future__ import annotations

import sys
from typing import Any

from jupyter_client.manager import KernelManager

ROUNDS = 7
COUNT = """
import time
def calls():
    def called(): pass
    begin = time.perf_counter()
    for _ in range(300_000): called()
    return 0.3 / (time.perf_counter() - begin)
"""


class Kernel:
    """A kernel and its client."""

    def __init__(self) -> None:
        self._manager = KernelManager(kernel_name="callboard")
        self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(60)
        self._seq = 0
        self._run(COUNT)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def _run(self, code: str, **expressions: str) -> Any:
        reply = self._client.execute(code, user_expressions=expressions, reply=True, timeout=120)
        content = reply["content"]
        assert content["status"] == "ok", content
        return {name: shown["data"]["text/plain"] for name, shown in content["user_expressions"].items()}

    def debug(self, command: str, **arguments: Any) -> None:
        self._seq += 1
        content = {"type": "request", "seq": self._seq, "command": command, "arguments": arguments}
        message = self._client.session.msg("debug_request", content)
        self._client.control_channel.send(message)
        while True:
            reply = self._client.get_control_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                assert reply["content"]["success"], reply["content"]
                return

    def measure(self) -> tuple[float, float]:
        """Millions of calls a second: on the main thread, and on another one."""
        main = thread = 0.0
        for _ in range(ROUNDS):
            main = max(main, float(self._run("found = calls()", found="found")["found"]))
            thread = max(thread, float(self._run("# thread name=other\nfound = calls()", found="found")["found"]))
        return main, thread


def main() -> None:
    kernel = Kernel()
    try:
        shown = []
        before = kernel.measure()
        kernel.debug("initialize", adapterID="bench")
        kernel.debug("attach")
        attached = kernel.measure()
        kernel.debug("disconnect")
        after = kernel.measure()
        for measured in (before, attached, after):
            shown.append(" / ".join(f"{speed:.1f}" for speed in measured))
    finally:
        kernel.close()
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"| {version} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
