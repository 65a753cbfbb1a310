"""The kernel as Python code sees it: ``get_ipython().kernel``."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from . import _core, comms, context, history, language, stdin
from .caller import Caller
from .cells import CellQueue, run_cell, show
from .jsonutil import encode
from .shell import ZMQInteractiveShell, text_of
from .stream import OutStream

if TYPE_CHECKING:
    from traitlets.config import Configurable

    from .interrupt import Interrupts

logger = logging.getLogger("callboard.kernel")


class Kernel:
    """Puts the Python side together: the shell, the Callers of the main and the control thread, and what
    cells take for standard output and input."""

    def __init__(self, core: _core.Kernel, interrupts: Interrupts) -> None:
        self.core = core
        self.interrupts = interrupts
        self.shell: ZMQInteractiveShell = None  # type: ignore[assignment]
        self._streams = sys.stdout, sys.stderr

    # -- set-up -----------------------------------------------------------------------------------------

    def init_io(self) -> None:
        """From now on what is printed is output of cells."""
        for stream in self._streams:
            if stream is not None:
                stream.flush()
        self.core.capture_fds()
        sys.stdout = OutStream(self.core.stdout(), "stdout", 1)
        sys.stderr = OutStream(self.core.stderr(), "stderr", 2)
        context.follow_into_threads()

    def init_shell(self, parent: Configurable, **kwargs: Any) -> None:
        """Makes the shell."""
        history.install()
        self.comm_manager = comms.install(self.core)
        self.shell = ZMQInteractiveShell.instance(parent=parent, kernel=self, **kwargs)
        stdin.install(self)

    def run(self) -> None:
        """Serves requests until the kernel is shut down. To be called on the main thread."""
        control = threading.Thread(target=self._run_control, name="Control", daemon=True)
        control.start()
        self.main = Caller("Shell", self.core.shell_inbox(), self._handle_shell)
        self.main.on_stop = self._stop
        self.cells = CellQueue(self, self.main.loop)
        self.interrupts.outermost = Caller.run.__code__
        self.interrupts.enabled = True
        try:
            self.main.run()
        finally:
            self.interrupts.enabled = False
            control.join(timeout=1)
            sys.stdout, sys.stderr = self._streams

    def _run_control(self) -> None:
        _core.block_sigint()
        try:
            caller = Caller("Control", self.core.control_inbox(), self._handle_control)
            caller.on_stop = caller.stop
            caller.run()
        finally:
            self.core.control_ended()

    # -- requests ---------------------------------------------------------------------------------------

    def _handle_shell(self, request: _core.Request) -> None:
        if request.msg_type == "execute_request":
            self.cells.add(request)
        else:
            contextvars.copy_context().run(self._answer, request, self._handle_comm)

    def _handle_control(self, request: _core.Request) -> None:
        if request.msg_type == "execute_request":
            if request.begin():
                asyncio.get_running_loop().create_task(run_cell(self, request))
        else:
            contextvars.copy_context().run(self._answer, request, self._handle_language)

    def _answer(self, request: _core.Request, handle: Any) -> None:
        """Handles a request that is not a cell. Whatever goes wrong is answered."""
        if not request.begin():
            return
        context.current_parent.set(request.parent())
        ok = False
        try:
            handle(request)
            ok = True
        except (Exception, KeyboardInterrupt) as error:
            logger.debug("%s failed", request, exc_info=True)
            if request.msg_type.startswith("comm_"):
                traceback.print_exc()
            request.reply_error(type(error).__name__, text_of(error), traceback.format_exc().splitlines())
        finally:
            request.finish(ok)

    def _handle_comm(self, request: _core.Request) -> None:
        try:
            self.interrupts.in_handler = True
            comms.handle(self.comm_manager, request)
        finally:
            self.interrupts.in_handler = False

    def _handle_language(self, request: _core.Request) -> None:
        language.handle(self.shell, request)

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        *,
        cell_meta: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Runs code and returns the content of the reply."""
        shell = self.shell
        failed = None
        try:
            transformed = shell.transform_cell(code)
        except Exception:  # noqa: BLE001 - a transformer of the user's; IPython shows it
            transformed, failed = code, sys.exc_info()
        result = None
        try:
            result = await shell.run_cell_async(
                code,
                store_history=store_history,
                silent=silent,
                transformed_cell=transformed,
                preprocessing_exc_tuple=failed,
                cell_id=(cell_meta or {}).get("cellId"),
            )
        finally:
            shell.events.trigger("post_execute")
            if not silent:
                shell.events.trigger("post_run_cell", result)
        reply: dict[str, Any] = {"execution_count": shell.execution_count - 1}
        error = result.error_before_exec or result.error_in_exec
        if error is None and shell.last_error is None:
            reply["status"] = "ok"
            reply["user_expressions"] = shell.user_expressions(user_expressions or {})
        else:
            # IPython shows every error, unless a second interrupt comes while it does.
            shown = shell.last_error or show(self, error)
            reply.update(status="error", user_expressions={}, **shown)
        reply["payload"] = shell.payload_manager.read_payload()
        shell.payload_manager.clear_payload()
        return reply

    # -- what libraries ask for -------------------------------------------------------------------------

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        return self.shell.get_parent()

    @property
    def execution_count(self) -> int:
        """The number of the next cell."""
        return self.shell.execution_count

    def was_interrupted(self) -> bool:
        """Whether an interrupt has cancelled the cell that the calling code belongs to."""
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return False
        return self.interrupts.was_interrupted(task)

    def send_response(self, _stream: Any, msg_type: str, content: dict[str, Any], **_kwargs: Any) -> None:
        """Publishes a message, as ipykernel's method of this name does."""
        self.core.publish(msg_type, encode(content))

    # -- the end ----------------------------------------------------------------------------------------

    def stop_soon(self) -> None:
        """Ends the kernel when the cell that runs has been answered."""
        self.main.loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self.cells.running is None:
            self.main.stop()
        else:
            self.cells.on_empty = self.main.stop
            self.interrupts.cancel(self.cells.running)
