"""The table of private names of other libraries that callboard uses.

A release may remove or change them without notice. Tests look for each of them in the installed release, and for
private names that the code uses and the table lacks. Nothing imports this module at run time.

Targets of replacements are in the table of `callboard.patches`, whether private or not. On the Rust side there is one
name: the trait ``FromZmqSocket`` of tmq, hidden in its documentation, which makes sockets of ones that have CURVE keys
(``src/transport/zmq.rs``). Cargo.toml allows one release of tmq only.
"""

from __future__ import annotations

from typing import NamedTuple


class PrivateName(NamedTuple):
    """A row of the table."""

    #: ``package.module:Class.attribute``. An attribute may be one that only the objects of a class have.
    name: str
    #: Why it is used, and what public way there is.
    reason: str
    #: Below the folder of the package, or of the repository.
    files: tuple[str, ...]
    #: The first release that is known to have it.
    since: str
    #: The first version of Python that it is not needed for.
    only_before: tuple[int, int] | None = None
    #: The first version of Python that it is needed for.
    only_from: tuple[int, int] | None = None


_PYTHON = "Python 3.11"
_IPYTHON = "IPython 9.17"
_SHELL = "IPython.core.interactiveshell:InteractiveShell"
_HISTORY = "IPython.core.history:HistoryManager"
_PREFILTER = "IPython.core.prefilter:PrefilterManager"
_CONTEXT = "A cell hides the loop that runs it from a nested one. There is no public way."

TABLE: tuple[PrivateName, ...] = (
    # -- Python -----------------------------------------------------------------------------------------------------
    PrivateName(
        "asyncio:_get_running_loop",
        "Returns None where no loop runs: get_running_loop() raises an exception, which takes longer.",
        (
            "aio/cancellation.py",
            "aio/wakeups.py",
            "nested_loops/hide_loop.py",
            "nested_loops/sigint.py",
            "nested_loops/tame_nest_asyncio.py",
            "nested_loops/wrap_runners.py",
        ),
        _PYTHON,
    ),
    PrivateName("asyncio:_set_running_loop", _CONTEXT, ("nested_loops/hide_loop.py",), _PYTHON),
    PrivateName(
        "asyncio.tasks:_swap_current_task",
        f"{_CONTEXT} Before Python 3.14 the current task of another loop is hidden with that loop.",
        ("nested_loops/hide_loop.py",),
        "Python 3.12",
        only_from=(3, 12),
    ),
    PrivateName(
        "asyncio.events:_get_event_loop_policy",
        "get_event_loop_policy() warns since Python 3.14.",
        ("aio/event_loop_policy.py",),
        "Python 3.14",
        only_from=(3, 14),
    ),
    PrivateName(
        "asyncio:DefaultEventLoopPolicy._local",
        "The loop that set_event_loop() was given, which a nested run resets. get_event_loop() returns another one.",
        ("nested_loops/hide_loop.py",),
        _PYTHON,
    ),
    PrivateName(
        "asyncio:DefaultEventLoopPolicy._Local._loop",
        "See DefaultEventLoopPolicy._local.",
        ("nested_loops/hide_loop.py",),
        _PYTHON,
    ),
    PrivateName(
        "asyncio:Handle._context",
        "The context of a callback that has failed: Handle.get_context() is there since Python 3.12.",
        ("context.py",),
        _PYTHON,
        only_before=(3, 12),
    ),
    PrivateName(
        "asyncio:Task._log_destroy_pending",
        "A loop of a program may be closed while a Caller waits in it: that is no error. There is no public way.",
        ("aio/loops/borrowed.py",),
        _PYTHON,
    ),
    PrivateName(
        "sys:_getframe",
        "The frame that a signal handler gets; that of a caller; the code that starts a thread. It is documented; "
        "inspect.currentframe() needs inspect.",
        ("context_inheritance.py", "ipython/shell/shell.py", "nested_loops/sigint.py"),
        _PYTHON,
    ),
    PrivateName(
        "sys:_current_frames",
        "Whether a thread is in code of a cell, before it gets an exception. It is documented.",
        ("src/python/threads.rs", "debugger/session.py"),
        _PYTHON,
    ),
    PrivateName(
        "ctypes:pythonapi._PyEval_SetTrace",
        "Removes the trace functions that the debugger leaves in all threads. PyEval_SetTraceAllThreads is newer.",
        ("debugger/session.py",),
        _PYTHON,
        only_before=(3, 12),
    ),
    PrivateName(
        "threading:_shutdown",
        "Waits for the threads that are no daemons, as the end of the interpreter does. There is no public way.",
        ("launch.py",),
        _PYTHON,
    ),
    PrivateName(
        "atexit:_run_exitfuncs",
        "Calls the functions of atexit, as the end of the interpreter does. There is no public way.",
        ("launch.py",),
        _PYTHON,
    ),
    # -- IPython and traitlets --------------------------------------------------------------------------------------
    PrivateName(
        "traitlets:HasTraits._trait_values",
        "Reads a trait without its descriptor, which takes ten times as long, or without making its default.",
        ("ipython/display.py", "kernel/kernel.py"),
        "traitlets 5.14",
    ),
    PrivateName(
        "IPython.core.displaypub:DisplayPublisher._validate_data",
        "A publisher calls it first, as IPython's own does.",
        ("ipython/shell/shell.py",),
        _IPYTHON,
    ),
    *(
        PrivateName(
            f"{_HISTORY}.{name}",
            "The last inputs: plain attributes instead of traits, which take as long to set as compiling a cell.",
            ("ipython/history.py",),
            _IPYTHON,
        )
        for name in ("_i", "_ii", "_iii", "_i00")
    ),
    PrivateName(
        f"{_HISTORY}._switch_to_memory_history",
        "What IPython does if it cannot begin a session, which here happens later.",
        ("ipython/history.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_HISTORY}._run_sql",
        "All reading goes through it: a file that is locked has no rows, and is not moved aside.",
        ("ipython/history.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_HISTORY}._finalizer",
        "Closes the database at exit: the shell does it, after it has written the rest.",
        ("ipython/history.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_HISTORY}._stop_save_thread",
        "close() stops the thread and closes the database, which may not be open here.",
        ("ipython/history.py",),
        _IPYTHON,
    ),
    *(
        PrivateName(
            f"{_PREFILTER}.{name}",
            "Whether the user has changed it; asked for each line alone, and the public property takes longer.",
            ("ipython/input_transform.py",),
            _IPYTHON,
        )
        for name in ("_checkers", "_handlers", "_transformers")
    ),
    PrivateName(
        f"{_PREFILTER}._last_input_line",
        "prefilter_line() sets it, an attribute of the shell; so does what replaces it here.",
        ("ipython/input_transform.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_SHELL}._find_with_lazy_load",
        "run_line_magic() finds magics with it: in a subshell also those of the main shell.",
        ("ipython/shell/subshell.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_SHELL}._ofind",
        "Inspection finds objects with it: in an isolated subshell also those of the main shell.",
        ("ipython/shell/subshell.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_SHELL}._tee",
        "run_cell() keeps what is printed with it, by replacing methods of streams that cells share: here nothing.",
        ("ipython/shell/shell.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_SHELL}._get_exc_info",
        "The exception to show, and what showtraceback() does where there is none.",
        ("ipython/shell/errors.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_SHELL}._showtraceback",
        "showtraceback() prints with it; here it publishes, as ipykernel's does.",
        ("ipython/shell/errors.py",),
        _IPYTHON,
    ),
    PrivateName(
        f"{_SHELL}._format_exception_for_storage",
        "What the history keeps of an exception; here also of one whose text cannot be had.",
        ("ipython/shell/errors.py",),
        _IPYTHON,
    ),
    PrivateName(
        "IPython.core.shellapp:InteractiveShellApp._exec_file",
        "Runs a startup file: here one that fails does not keep the others from running.",
        ("app.py",),
        _IPYTHON,
    ),
    PrivateName(
        "IPython.core.payload:PayloadManager._payload",
        "Its methods read and set it: here it is that of the calling cell.",
        ("ipython/shell/running_cell.py",),
        _IPYTHON,
    ),
    PrivateName(
        "IPython.core.magics.execution:_format_time",
        "%time shows times with it, also where it awaits code.",
        ("ipython/magics/code_magics.py",),
        _IPYTHON,
    ),
    PrivateName(
        "IPython.core.magics.code:CodeMagics._find_edit_target",
        "%edit finds the file of an object with it.",
        ("ipython/magics/kernel_magics.py",),
        _IPYTHON,
    ),
    *(
        PrivateName(
            f"IPython.core.magics.script:ScriptMagics._make_script_magic.named_script_magic.{variable}",
            "%%bash and the like are functions that have their program in a variable; they are awaited here.",
            ("ipython/magics/scripts.py",),
            _IPYTHON,
        )
        for variable in ("script", "self")
    ),
    # -- event loops ------------------------------------------------------------------------------------------------
    *(
        PrivateName(f"trio._core._run:{name}", _CONTEXT, (f"nested_loops/{file}.py",), "trio 0.27")
        for name, file in (
            ("GLOBAL_RUN_CONTEXT", "hide_loop"),
            ("GLOBAL_RUN_CONTEXT.runner", "wrap_runners"),
            ("GLOBAL_RUN_CONTEXT.task", "hide_loop"),
        )
    ),
)
