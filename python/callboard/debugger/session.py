"""Starts pydevd, which dials the debugger's actor, follows it into the cells, and removes it again."""

from __future__ import annotations

import importlib
import itertools
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import IPython
from IPython.core.inputtransformer2 import leading_empty_lines

from ..callers.calls import UNINTERRUPTIBLE_CODE, RunningCalls
from ..util.origins import OWN, PACKAGES, STANDARD

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from ..callers.caller import Caller
    from ..interrupts.handler import Interrupts
    from ..protocols import ShellsLike

#: The threads of callboard that run no code of the user's.
_OWN_THREADS = ("Control", "Debugger", "IPythonHistorySavingThread", "Command", "End of a command", "End of processes")


#: Files of callboard and of IPython.
_KERNELS = (OWN, os.path.dirname(IPython.__file__) + os.sep)


class DebuggerError(Exception):
    """What a client is told: what is wrong, and what to do."""


class Session:
    """pydevd in this process, from the first client until the end of the kernel: it can be attached again."""

    def __init__(self, shells: ShellsLike, interrupts: Interrupts, control: Caller) -> None:
        self._shells = shells
        self._interrupts = interrupts
        self._control = control
        #: Where pydevd lies.
        self._folder = ""
        #: What ``breakpoint()`` calls while attached, and called before.
        self._hook: Any = None
        self._hook_before: Any = None
        self._is_attached = False
        #: The transformations of input that leave leading blank lines, as long as it is attached.
        self._changed: list[list[Any]] = []
        self._connecting: threading.Thread | None = None

    def attach(self, host: str, port: int, token: str) -> dict[str, Any]:
        """Starts pydevd and has it connect to this address, where it shows the token. Returns when it traces all
        threads, which is after the client's ``configurationDone``."""
        before = sys.breakpointhook
        debugpy = _import_debugpy()
        pydevd: Any = sys.modules["pydevd"]
        self._folder = os.path.dirname(pydevd.__file__) + os.sep
        hide_from_pydevd(*(thread for thread in threading.enumerate() if thread.name in _OWN_THREADS))
        self._is_attached = True
        self._shells.follow(self._enter)
        self._interrupts.debugger = RunningCalls.debugger = self
        pydevd.install_breakpointhook(debugpy.breakpoint)
        self._hook, self._hook_before = sys.breakpointhook, before
        self._connecting = threading.current_thread()
        # As `debugpy.connect`, which cannot be told what else is not to be traced: callboard's own code, which goes on
        # while threads stand. The handler of an interrupt does, say.
        pydevd.settrace(
            host=host,
            port=port,
            notify_stdin=False,
            client_access_token=token,
            suspend=False,
            # Child processes run to their end: nobody would answer what pydevd says there.
            patch_multiprocessing=False,
            dont_trace_start_patterns=(os.path.dirname(debugpy.__file__), OWN),
            dont_trace_end_patterns=("debugpy_launcher.py",),
        )
        if sys.version_info >= (3, 12):
            # What an earlier session was not interested in may interest this one.
            sys.monitoring.restart_events()
        return {}

    def detach(self) -> dict[str, Any]:
        """Removes what pydevd and `attach` have put into threads and shells."""
        pydevd = sys.modules.get("pydevd")
        if pydevd is None or not self._is_attached:
            return {}
        self._is_attached = False
        if (db := pydevd.get_global_debugger()) is not None:
            # Ends `attach`, if that still waits for the client: it would trace the threads afterwards.
            db.ready_to_run = True
            if self._connecting is not None:
                self._connecting.join(5)
        if sys.breakpointhook is self._hook:
            pydevd.install_breakpointhook(self._hook_before)
        self._interrupts.debugger = RunningCalls.debugger = None
        self._shells.follow(None)
        for shell in self._shells.all():
            self._leave(shell)
        while self._changed:
            self._changed.pop().insert(0, leading_empty_lines)
        _resume()
        pydevd.stoptrace()
        if sys.version_info < (3, 12):
            _remove_traces()
        return {}

    # -- cells ------------------------------------------------------------------------------------------

    def _enter(self, shell: Any) -> None:
        """Follows the cells of a shell."""
        shell.events.register("pre_execute", _begin_cell)
        shell.events.register("post_execute", _end_cell)
        transforms = shell.input_transformer_manager.cleanup_transforms
        if leading_empty_lines in transforms:
            # Lines are those of the client's editor.
            transforms.remove(leading_empty_lines)
            self._changed.append(transforms)

    def _leave(self, shell: Any) -> None:
        for event, callback in (("pre_execute", _begin_cell), ("post_execute", _end_cell)):
            if callback in shell.events.callbacks[event]:
                shell.events.unregister(event, callback)

    # -- interrupts -------------------------------------------------------------------------------------

    def has_control(self, frame: FrameType | None) -> bool:
        """Whether code of pydevd's runs in this frame, or what it waits with: an exception would end the tracing of the
        thread at any place in it. Code that a client has it evaluate is the user's."""
        while frame is not None:
            filename = frame.f_code.co_filename
            if filename.startswith(self._folder):
                return True
            if filename not in (threading.__file__, __file__):
                return False
            frame = frame.f_back
        return False

    def interrupt(self, ident: int) -> bool:
        """Ends the stop of a thread with a `KeyboardInterrupt`, and lets all others go on. Returns False if it does not
        stand. Called by signal handlers too."""
        if not _stops.interrupt(ident):
            return False
        # In another thread: it takes locks that the interrupted code may have.
        self._control.call_direct(_resume)
        return True


class _Stops:
    """The threads that stand at a breakpoint, and those among them that are interrupted."""

    def __init__(self) -> None:
        #: By thread; whether it is to end with a `KeyboardInterrupt`. Changed without a lock, which a signal handler
        #: could not take.
        self._standing: dict[int, list[bool]] = {}
        #: By thread, the number of the frame at its last stop that the kernel has called.
        self._entries: dict[int, int] = {}

    def remember(self, frame: FrameType) -> None:
        """The calling thread stops here."""
        entry = _entry(frame)
        self._entries[threading.get_ident()] = id(entry)

    def is_step_into_kernel(self, frame: FrameType) -> bool:
        """Whether a step has left the user's code, and has come to what the kernel itself has called: a library that
        IPython uses between two statements of a cell, say."""
        entry = _entry(frame)
        if entry is None or id(entry) == self._entries.get(threading.get_ident()):
            return False
        return entry.f_code.co_filename.startswith((STANDARD, *PACKAGES, "<frozen"))

    def stand(self, ident: int, wait: Callable[[], Any]) -> Any:
        """Calls `wait`, in the thread that stands. Raises `KeyboardInterrupt` after it if that has come meanwhile."""
        self._standing[ident] = mark = [False]
        try:
            return wait()
        finally:
            del self._standing[ident]
            if mark[0]:
                # The tracing of this thread ends here, on Python 3.11. It begins again with the next cell.
                raise KeyboardInterrupt

    def interrupt(self, ident: int) -> bool:
        """Has a thread go on that stands, with a `KeyboardInterrupt`. Returns False if it does not stand."""
        mark = self._standing.get(ident)
        if mark is None:
            return False
        mark[0] = True
        return self._standing.get(ident) is mark


def _entry(frame: FrameType | None) -> FrameType | None:
    """The frame, on the way out from this one, that the kernel or IPython has called; None if they have not."""
    inner = None
    while frame is not None:
        if frame.f_code.co_filename.startswith(_KERNELS):
            return inner or frame
        inner, frame = frame, frame.f_back
    return None


_stops = _Stops()


def _resume(except_thread: Any = None) -> None:
    """Lets all threads go on that stand, but this one."""
    if "pydevd" in sys.modules:
        importlib.import_module("_pydevd_bundle.pydevd_thread_lifecycle").resume_threads("*", except_thread)


def _begin_cell() -> None:
    """Traces the thread of the cell that begins: it may be new, or an interrupt may have ended its tracing."""
    if sys.version_info < (3, 12) and sys.gettrace() is None:
        sys.modules["debugpy"].debug_this_thread()


def _end_cell() -> None:
    """Ends a step that goes on past the cell's end: it must not stop in the next one."""
    info = getattr(threading.current_thread(), "additional_info", None)
    if info is not None:
        info.pydev_step_cmd = info.pydev_original_step_cmd = -1
        info.pydev_step_stop = None
        info.update_stepping_info()


def _import_debugpy() -> Any:
    before = {name: value for name, value in os.environ.items() if name.startswith("PYDEVD_")}
    # It would warn of frozen modules, in whose files nobody sets breakpoints.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    try:
        import debugpy
        import debugpy.server  # it finds pydevd, which lies in a folder of debugpy's own
    except ImportError as error:
        msg = f"the debugger needs the package debugpy ({error}): {sys.executable} -m pip install 'callboard[debug]'"
        raise DebuggerError(msg) from error
    finally:
        # Child processes inherit the variables.
        for name in [name for name in os.environ if name.startswith("PYDEVD_")]:
            del os.environ[name]
        os.environ.update(before)
    pydevd = sys.modules["pydevd"]
    if pydevd.start_client.__module__ != __name__:
        _change(pydevd)
    return debugpy


def _change(pydevd: Any) -> None:
    """Changes what pydevd does when it connects, and when a thread stands."""
    connect, do_wait = pydevd.start_client, pydevd.PyDB.do_wait_suspend
    commands = importlib.import_module("_pydevd_bundle.pydevd_comm_constants")
    steps = {number for name, number in vars(commands).items() if name.startswith("CMD_STEP_")}
    steps.discard(commands.CMD_STEP_CAUGHT_EXCEPTION)
    running = importlib.import_module("_pydevd_bundle.pydevd_constants").STATE_RUN

    def start_client(host: str, port: int) -> socket.socket:
        made: socket.socket = connect(host, port)
        # It writes the header of a message and the body apart. The second would wait for the acknowledgement of the
        # first, which comes after 40 ms.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def do_wait_suspend(self: Any, thread: Any, frame: FrameType, *args: Any, **kwargs: Any) -> Any:
        if thread.stop_reason in steps and _stops.is_step_into_kernel(frame):
            # The step goes on, and so do the threads that would stand with this one.
            thread.additional_info.pydev_state = running
            _resume(thread)
            return None
        _stops.remember(frame)
        return _stops.stand(threading.get_ident(), lambda: do_wait(self, thread, frame, *args, **kwargs))

    UNINTERRUPTIBLE_CODE.update((_Stops.stand.__code__, do_wait_suspend.__code__))

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        # What is known of code is known by this number: an earlier session, which filtered other code out, had others.
        self.mtime = next(mtimes)

    make, mtimes = pydevd.PyDB.__init__, itertools.count(0, 100_000)
    pydevd.start_client = start_client
    pydevd.PyDB.__init__, pydevd.PyDB.do_wait_suspend = begin, do_wait_suspend


def hide_from_pydevd(*threads: Any) -> None:
    """Has pydevd leave threads alone: they are not shown, traced or stopped."""
    for thread in threads:
        thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True


def _remove_traces() -> None:
    """Removes the trace functions of all threads: ``stoptrace`` removes its own thread's."""
    import ctypes

    api = ctypes.pythonapi
    api.PyInterpreterState_Get.restype = ctypes.c_void_p
    api.PyInterpreterState_ThreadHead.restype = api.PyThreadState_Next.restype = ctypes.c_void_p
    state = api.PyInterpreterState_ThreadHead(ctypes.c_void_p(api.PyInterpreterState_Get()))
    while state:
        ctypes.pythonapi._PyEval_SetTrace(ctypes.c_void_p(state), None, None)
        state = api.PyThreadState_Next(ctypes.c_void_p(state))
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None:
            frame.f_trace = None
            frame = frame.f_back
