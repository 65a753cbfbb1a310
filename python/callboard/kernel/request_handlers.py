"""``kernel.shell_handlers`` and ``kernel.control_handlers``: the handlers of requests, which libraries may replace.

Nothing here runs until a library looks at them. A request whose handler was replaced goes to the new one, on the thread
that would have answered it: cells on that of their shell, in their turn; comm messages, and requests on shell that need
no Python otherwise, on the main thread; completion and the like, and requests on control, on `Control`.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import traceback
from collections import UserDict
from typing import TYPE_CHECKING, Any, Literal

from ..aio.cancellation import current_task, is_cancellation
from ..aio.pending import Pending
from ..cells.cell import Cell
from ..context import current_parent
from ..interrupts.call import Call
from ..requests.comms import message_of
from ..util.errors import text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from .._core import Request
    from ..aio.loops.base import Task
    from ..callers.caller import Caller
    from ..cells.run import CellRunner
    from ..interrupts.handler import Interrupts
    from ..ipython.shell.shell import ZMQInteractiveShell

    Name = Literal["shell", "control"]

#: Requests that Python answers in any case; the others, actors answer unless they are claimed.
_OF_PYTHON = {
    *("execute_request", "complete_request", "inspect_request", "is_complete_request", "history_request"),
    *("comm_open", "comm_msg", "comm_close"),
}

#: How many requests that a handler was given are remembered, to be run later.
_REMEMBERED = 1000


class Handlers(UserDict[str, Any]):
    """The handlers of one channel by type of message: ``handler(stream, ident, message)``, plain or asynchronous."""

    def __init__(self, originals: dict[str, Any], changed: Callable[[], object]) -> None:
        self._changed: Callable[[], object] | None = None
        super().__init__(originals)
        self._originals = originals
        self._changed = changed

    def __setitem__(self, msg_type: str, handler: Any) -> None:
        super().__setitem__(msg_type, handler)
        if self._changed is not None:
            self._changed()

    def __delitem__(self, msg_type: str) -> None:
        super().__delitem__(msg_type)
        if self._changed is not None:
            self._changed()

    def replaced(self) -> dict[str, Any]:
        """The handlers that are not the kernel's own; None for those that were removed."""
        types = self.data.keys() | self._originals.keys()
        return {each: self.data.get(each) for each in types if self.data.get(each) != self._originals.get(each)}


class HandledRequest(Call):
    """A request that a library's handler has."""

    #: asyncio's or trio's object of the task.
    raw: Any = None

    def __init__(self, request: Request, caller: Caller, shell: ZMQInteractiveShell) -> None:
        # No task yet: `in_task`.
        self.request = request
        self.caller = caller
        self.shell = shell
        #: Whether its handler has returned.
        self.has_ended = False
        #: Whether the kernel's own handler runs it, and ends it.
        self.is_passed_on = False
        #: Whether it has been replied to.
        self.is_answered = False
        self._is_in_handler = False

    @property
    def in_user_code(self) -> bool:
        return self._is_in_handler

    @contextlib.contextmanager
    def in_task(self, task: Task) -> Iterator[None]:
        """Lets interrupts find it in this task, which is the current one."""
        self.task, self.raw = task, task.raw or current_task()
        running = self.caller.loop_thread.calls.by_task
        running[self.raw] = self
        try:
            yield
        finally:
            # Not if the kernel's own handler has run it.
            if running.get(self.raw) is self:
                del running[self.raw]

    def call(self, handler: Any, stream: Any) -> Awaitable[Any] | None:
        """Calls a handler. Returns what is left to `wait_for`, or None if the request has ended."""
        result = None
        try:
            if handler is not None:
                self._is_in_handler = True
                result = handler(stream, self.request.idents, message_of(self.request))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            self._is_in_handler = False
            self._failed(error)
        self._is_in_handler = False
        if inspect.isawaitable(result):
            return result
        self._end()
        return None

    async def wait_for(self, result: Awaitable[Any]) -> None:
        """Awaits what an asynchronous handler has returned."""
        try:
            self._is_in_handler = True
            await result
        except BaseException as error:
            self._is_in_handler = False
            if is_cancellation(error):
                raise
            self._failed(error)
        finally:
            self._is_in_handler = False
            self._end()

    def _failed(self, error: BaseException) -> None:
        """Prints what the handler has raised, and answers the request with it."""
        traceback.print_exception(error)
        if not self.is_answered:
            self.request.reply_error(type(error).__name__, text_of(error), traceback.format_exception(error))

    def _end(self) -> None:
        self.has_ended = True
        if not self.is_passed_on:
            self.request.finish(True)


class RequestHandlers:
    """The handlers of both channels."""

    def __init__(self, kernel: Any, runner: CellRunner, interrupts: Interrupts) -> None:
        self._kernel = kernel
        self._runner = runner
        self._interrupts = interrupts
        #: Those that handlers were given last, by id.
        self._handled: dict[str, HandledRequest] = {}
        #: Done when the asynchronous handler that came last has started.
        self._last_start: Pending[None] = Pending()
        self._last_start.set_result(None)
        shell = {name: getattr(kernel, name) for name in kernel.msg_types}
        control = {name: getattr(kernel, name) for name in kernel.control_msg_types}
        for name in ("comm_open", "comm_msg", "comm_close"):
            shell[name] = getattr(kernel.comm_manager, name)
        self.shell = Handlers(shell, lambda: self._changed("shell", self.shell))
        self.control = Handlers(control, lambda: self._changed("control", self.control))
        self._replaced: dict[str, dict[str, Any]] = {"shell": {}, "control": {}}
        kernel.session.on_reply = self._note_reply

    def _changed(self, channel: Name, handlers: Handlers) -> None:
        replaced = self._replaced[channel] = handlers.replaced()
        self._kernel.core.claim(channel, [name for name in replaced if name not in _OF_PYTHON])
        has_cells = any("execute_request" in each for each in self._replaced.values())
        self._runner.run_instead = self._run_cell if has_cells else None

    def _note_reply(self, msg_id: str) -> None:
        if (handled := self._handled.get(msg_id)) is not None:
            handled.is_answered = True

    # -- giving requests to handlers --------------------------------------------------------------------

    def take(self, caller: Caller, request: Request) -> bool:
        """Gives a request that is no cell to the library's handler. Returns False if the kernel's own is in place. Call
        it in the thread that would answer the request."""
        replaced = self._replaced[request.channel]
        if request.msg_type not in replaced:
            if request.msg_type in _OF_PYTHON:
                return False
            # The handler was put back after the request had come in.
            self._kernel.core.answer(request)
            if request.begin():
                request.finish(True)
            return True
        self.give(caller, request, replaced[request.msg_type])
        return True

    def give(self, caller: Caller, request: Request, handler: Any) -> None:
        """Gives a request that is no cell to a handler, in the thread that would answer it."""
        if not request.begin():
            return
        context = contextvars.copy_context()
        context.run(current_parent.set, request.parent())
        handled = self._remember(HandledRequest(request, caller, self._kernel.shell))
        is_main = caller is self._kernel.main
        try:
            # Interrupts hit it.
            self._interrupts.in_handler = is_main
            left = context.run(handled.call, handler, self._stream(request))
        finally:
            if is_main:
                self._interrupts.in_handler = False
        if left is not None:
            loop = caller.loop_thread.loop
            assert loop is not None
            before, self._last_start = self._last_start, Pending()
            loop.spawn(self._go_on, handled, left, before, self._last_start, context=context, name="handler")

    async def _go_on(
        self, task: Task, handled: HandledRequest, left: Awaitable[Any], before: Pending[None], start: Pending[None]
    ) -> None:
        """Goes on with an asynchronous handler, which starts after the one `before`: trio starts tasks in any order."""
        if not before.done():
            await before
        start.set_result(None)
        with handled.in_task(task):
            await handled.wait_for(left)

    async def _run_cell(self, caller: Caller, shell: ZMQInteractiveShell, request: Request, task: Task) -> None:
        """Gives a cell to the library's handler, in the task of the cell."""
        replaced = self._replaced[request.channel]
        if "execute_request" not in replaced:
            await self._runner.run(caller, Cell(request, shell, task))
            return
        current_parent.set(request.parent())
        handled = self._remember(HandledRequest(request, caller, shell))
        with handled.in_task(task):
            left = handled.call(replaced["execute_request"], self._stream(request))
            if left is not None:
                await handled.wait_for(left)

    def _stream(self, request: Request) -> Any:
        return self._kernel.control_stream if request.channel == "control" else self._kernel.shell_stream

    def _remember(self, handled: HandledRequest) -> HandledRequest:
        self._handled[handled.request.msg_id] = handled
        while len(self._handled) > _REMEMBERED:
            self._handled.pop(next(iter(self._handled)), None)
        return handled

    # -- the kernel's own handlers, called by others ----------------------------------------------------

    async def run_cell(self, message: dict[str, Any]) -> None:
        """Runs a cell that a handler was given, and answers it; also after the handler has returned."""
        handled = self._pass_on(message)
        request, caller = handled.request, handled.caller
        if handled.has_ended:
            request = request.again()
            if not request.begin():
                return
        else:
            handled.is_passed_on = True
            if current_task() is handled.raw:
                await self._runner.run(caller, Cell(request, handled.shell, handled.task))
                return
        done: Pending[None] = Pending()

        async def run(task: Task) -> None:
            await self._runner.run(caller, Cell(request, handled.shell, task))

        def start() -> None:
            loop = caller.loop_thread.loop
            assert loop is not None
            loop.spawn(run, context=context, on_done=lambda: done.set_result(None), name="cell")

        context = contextvars.copy_context()
        caller.call_direct(start)
        await done

    def answer(self, message: dict[str, Any]) -> None:
        """Answers a request that a handler was given, as if there were no handler."""
        self._kernel.core.answer(self._pass_on(message).request)

    def _pass_on(self, message: dict[str, Any]) -> HandledRequest:
        handled = self._handled.get(message.get("header", {}).get("msg_id"))
        if handled is None:
            msg = (
                "this is no request that a handler of kernel.shell_handlers or kernel.control_handlers was given: "
                "callboard answers no others"
            )
            raise ValueError(msg)
        handled.is_answered = True
        return handled
