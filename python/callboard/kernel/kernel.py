"""The kernel as Python code sees it: ``get_ipython().kernel``."""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _core, context, context_inheritance
from ..aio import wakeups
from ..aio.pending import Pending
from ..callers.caller import UNINTERRUPTIBLE_CODE, USER_CODE, Caller
from ..cells.queue import CellQueue
from ..cells.run import CellRunner, show
from ..cells.timeouts import Timeouts
from ..cells.traceback_warmup import TracebackWarmup
from ..context import current_cell
from ..ipython import compiler, history
from ..ipython.shell.shell import ZMQInteractiveShell, text_of
from ..nested_loops import wrap_runners
from ..requests import comms, introspection, stdin
from ..requests.stream import OutStream
from ..util.json import encode

if TYPE_CHECKING:
    from traitlets.config import Configurable

    from ..cells.cell import Cell
    from ..interrupts.handler import Interrupts

logger = logging.getLogger("callboard.kernel")

#: How long the end of the kernel waits for the threads of its Callers, seconds.
_GRACE = 2.0


class Kernel:
    """Puts the Python side together: the shells, the Callers and what they do with requests, and what cells take for
    standard output and input."""

    def __init__(self, core: _core.Kernel, interrupts: Interrupts) -> None:
        self.core = core
        self.interrupts = interrupts
        self.interface = Interface(self)
        #: The main shell.
        self.shell: ZMQInteractiveShell = None  # type: ignore[assignment]
        #: The shells of subshells, by id.
        self._shells: dict[str, ZMQInteractiveShell] = {}
        self._shells_lock = threading.RLock()
        #: The queues of cells, by subshell; the main one has no id.
        self._queues: dict[str | None, CellQueue] = {}
        self._streams = sys.stdout, sys.stderr
        #: The Callers of the main thread, and of the one that answers what editors ask.
        self.main: Caller = None  # type: ignore[assignment]
        self.control: Caller = None  # type: ignore[assignment]

    # -- set-up -----------------------------------------------------------------------------------------

    def init_io(self, *, capture_fds: bool = True) -> None:
        """From now on what is printed is output of cells; with `capture_fds` also what C code and child processes
        write."""
        for stream in self._streams:
            if stream is not None:
                stream.flush()
        if capture_fds:
            self.core.capture_fds()
        sys.stdout = OutStream(self.core.stdout(), "stdout", 1)
        sys.stderr = OutStream(self.core.stderr(), "stderr", 2)
        context_inheritance.follow_into_threads()
        compiler.install()
        wrap_runners.install()

    def init_shell(self, parent: Configurable, **kwargs: Any) -> None:
        """Makes the shell."""
        history.install()
        self.comm_manager = comms.install(self.core)
        self.shell = ZMQInteractiveShell.instance(parent=parent, kernel=self, **kwargs)
        self.shell.be_everywhere()
        stdin.install(self.core, self.shell)

    def run(self) -> None:
        """Serves requests until the kernel is shut down. To be called on the main thread."""
        main = self.main = Caller._of(self.core.shell_caller())
        control = self.control = Caller._of(self.core.control_caller())
        wakeups.home = main._wakeups
        main.keep_running()
        control.keep_running()
        self._runner = CellRunner(self, main, self.interrupts, Timeouts(self.core, main, control, self.interrupts))
        self._queues[None] = CellQueue(self._runner, main, lambda: self.shell)
        self._warmup = TracebackWarmup(self.shell, main, control)
        main.handle = partial(self._handle_shell, main, None)
        main.on_stop = self._stop
        control.handle = self._handle_control
        Caller.on_new = staticmethod(self._serve)  # type: ignore[method-assign]
        USER_CODE.add(ZMQInteractiveShell.run_code.__code__)
        UNINTERRUPTIBLE_CODE.update((ZMQInteractiveShell.showtraceback.__code__, show.__code__))
        self.interrupts.running = main.running
        self.interrupts.interrupt_others = self._interrupt_threads
        self.interrupts.interrupt_thread_again = self._interrupt_thread_again
        control._start_thread()
        self.interrupts.enabled = True
        try:
            main.run()
        finally:
            self.interrupts.enabled = False
            assert control.thread is not None
            control.thread.join(timeout=1)
            sys.stdout, sys.stderr = self._streams

    # -- requests ---------------------------------------------------------------------------------------

    def _serve(self, caller: Caller) -> None:
        """Lets a new Caller work on requests."""
        caller.refuse = self._refuse
        subshell = caller._actor.subshell_id
        if subshell is None:
            caller.handle = partial(self._handle_in_thread, caller)
        else:
            self._queues[subshell] = CellQueue(self._runner, caller, lambda: self.shell_of(subshell))
            caller.handle = partial(self._handle_shell, caller, subshell)
            # Made before the first cell asks for it.
            caller.call_direct(self._make_shell, subshell)
            caller.stopped.add_done_callback(lambda _pen: self._drop_shell(subshell))

    def shell_of(self, subshell_id: str | None) -> ZMQInteractiveShell:
        """The shell object of a subshell; the main one without an id."""
        if subshell_id is None:
            return self.shell
        with self._shells_lock:
            shell = self._shells.get(subshell_id)
            if shell is None:
                shell = self._shells[subshell_id] = self.shell.make_subshell(subshell_id, self.core.isolated_subshells)
            return shell

    def _make_shell(self, subshell_id: str) -> None:
        """Makes the shell of a subshell, and what IPython makes when something is displayed for the first time."""
        self.shell_of(subshell_id).display_formatter.format(object())

    def _drop_shell(self, subshell_id: str) -> None:
        self._queues.pop(subshell_id, None)
        with self._shells_lock:
            shell = self._shells.pop(subshell_id, None)
        if shell is not None:
            shell.close()

    def _handle_shell(self, caller: Caller, subshell: str | None, request: _core.Request) -> None:
        queue = self._queues[subshell]
        if request.msg_type != "execute_request":
            contextvars.copy_context().run(self._answer, request, partial(self._handle_comm, subshell))
            return
        if subshell is None:
            self._warmup.begin()
        if request.is_queued:
            queue.add(request)
        elif request.begin():
            self._runner.start(caller, self.shell_of(subshell), request, queue.context.copy())

    def _handle_in_thread(self, caller: Caller, request: _core.Request) -> None:
        """A cell beside all queues, in a thread of its own or that of a named Caller."""
        if request.begin():
            queue = self._queues.get(request.subshell_id) or self._queues[None]
            shell = self.shell_of(request.subshell_id if request.subshell_id in self._queues else None)
            self._runner.start(caller, shell, request, queue.context.copy())

    def _handle_control(self, request: _core.Request) -> None:
        if request.msg_type == "execute_request":
            if request.begin():
                self._runner.start(self.control, self.shell, request, contextvars.copy_context())
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

    def _handle_comm(self, subshell: str | None, request: _core.Request) -> None:
        if subshell is not None:
            context.current_shell.set(self.shell_of(subshell))
            comms.handle(self.comm_manager, request)
            return
        try:
            self.interrupts.in_handler = True
            comms.handle(self.comm_manager, request)
        finally:
            self.interrupts.in_handler = False

    def _handle_language(self, request: _core.Request) -> None:
        introspection.handle(
            self.shell_of(request.subshell_id if request.subshell_id in self._queues else None), request
        )

    def _refuse(self, request: _core.Request, error: Exception) -> None:
        """Answers a cell whose thread has no event loop to run it."""
        if request.begin():
            content = {"ename": type(error).__name__, "evalue": text_of(error)}
            content["traceback"] = [f"{content['ename']}: {content['evalue']}"]
            if request.msg_type == "execute_request" and not request.silent:
                self.core.publish("error", encode(content), parent=request.parent())
            request.reply_error(**content)
            request.finish(False, False)

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
        cell = current_cell.get()
        assert cell is not None
        shell = cell.shell
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
        reply: dict[str, Any] = {"execution_count": cell.number}
        error = result.error_before_exec or result.error_in_exec
        failed = error is not None or cell.error is not None
        if cell.tags.raises_exception and not failed:
            error = RuntimeError("this cell has the tag raises-exception, but it raised none")
            failed = True
        if not failed or cell.tags.suppress_error:
            if failed and cell.error is None and error is not None:
                shell.show_plainly(error)
            reply["status"] = "ok"
            reply["user_expressions"] = shell.user_expressions(user_expressions or {})
        else:
            # IPython shows every error, unless it fails to format it, or a second interrupt comes while it does.
            shown = cell.error or show(cell, error)
            reply.update(status="error", user_expressions={}, **shown)
        reply["payload"] = cell.payloads
        return reply

    # -- what libraries ask for -------------------------------------------------------------------------

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        return self.shell.get_parent()

    def set_parent(self, ident: Any, parent: dict[str, Any], channel: str = "shell") -> None:
        """Output of the calling context belongs to this request (a message dict) from now on. Who asked, and on which
        channel, is in the request."""
        self.shell.set_parent(parent)

    @property
    def execution_count(self) -> int:
        """The number of the next cell."""
        return self.shell.execution_count

    @property
    def callers(self) -> dict[str, Caller]:
        """The Callers of the kernel's own, by channel."""
        return {"shell": self.main, "control": self.control}

    @property
    def caller(self) -> Caller:
        """The Caller of the main thread."""
        return self.main

    @property
    def main_shell(self) -> ZMQInteractiveShell:
        """The shell that is no subshell."""
        return self.shell

    def create_subshell(self) -> ZMQInteractiveShell:
        """Makes a subshell (JEP 91), and returns its shell.

        Raises `RuntimeError` if subshells are switched off or the kernel is ending."""
        return self.shell_of(self.core.create_subshell())

    def delete_subshell(self, subshell_id: str) -> Pending[None]:
        """Deletes a subshell as ``delete_subshell_request`` does: its cells are cancelled and answered. What this
        returns is done when its thread has ended; it fails if there is no such subshell."""
        pen: Pending[None] = Pending()
        self.core.delete_subshell(subshell_id, pen)
        return pen

    @property
    def subshells(self) -> dict[str, ZMQInteractiveShell]:
        """The shells of the subshells (JEP 91), by id."""
        return {subshell: self.shell_of(subshell) for subshell in self.core.subshells()}

    def send_response(self, _stream: Any, msg_type: str, content: dict[str, Any], **_kwargs: Any) -> None:
        """Publishes a message, as ipykernel's method of this name does."""
        self.core.publish(msg_type, encode(content))

    # -- time and the end -------------------------------------------------------------------------------

    def _interrupt_threads(self) -> None:
        """Has `Control` interrupt the cells that run in other threads now, and none that comes later."""
        for caller in Caller.all_callers():
            if caller is not self.main and caller is not self.control:
                self._interrupt_soon(caller, caller.running_cells())

    def _interrupt_thread_again(self) -> bool:
        """Has `Control` interrupt the cells of the calling thread that an interrupt was for."""
        caller = Caller.get_existing()
        return caller is not None and self._interrupt_soon(
            caller, [cell for cell in caller.running_cells() if cell.interrupted]
        )

    def _interrupt_soon(self, caller: Caller, cells: list[Cell]) -> bool:
        """Has `Control` interrupt these cells of a thread; false if there are none."""
        if cells:
            self.control.call_direct(caller.interrupt, cells)
        return bool(cells)

    def stop_soon(self) -> None:
        """Ends the kernel when the cell that runs has been answered."""
        self.main.call_direct(self._stop)

    def _stop(self) -> None:
        for caller in self.main.children:
            caller.interrupt(caller.running_cells())
        running = self.main.running_cells()
        if self._queues[None].is_running:
            self._queues[None].on_empty = self._leave
            for cell in running:
                cell.cancel()
        else:
            self._leave()

    def _leave(self) -> None:
        comms.close_all(self.comm_manager)
        self.main.grace = _GRACE
        self.main.stop(force=True)
        self.main.on_stop = lambda: None
        self.main._wind_down_soon()


class Interface:
    """What the kernel is reached through."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @property
    def backend(self) -> str:
        """Whose event loop the main thread runs: ``asyncio`` or ``trio``."""
        return self.kernel.main.backend

    @property
    def callers(self) -> dict[str, Caller]:
        """The Callers of the kernel's own, by channel."""
        return self.kernel.callers
