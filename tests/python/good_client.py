"""A frontend that works in a thread of its own while a test attacks the kernel."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from support import TIMEOUT, parent_id

if TYPE_CHECKING:
    from support import Client, Kernel


SETUP = """
from comm import get_comm_manager

def target(comm, message):
    @comm.on_msg
    def echo(message):
        comm.send({"echo": message["content"]["data"]["n"]})

get_comm_manager().register_target("echo", target)
"""


class GoodClient:
    """A frontend that does all that frontends do, in a thread of its own, until it is told to stop."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._stopped = threading.Event()
        self._rounds = 0
        self._changed = threading.Condition()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="good client")
        self._thread.start()
        self.work()

    def work(self, rounds: int = 1) -> None:
        """Waits until it has gone through all kinds of requests once more, from the first to the last."""
        with self._changed:
            # The round that is under way may have begun before.
            enough = self._rounds + 1 + rounds
            done = self._changed.wait_for(lambda: self._rounds >= enough or self._problem is not None, TIMEOUT)
        if self._problem is not None:
            raise self._problem
        assert done, "the good client gets no further"

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        try:
            with self._kernel.connect() as client:
                client.run(SETUP)
                while not self._stopped.is_set():
                    self._round(client, self._rounds)
                    client.log.clear()
                    for channel in ("shell", "control", "stdin"):
                        client.replies(channel).clear()
                    with self._changed:
                        self._rounds += 1
                        self._changed.notify_all()
        except BaseException as problem:  # noqa: BLE001 raised where it is waited for
            with self._changed:
                self._problem = problem
                self._changed.notify_all()

    def _round(self, client: Client, n: int) -> None:
        run = client.run(f"print('{n}')\n{n} + 1")
        assert (run.result, run.stdout, run.types) == (
            f"{n + 1}",
            f"{n}\n",
            ["busy", "execute_input", "stream", "execute_result", "idle"],
        )
        failed = client.execute("input()\n1/0", allow_stdin=True)
        prompt = next(client.prompts())
        aborted = client.execute("never = 1")
        # When this is answered, the kernel has the cell before it.
        client.ask("kernel_info_request")
        client.answer("", prompt)
        assert client.finish(failed).error["ename"] == "ZeroDivisionError"
        assert client.finish(aborted).status == "aborted"
        assert "zip" in client.ask("complete_request", {"code": "zi", "cursor_pos": 2})["matches"]
        assert client.ask("inspect_request", {"code": "zip", "cursor_pos": 3})["found"]
        assert client.ask("is_complete_request", {"code": "if 1:"})["status"] == "incomplete"
        for channel in ("shell", "control"):
            assert client.ask("kernel_info_request", channel=channel)["implementation"] == "callboard"
        self._comm(client, n)
        self._prompt(client, n)
        self._interrupt(client)
        self._subshell(client, n)

    @staticmethod
    def _comm(client: Client, n: int) -> None:
        comm = {"comm_id": f"good {n}"}
        client.send("comm_open", {**comm, "target_name": "echo", "data": {}})
        assert comm["comm_id"] in client.ask("comm_info_request", {"target_name": "echo"})["comms"]
        msg_id = client.send("comm_msg", {**comm, "data": {"n": n}})
        client.wait_idle(msg_id)
        (echo,) = [m for m in client.published(msg_id) if m["msg_type"] == "comm_msg"]
        assert echo["content"]["data"] == {"echo": n}
        client.wait_idle(client.send("comm_close", {**comm, "data": {}}))

    @staticmethod
    def _prompt(client: Client, n: int) -> None:
        asking = client.execute("input('who? ')", allow_stdin=True)
        prompt = next(p for p in client.prompts() if parent_id(p) == asking)
        assert prompt["content"]["prompt"] == "who? "
        client.answer(f"good {n}", prompt)
        assert client.finish(asking).result == repr(f"good {n}")

    @staticmethod
    def _interrupt(client: Client) -> None:
        endless = client.start("print('started')\nwhile True: pass")
        assert client.ask("interrupt_request", channel="control") == {"status": "ok"}
        assert client.finish(endless).error["ename"] == "KeyboardInterrupt"

    @staticmethod
    def _subshell(client: Client, n: int) -> None:
        subshell = client.ask("create_subshell_request", channel="control")
        run = client.run(f"{n}", header={"subshell_id": subshell["subshell_id"]})
        assert run.result == f"{n}"
        gone = client.ask("delete_subshell_request", {"subshell_id": subshell["subshell_id"]}, channel="control")
        assert gone == {"status": "ok"}
