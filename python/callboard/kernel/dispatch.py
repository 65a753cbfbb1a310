"""Passes requests to their handlers."""

from __future__ import annotations

import contextvars
import logging
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _core, context
from ..cells.queue import CellQueue
from ..requests import comms
from ..util.errors import content_of, text_of
from ..util.json import encode
from .library_attributes import has_own_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..callers.caller import Caller
    from ..cells.run import CellRunner
    from ..cells.traceback_warmup import TracebackWarmup
    from ..debugger.service import Service
    from ..interrupts.handler import Interrupts
    from ..requests.comms import CommManager
    from .request_handlers import RequestHandlers
    from .shells import Shells

logger = logging.getLogger("callboard.kernel")


class Dispatcher:
    """Passes the requests that Callers receive to their handlers, on the thread of the Caller."""

    def __init__(
        self,
        core: _core.Kernel,
        shells: Shells,
        runner: CellRunner,
        warmup: TracebackWarmup,
        comm_manager: CommManager,
        interrupts: Interrupts,
    ) -> None:
        self._core = core
        self._shells = shells
        self._runner = runner
        self._warmup = warmup
        self._comm_manager = comm_manager
        self._interrupts = interrupts
        #: The queues of cells, by subshell; the main one has no id.
        self._queues: dict[str | None, CellQueue] = {}
        self._debugger: Service | None = None
        self._control: Caller
        #: The handlers of requests, once a library has looked at them.
        self.handlers: RequestHandlers | None = None
        #: The request that came on control last and was answered here.
        self.last_on_control: _core.Parent | None = None

    # -- set-up -----------------------------------------------------------------------------------------

    def serve_main(self, caller: Caller) -> CellQueue:
        """Makes the Caller of the main thread handle requests. Returns its queue of cells."""
        queue = self._queues[None] = CellQueue(self._runner, caller, lambda: self._shells.main)
        caller.loop_thread.handle_request = partial(self._handle_shell, caller, None)
        return queue

    def serve_control(self, caller: Caller) -> None:
        """Makes the Caller `Control` handle requests."""
        self._control = caller
        caller.loop_thread.handle_request = partial(self._handle_control, caller)

    def serve(self, caller: Caller) -> None:
        """Makes another Caller handle requests: that of a subshell, or one for cells that run in threads."""
        caller.loop_thread.refuse_request = self._refuse
        subshell = caller.loop_thread.actor.subshell_id
        if caller.loop_thread.actor.is_kernels:
            caller.loop_thread.handle_request = self._handle_debug_work
        elif subshell is None:
            caller.loop_thread.handle_request = partial(self._handle_in_thread, caller)
        else:
            self._queues[subshell] = CellQueue(self._runner, caller, lambda: self._shells.of(subshell))
            caller.loop_thread.handle_request = partial(self._handle_shell, caller, subshell)
            # Made before the first cell asks for it.
            caller.call_direct(self._shells.prepare, subshell)
            caller.stopped.add_done_callback(lambda _pen: self._drop(subshell))

    def _drop(self, subshell: str) -> None:
        self._queues.pop(subshell, None)
        self._shells.drop(subshell)

    # -- requests ---------------------------------------------------------------------------------------

    def _handle_shell(self, caller: Caller, subshell: str | None, request: _core.Request) -> None:
        queue = self._queues[subshell]
        if request.msg_type != "execute_request":
            if self.handlers is None or not self.handlers.take(caller, request):
                contextvars.copy_context().run(self._answer, request, partial(self._handle_comm, caller, subshell))
            return
        if subshell is None:
            self._warmup.begin()
        if request.is_queued:
            queue.add(request)
        elif request.begin():
            self._runner.start(caller, self._shells.of(subshell), request, queue.context.copy())

    def _handle_in_thread(self, caller: Caller, request: _core.Request) -> None:
        """Runs a cell beside all queues, in a thread of its own or that of a named Caller."""
        if request.begin():
            queue = self._queues.get(request.subshell_id) or self._queues[None]
            shell = self._shells.of(self._known(request.subshell_id))
            self._runner.start(caller, shell, request, queue.context.copy())

    def _handle_control(self, caller: Caller, request: _core.Request) -> None:
        if request.channel == "control":
            self.last_on_control = request.parent()
        if request.msg_type == "execute_request":
            if request.begin():
                self._runner.start(caller, self._shells.main, request, contextvars.copy_context())
        elif not self._give_to_library(caller, request):
            # Completers see the ContextVars that cells have set, such as those behind flask's `current_app`.
            queue = self._queues.get(request.subshell_id) or self._queues[None]
            queue.context.copy().run(self._answer, request, self._handle_introspection)

    def _give_to_library(self, caller: Caller, request: _core.Request) -> bool:
        """Gives a request to the handler or the method of a library, if one has replaced the kernel's own."""
        if self.handlers is not None and self.handlers.take(caller, request):
            return True
        kernel: Any = self._shells.main.kernel
        if not has_own_answer(kernel, request.msg_type):
            return False
        kernel._handlers.give(caller, request, getattr(kernel, request.msg_type))
        return True

    def _answer(self, request: _core.Request, handle: Callable[[_core.Request], None]) -> None:
        """Handles a request that is not a cell. Any failure becomes an error reply."""
        if not request.begin():
            return
        context.current_parent.set(request.parent())
        ok = False
        try:
            handle(request)
            ok = True
        except BaseException as error:
            logger.debug("%s failed", request, exc_info=True)
            if request.msg_type.startswith("comm_"):
                traceback.print_exc()
            request.reply_error(type(error).__name__, text_of(error), traceback.format_exc().splitlines())
        finally:
            request.finish(ok)

    def _handle_comm(self, caller: Caller, subshell: str | None, request: _core.Request) -> None:
        if subshell is not None:
            context.current_shell.set(self._shells.of(subshell))
            calls = caller.loop_thread.calls
            calls.handler = _core.AsyncExcGuard()
            try:
                calls.handler.call(comms.handle, (self._comm_manager, request), {})
            finally:
                calls.handler = None
            return
        try:
            self._interrupts.in_handler = True
            comms.handle(self._comm_manager, request)
        finally:
            self._interrupts.in_handler = False

    def _handle_introspection(self, request: _core.Request) -> None:
        # Imported lazily: a first cell does not need it.
        from ..requests import introspection

        shell = self._shells.of(self._known(request.subshell_id))
        # It belongs to no cell, not even to the one that has the context.
        context.current_cell.set(None)
        context.current_shell.set(shell)
        introspection.handle(shell, request)

    def _handle_debug_work(self, work: _core.DebugWork) -> None:
        if self._debugger is None:
            # Imported lazily: few kernels are debugged.
            from ..debugger.service import Service

            self._debugger = Service(self._shells, self._interrupts, self._control)
        self._debugger.handle(work)

    def _known(self, subshell: str | None) -> str | None:
        """The id of the subshell, or None (the main shell) if it has ended."""
        return subshell if subshell in self._queues else None

    def _refuse(self, request: _core.Request, error: Exception) -> None:
        """Answers a request whose thread cannot run an event loop."""
        if request.begin():
            content = content_of(error)
            if request.msg_type == "execute_request" and not request.silent:
                self._core.publish("error", encode(content), parent=request.parent())
            request.reply_error(content["ename"], content["evalue"], content["traceback"])
            request.finish(False, False)
