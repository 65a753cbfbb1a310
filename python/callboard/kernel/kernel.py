"""The kernel as Python code sees it: ``get_ipython().kernel``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from traitlets.config import Configurable

from .. import context_inheritance, patches
from ..aio import wakeups
from ..aio.pending import Pending
from ..callers.caller import Caller
from ..callers.calls import UNINTERRUPTIBLE_CODE, USER_CODE, RunningCalls
from ..callers.registry import registry
from ..cells.run import CellRunner, failure_of, show
from ..cells.traceback_warmup import TracebackWarmup
from ..context import current_cell
from ..ipython import compiler
from ..ipython.shell import process_wide
from ..ipython.shell.shell import ZMQInteractiveShell
from ..nested_loops import wrap_runners
from ..requests import comms, stdin
from ..requests.stream import OutStream
from ..util.import_hook import after_import
from .dispatch import Dispatcher
from .kernelbase import Kernel
from .library_attributes import KernelAttributes
from .shells import Shells
from .thread_interrupts import ThreadInterrupts

if TYPE_CHECKING:
    from types import ModuleType

    from .. import _core
    from ..cells.queue import CellQueue
    from ..cells.timeouts import Timeouts
    from ..interrupts.handler import Interrupts
    from ..patches import Applied
    from ..requests.comms import CommManager


#: Why another kernel, or its application, cannot be made or started.
ONE_KERNEL = "this process has a kernel, which runs: another one needs a process of its own"


class IPythonKernel(KernelAttributes, Kernel):
    """Connects the parts of the Python side: shells, Callers, request handlers, standard streams. Its public attributes
    and methods are those that libraries use; those that only libraries use are in `KernelAttributes`."""

    __module__ = "ipykernel.ipkernel"

    #: Whether it answers requests yet. Before that it runs startup files.
    is_serving = False
    #: The main shell.
    shell: ZMQInteractiveShell
    comm_manager: CommManager
    _shells: Shells
    _main_queue: CellQueue
    _runner: CellRunner
    _dispatcher: Dispatcher

    def __init__(
        self,
        core: _core.Kernel | None = None,
        interrupts: Interrupts | None = None,
        *,
        parent: Any = None,
        **_kwargs: Any,
    ) -> None:
        if core is None or interrupts is None:
            raise RuntimeError(ONE_KERNEL)
        # Not that of kernels of libraries, nor that of configurable objects, which looks for options: there are none.
        super(Configurable, self).__init__()
        self._trait_values.update(parent=parent, config=parent.config)
        self.log = parent.log
        self.core = core
        self.interrupts = interrupts
        self.interface = Interface(self)
        self._streams: tuple[Applied, ...] = ()
        #: The Caller of the main thread.
        self.main = Caller.of(core.shell_caller())
        #: The Caller of the thread that answers editors.
        self.control = Caller.of(core.control_caller())

    # -- set-up -----------------------------------------------------------------------------------------

    def init_io(self, *, capture_fds: bool = True) -> None:
        """Sends standard output to cells; with `capture_fds` also that of C code and child processes."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        if capture_fds:
            self.core.capture_fds()
        core = self.core
        out, err = OutStream.standard(core.stdout(), "stdout", 1), OutStream.standard(core.stderr(), "stderr", 2)
        self._streams = patches.put("sys:stdout", out), patches.put("sys:stderr", err)
        context_inheritance.follow_into_threads()
        compiler.install()
        wrap_runners.install()
        debuggers = dict.fromkeys(("pdb", "IPython.core.debugger"), _debugger_imported)
        patches.put("sys:meta_path", after_import({**wrap_runners.AFTER_IMPORT, **debuggers}))

    def init_shell(self, parent: Configurable, **kwargs: Any) -> None:
        """Makes the main shell."""
        self.comm_manager = comms.install(self)
        self.shell = ZMQInteractiveShell.instance(parent=parent, kernel=self, **kwargs)
        process_wide.install(self.shell)
        self._shells = Shells(self.core, self.shell)
        stdin.install(self.core, self.shell)
        self._runner = CellRunner(self, self.main, self.interrupts, self._make_timeouts)
        warmup = TracebackWarmup(self.shell, self.main, self.control)
        runner, interrupts = self._runner, self.interrupts
        self._dispatcher = Dispatcher(self.core, self._shells, runner, warmup, self.comm_manager, interrupts)

    def run(self) -> None:
        """Serves requests until the kernel is shut down. Call it on the main thread."""
        main, control, interrupts = self.main, self.control, self.interrupts
        wakeups.home = main.loop_thread.wakeups
        main.loop_thread.keep_running()
        control.loop_thread.keep_running()
        dispatcher = self._dispatcher
        self._main_queue = dispatcher.serve_main(main)
        main.loop_thread.on_stop = self._begin_shutdown
        dispatcher.serve_control(control)
        registry.on_new = dispatcher.serve
        USER_CODE.add(ZMQInteractiveShell.run_code.__code__)
        UNINTERRUPTIBLE_CODE.update((ZMQInteractiveShell.showtraceback.__code__, show.__code__))
        RunningCalls.call_later = control.call_later
        control.loop_thread.start()
        self.is_serving = True
        threads = ThreadInterrupts(main, control)
        interrupts.start(main.loop_thread.calls.by_task, threads, USER_CODE, UNINTERRUPTIBLE_CODE)
        try:
            main.loop_thread.run()
        finally:
            interrupts.stop()
            assert control.thread is not None
            control.thread.join(timeout=1)
            for stream in self._streams:
                stream.undo(by_force=True)

    # -- cells --------------------------------------------------------------------------------------------

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: dict[str, Any] | None = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        """Runs code as the current cell. Returns the content of the reply. Libraries may override it."""
        cell = current_cell.get()
        assert cell is not None
        shell = cell.shell
        result = await shell.run_cell_and_trigger(
            code, store_history=store_history, silent=silent, cell_id=cell_id or (cell_meta or {}).get("cellId")
        )
        reply: dict[str, Any] = {"execution_count": cell.number}
        # What happened decides, not what the code has displayed. An exception may be false. A `run_cell` of a library's
        # may return nothing.
        error = None
        if result is not None:
            error = result.error_before_exec if result.error_before_exec is not None else result.error_in_exec
        failure = cell.display_error
        if error is not None or (failure is None and cell.tags.raises_exception):
            failure = failure_of(cell, error)
        if failure is None or cell.tags.suppress_error:
            reply["status"] = "ok"
            reply["user_expressions"] = shell.user_expressions(user_expressions or {})
        else:
            reply.update(status="error", user_expressions={}, **failure)
        reply["payload"] = cell.payloads
        return reply

    # -- for libraries ----------------------------------------------------------------------------------

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict; with "control" the last one that came on that
        channel and needed Python."""
        if channel == "control":
            last = self._dispatcher.last_on_control
            return {} if last is None else last.message
        return self.shell.get_parent()

    def set_parent(self, ident: Any, parent: dict[str, Any], channel: str = "shell") -> None:
        """Assigns output of the calling context to this request (a message dict). Ignores `ident` and `channel`, which
        are in the request."""
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
        """Makes a subshell (JEP 91). Returns its shell.

        Raises `RuntimeError` if subshells are switched off or the kernel is ending."""
        return self._shells.of(self.core.create_subshell())

    def delete_subshell(self, subshell_id: str) -> Pending[None]:
        """Deletes a subshell as ``delete_subshell_request`` does: cancels and answers its cells. The result is done
        when its thread has ended, and fails if there is no such subshell."""
        pen: Pending[None] = Pending()
        self.core.delete_subshell(subshell_id, pen)
        return pen

    @property
    def subshells(self) -> dict[str, ZMQInteractiveShell]:
        """The shells of the subshells (JEP 91), by id."""
        return {subshell: self._shells.of(subshell) for subshell in self.core.subshells()}

    def stop_soon(self) -> None:
        """Ends the kernel when the cell that runs has been answered."""
        self.main.call_direct(self._begin_shutdown)

    # -- loaded when they are needed ---------------------------------------------------------------------

    def _begin_shutdown(self) -> None:
        from .shutdown import Shutdown

        Shutdown(self.main, self._main_queue, self.comm_manager).begin()

    def _make_timeouts(self) -> Timeouts:
        from ..cells.timeouts import Timeouts

        return Timeouts(self.core, self.main, self.control, self.interrupts)


class Interface:
    """``kernel.interface``: the backend and the Callers of the kernel."""

    def __init__(self, kernel: IPythonKernel) -> None:
        self.kernel = kernel

    @property
    def backend(self) -> str:
        """The event loop of the main thread: ``asyncio`` or ``trio``."""
        return self.kernel.main.backend

    @property
    def callers(self) -> dict[str, Caller]:
        """The Callers of the kernel's own, by channel."""
        return self.kernel.callers


def _debugger_imported(module: ModuleType) -> None:
    from ..ipython import debugger

    debugger.imported(module)
