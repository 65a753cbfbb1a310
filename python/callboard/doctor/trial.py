"""A kernel that is started to see whether it works. It and its files are gone afterwards, whatever happens."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from .installation import Installation
    from .kernelspecs import Kernelspec

#: Seconds for a step, if as many are left for all checks.
_READY, _STEP = 20.0, 8.0

#: Seconds in which a kernel that has failed may end.
_END = 2.0

#: Lines of the kernel's terminal that are shown.
_LINES = 10

_MARK = "callboard doctor"


class TrialError(Exception):
    """The kernel does not do what it should."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Trial:
    """Starts the kernel of a kernelspec, and ends it when the context ends."""

    def __init__(self, installation: Installation, spec: Kernelspec) -> None:
        self._installation = installation
        self._spec = spec
        self._cleanup = contextlib.ExitStack()
        self._manager: Any = None
        self._client: Any = None
        #: Seconds that each step has taken: ready, first_cell, interrupt, shutdown.
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._cleanup.enter_context(_signals_raise())
        folder = tempfile.TemporaryDirectory(prefix="callboard-doctor-", ignore_cleanup_errors=True)
        self._folder = Path(self._cleanup.enter_context(folder))
        self._cleanup.callback(self._end)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._cleanup.close()

    def run(self) -> None:
        """Goes through the life of a kernel. Raises `TrialError` where it stops."""
        with self._timed("ready"):
            self._start()
            self._wait_until_ready()
        with self._timed("first_cell"):
            self._run_cell()
        with self._timed("interrupt"):
            self._interrupt_cell()
        with self._timed("shutdown"):
            self._shut_down()

    def last_lines(self) -> list[str]:
        """The last lines of what the kernel has written to its terminal."""
        try:
            text = self._terminal.read_text("utf-8", errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-_LINES:]

    # -- steps ------------------------------------------------------------------------------------------

    def _start(self) -> None:
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import KernelManager

        settings: dict[str, Any] = {"transport": self._installation.transport}
        if "transport_encryption" in KernelManager.class_traits():
            settings["transport_encryption"] = self._installation.encryption[0]
        try:
            self._manager = KernelManager(
                kernel_name=self._spec.name,
                kernel_spec_manager=KernelSpecManager(kernel_dirs=self._installation.kernel_folders),
                connection_file=str(self._folder / "kernel.json"),
                **settings,
            )
            with self._terminal.open("wb") as terminal:
                self._manager.start_kernel(
                    cwd=str(self._installation.folder), env=self._environment(), stdout=terminal, stderr=terminal
                )
        except Exception as error:
            raise TrialError("not-started", f"the kernel cannot be started: {type(error).__name__}: {error}") from error
        self._client = self._manager.client()
        self._client.start_channels(hb=False)

    def _wait_until_ready(self) -> None:
        self._until = time.monotonic() + self._installation.left(_READY)
        info = self._reply(self._client.kernel_info(), "not-ready", "it was not ready")
        name = info.get("implementation")
        if name != "callboard":
            raise TrialError("another-kernel", f"the kernelspec starts another kernel: {name}")

    def _run_cell(self) -> None:
        self._until = time.monotonic() + self._installation.left(_STEP)
        cell = self._client.execute("1 + 1", store_history=False)
        reply = self._reply(cell, "cell-unanswered", "the first cell was not answered")
        if reply.get("status") != "ok":
            # Python may have ended, while the actors answer for it.
            self._fail_if_it_ends("the first cell was not run")
            raise TrialError("cell-failed", f"the cell `1 + 1` failed: {reply.get('ename')}: {reply.get('evalue')}")

    def _interrupt_cell(self) -> None:
        self._until = time.monotonic() + self._installation.left(_STEP)
        code = f"import time\nprint({_MARK!r}, flush=True)\ntime.sleep(60)"
        cell = self._client.execute(code, store_history=False)
        self._wait_for_output()
        self._manager.interrupt_kernel()
        reply = self._reply(cell, "not-interrupted", "an interrupt had no effect on a cell")
        if reply.get("ename") != "KeyboardInterrupt":
            self._fail_if_it_ends("an interrupt ended more than the cell")
            raise TrialError("not-interrupted", f"an interrupted cell ended with {reply.get('ename') or 'success'}")

    def _shut_down(self) -> None:
        self._until = time.monotonic() + self._installation.left(_STEP)
        self._client.shutdown()
        while self._manager.is_alive():
            if time.monotonic() > self._until:
                raise TrialError("not-shut-down", f"the kernel did not end within {_STEP:.0f} s of a shutdown request")
            time.sleep(0.01)

    # -- messages ---------------------------------------------------------------------------------------

    def _reply(self, msg_id: str, code: str, text: str) -> dict[str, Any]:
        """The content of the reply to a request."""
        return self._message(self._client.get_shell_msg, lambda m: _parent(m) == msg_id, code, text)

    def _wait_for_output(self) -> None:
        self._message(
            self._client.get_iopub_msg,
            lambda m: _MARK in str(m["content"].get("text")),
            "no-output",
            "a cell ran, but nothing of what it printed arrived",
        )

    def _message(self, receive: Any, is_it: Any, code: str, text: str) -> dict[str, Any]:
        begin = time.monotonic()
        ended = False
        while True:
            try:
                message = receive(timeout=0.0 if ended else 0.1)
            except queue.Empty:
                if ended:
                    raise TrialError("kernel-ended", f"{text}: the kernel ended{self._how_it_ended()}") from None
                # Once more: it may have answered before it ended.
                ended = not self._manager.is_alive()
                if not ended and time.monotonic() > self._until:
                    waited = time.monotonic() - begin
                    raise TrialError(code, f"{text} within {waited:.0f} s, and was ended") from None
                continue
            if is_it(message):
                content: dict[str, Any] = message["content"]
                return content

    def _fail_if_it_ends(self, text: str) -> None:
        until = time.monotonic() + _END
        while time.monotonic() < until:
            if not self._manager.is_alive():
                raise TrialError("kernel-ended", f"{text}: the kernel ended{self._how_it_ended()}")
            time.sleep(0.05)

    def _how_it_ended(self) -> str:
        code = getattr(getattr(self._manager.provisioner, "process", None), "returncode", None)
        if code is None:
            return ""
        return f" with code {code}" if code >= 0 else f" by signal {-code}"

    # -- environment ------------------------------------------------------------------------------------

    @property
    def _terminal(self) -> Path:
        return self._folder / "terminal.txt"

    def _environment(self) -> dict[str, str]:
        """The environment of the kernel. Where IPython has no profile yet, it makes one: elsewhere, for this kernel."""
        env = dict(os.environ)
        if not self._installation.profile.is_dir():
            env["IPYTHONDIR"] = str(self._folder / "ipython")
        return env

    @contextlib.contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - begin, 3)

    def _end(self) -> None:
        """Ends the kernel, if it has not ended."""
        with contextlib.suppress(Exception):
            if self._client is not None:
                self._client.stop_channels()
        process = getattr(getattr(self._manager, "provisioner", None), "process", None)
        if process is not None:
            # The group: also what the kernel has started.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(Exception):
            if self._manager is not None and self._manager.has_kernel:
                self._manager.shutdown_kernel(now=True)


def _parent(message: dict[str, Any]) -> Any:
    return message["parent_header"].get("msg_id")


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Lets signals that would end this process at once raise `SystemExit`, so that the kernel is ended as well."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    former = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
