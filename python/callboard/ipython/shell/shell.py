"""IPython's shell, with its output sent to the frontends."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import functools
import json
import os
import sys
import threading
import traceback
import types
from typing import TYPE_CHECKING, Any

from IPython.core import page
from IPython.core.autocall import ZMQExitAutocall
from IPython.core.builtin_trap import BuiltinTrap
from IPython.core.display_trap import DisplayTrap
from IPython.core.interactiveshell import InteractiveShell, InteractiveShellABC
from IPython.core.magic import MagicsManager
from IPython.core.payload import PayloadManager
from IPython.core.usage import default_banner
from traitlets import Any as AnyTrait
from traitlets import CBool, Instance, Type, default, observe

from ...aio.cancellation import current_task, is_stopped
from ...context import Parent, current_cell, current_parent, get_ipython, part_of_cell, set_main_shell
from ...interrupts.traceback_cutoff import cut_traceback
from ...util.json import encode
from ...util.lazy_attribute import LazyAttribute
from .. import tracebacks
from ..compiler import Compiler
from ..display import DisplayFormatter, ZMQDisplayPublisher, ZMQShellDisplayHook
from ..history import History, SubshellHistory
from ..input_transform import Prefilter, Transformer
from ..magics.async_magics import AsyncMagics
from ..magics.kernel_magics import KernelMagics

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from ...protocols import CellLike, KernelServices, ShellLike


#: The messages that `set_parent` was given lately, for `get_parent`.
_given_parents: dict[Parent, dict[str, Any]] = {}
_KEPT_PARENTS = 100


class _Payloads(PayloadManager):
    """What goes to the frontend with the reply of a cell, kept by that cell."""

    @property
    def _payload(self) -> list[dict[str, Any]]:
        cell = current_cell.get()
        return cell.payloads if cell is not None else []

    @_payload.setter
    def _payload(self, payloads: list[dict[str, Any]]) -> None:
        if (cell := current_cell.get()) is not None:
            cell.payloads = payloads


class _Builtins(BuiltinTrap):
    """IPython's builtins, which are there all the time: cells that run at once would take them from each other."""

    def __enter__(self) -> _Builtins:
        return self

    def __exit__(self, *_exc_info: object) -> bool:
        return False


class _Display(DisplayTrap):
    """``sys.displayhook``, which is there all the time."""

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *_exc_info: object) -> bool:
        return False


def show_exception(etype: type, error: BaseException, traceback: TracebackType | None) -> None:
    """``sys.excepthook``: in a cell what IPython's is, but the same for all cells, which run at the same time and would
    put back each other's."""
    if current_cell.get() is None:
        sys.__excepthook__(etype, error, traceback)
    else:
        get_ipython().showtraceback((etype, error, traceback), tb_offset=0)


class _ReadThrough(dict):
    """The builtins of an isolated subshell: the main shell's variables go before them, as they do there."""

    def __init__(self, variables: dict[str, Any]) -> None:
        # Some of CPython looks into the dict itself.
        super().__init__(builtins.__dict__)
        self._variables = variables

    def __getitem__(self, name: str) -> Any:
        try:
            return self._variables[name]
        except KeyError:
            return builtins.__dict__[name]


def _is_given(magic: Any) -> bool:
    """Whether a magic is IPython's or callboard's, or none, and not the user's."""
    return magic is None or (getattr(magic, "__module__", None) or "").partition(".")[0] in ("IPython", "callboard")


def _load_magics_in_turn() -> None:
    """Lets one thread after the other load the magics that IPython imports when they are first used: a second one would
    find them half done."""
    load = getattr(MagicsManager, "load_lazy", None)
    if load is None:
        return
    turn = threading.RLock()

    @functools.wraps(load)
    def load_lazy(self: MagicsManager, *args: Any) -> None:
        with turn:
            load(self, *args)

    MagicsManager.load_lazy = load_lazy  # type: ignore[method-assign]


class ZMQInteractiveShell(AsyncMagics, InteractiveShell):
    """The shell that runs cells. Its name is what libraries look for to find out that they are in a
    notebook."""

    displayhook_class = Type(ZMQShellDisplayHook)
    display_pub_class = Type(ZMQDisplayPublisher)
    compiler_class = Type(Compiler)
    # IPython's names the module of its own one, which traitlets imports with the first shell.
    inspector_class = Type(object, help=InteractiveShell.inspector_class.help).tag(config=True)
    kernel: KernelServices = AnyTrait()  # type: ignore[assignment]
    exiter = Instance(ZMQExitAutocall)
    readline_use = CBool(False)
    autoindent = CBool(False)
    keepkernel_on_exit = None

    # Set once, when the shell is made. IPython's are traits, which take five times as long as attributes, and each cell
    # asks for them a dozen times.
    history_manager: History = None  # type: ignore[assignment]
    magics_manager: MagicsManager = None  # type: ignore[assignment]
    prefilter_manager: Prefilter = None  # type: ignore[assignment]
    builtin_trap: BuiltinTrap = None  # type: ignore[assignment]
    display_trap: DisplayTrap = None  # type: ignore[assignment]

    #: The id of the subshell (JEP 91) that it is the shell of.
    subshell_id: str | None = None
    #: Shares its variables with the main shell.
    shares_variables = False
    #: What IPython makes with a shell has been made, and extensions are loaded.
    is_made = False

    def __init__(
        self,
        *args: Any,
        subshell_id: str | None = None,
        main: ZMQInteractiveShell | None = None,
        shares_variables: bool = False,
        **kwargs: Any,
    ) -> None:
        self.subshell_id = subshell_id
        #: The shell that is no subshell.
        self._main = main or self
        self.shares_variables = shares_variables
        self._next_number = 1
        self._numbers = threading.Lock()
        self._foreground: Parent | None = None
        self._closed = False
        self._configurables: list[Any] = []
        super().__init__(*args, **kwargs)
        self.is_made = subshell_id is not None
        if subshell_id is not None:
            self._share_with(self._main)
        # tqdm and others look for this section to find out that they are in a notebook.
        self.config.IPKernelApp  # noqa: B018 - making it is the point

    @default("inspector_class")
    def _default_inspector_class(self) -> type:
        from IPython.core.oinspect import Inspector

        return Inspector

    @default("banner1")
    def _default_banner1(self) -> str:
        return default_banner

    @default("exiter")
    def _default_exiter(self) -> ZMQExitAutocall:
        return ZMQExitAutocall(self)

    @default("input_transformer_manager")
    def _default_input_transformer_manager(self) -> Transformer:
        return Transformer(self.compile)

    @observe("exit_now")
    def _exit_now_changed(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self.kernel.stop_soon()

    # -- set-up -----------------------------------------------------------------------------------------

    def init_environment(self) -> None:
        """Lets programs that cells start know that they may use colour, but have no pager."""
        os.environ.update(
            TERM="xterm-color", CLICOLOR="1", FORCE_COLOR="1", CLICOLOR_FORCE="1", PAGER="cat", GIT_PAGER="cat"
        )

    def init_hooks(self) -> None:
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(self.payloadpage_page), 99)

    def init_magics(self) -> None:
        super().init_magics()
        self.register_magics(KernelMagics)
        self.magics_manager.register_alias("ed", "edit")

    def init_virtualenv(self) -> None:
        """Does nothing: a kernel runs in the environment that it is installed in."""

    # -- what is made when it is first asked for --------------------------------------------------------

    def _make_completer(self) -> None:
        if self.subshell_id is None:
            super().init_completer()
            return
        # IPython's own ways to complete are there already: those of the main shell.
        shared, self.strdispatchers = self.strdispatchers, {}
        try:
            super().init_completer()
        finally:
            self.strdispatchers = shared
        self.Completer.custom_completers = self._main.Completer.custom_completers
        if not self.shares_variables:
            self.Completer.global_namespace = self._main.user_ns

    Completer = LazyAttribute(_make_completer)

    def init_completer(self) -> None:
        """Nothing yet: see `Completer`."""

    def _make_inspector(self) -> None:
        # IPython sees that there is none.
        super().init_syntax_highlighting()

    inspector = LazyAttribute(_make_inspector)

    @observe("colors")
    def init_syntax_highlighting(self, changes: Any = None) -> None:
        """Takes note of the colours."""
        made = "inspector" in vars(self)
        if not made:
            self.inspector = types.SimpleNamespace(set_theme_name=lambda _name: None)
        super().init_syntax_highlighting(changes)
        if not made:
            del self.inspector

    def set_hook(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Adds a hook; those that complete come after IPython's."""
        if name == "complete_command":
            self.Completer  # noqa: B018 - making it is the point
        super().set_hook(name, *args, **kwargs)

    @property
    def configurables(self) -> list[Any]:
        """What ``%config`` knows."""
        if self.is_made:
            self.Completer  # noqa: B018 - making it is the point
        return self._configurables

    @configurables.setter
    def configurables(self, configurables: list[Any]) -> None:
        self._configurables = configurables

    # -- subshells --------------------------------------------------------------------------------------

    def be_everywhere(self) -> None:
        """Makes this the main shell: ``get_ipython()`` is it wherever no other shell's cell runs."""
        set_main_shell(self)
        _load_magics_in_turn()
        for name in ("exit", "quit"):
            setattr(builtins, name, self.exiter)
        builtins.get_ipython = get_ipython  # type: ignore[attr-defined]
        InteractiveShell.initialized = classmethod(lambda _cls: True)  # type: ignore[method-assign, assignment]
        InteractiveShell.instance = classmethod(lambda _cls, *_a, **_k: get_ipython())  # type: ignore[method-assign, assignment]
        sys.displayhook = lambda value: get_ipython().displayhook(value)
        sys.excepthook = show_exception

    def make_subshell(self, subshell_id: str, isolated: bool) -> ZMQInteractiveShell:
        """A shell with counter, ``Out``, history and state of its own. It shares the variables, formatters and
        transformers of this one; an `isolated` one has variables of its own, and reads those it does not have here."""
        module = self.user_module
        if isolated:
            module = types.ModuleType(self.user_module.__name__, self.user_module.__doc__)
            module.__dict__["__builtins__"] = _ReadThrough(self.user_ns)
        return ZMQInteractiveShell(
            parent=self.parent,
            kernel=self.kernel,
            profile_dir=self.profile_dir,
            user_module=module,
            user_ns=module.__dict__ if isolated else self.user_ns,
            subshell_id=subshell_id,
            main=self,
            shares_variables=not isolated,
        )

    def _share_with(self, main: ZMQInteractiveShell) -> None:
        """Takes over what users change in the main shell, so that it holds in its subshells as well."""
        # What registered itself until now belongs to this shell alone, and goes with it.
        self.events = main.events
        self.compile = main.compile
        self.hooks, self.strdispatchers = main.hooks, main.strdispatchers
        self.input_transformer_manager = main.input_transformer_manager
        self.input_transformers_post = main.input_transformers_post
        self.ast_transformers = main.ast_transformers
        self.extension_manager = main.extension_manager
        self.InteractiveTB, self.SyntaxTB = main.InteractiveTB, main.SyntaxTB
        if self.shares_variables:
            self.user_ns_hidden = main.user_ns_hidden

    def atexit_operations(self) -> None:
        if self.subshell_id is None:
            super().atexit_operations()
        else:
            self.close()

    def close(self) -> None:
        """Ends the shell of a subshell: what it has made for itself goes, what it shares stays."""
        import shutil

        with self._numbers:
            closed, self._closed = self._closed, True
        if closed:
            return
        atexit.unregister(self.atexit_operations)
        self.history_manager.close()
        self._end_scripts()
        for file in self.tempfiles:
            with contextlib.suppress(OSError):
                os.unlink(file)
        for folder in self.tempdirs:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)

    def _end_scripts(self) -> None:
        """Ends the thread that ``%%bash`` and the like have started, unless processes in the background need it."""
        scripts = self.magics_manager.registry.get("ScriptMagics")
        loop = getattr(scripts, "event_loop", None)
        if scripts is None or scripts.bg_processes:
            return
        atexit.unregister(scripts.kill_bg_processes)
        if hasattr(scripts, "stop_event_loop"):
            scripts.stop_event_loop()
        elif loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def init_sys_modules(self) -> None:
        if self.subshell_id is None:
            super().init_sys_modules()

    def init_user_ns(self) -> None:
        if not self.shares_variables:
            super().init_user_ns()

    def init_prefilter(self) -> None:
        self.prefilter_manager = Prefilter(self, parent=self)
        self.configurables.append(self.prefilter_manager)
        self.prefilter = self.prefilter_manager.prefilter_lines

    def init_history(self) -> None:
        if self.subshell_id is None:
            self.history_manager = History(shell=self, parent=self)
            self.configurables.append(self.history_manager)
        else:
            self.history_manager = SubshellHistory(shell=self, parent=self, hist_file=":memory:")

    def init_display_formatter(self) -> None:
        if self.subshell_id is None:
            self.display_formatter = DisplayFormatter(parent=self)
            self.configurables.append(self.display_formatter)
        else:
            self.display_formatter = self._main.display_formatter

    def init_builtins(self) -> None:
        super().init_builtins()
        self.builtin_trap = _Builtins(shell=self)

    def init_displayhook(self) -> None:
        user_ns = self._user_ns
        if self.shares_variables:
            # The hook begins with an empty _.
            self._user_ns = {}
        super().init_displayhook()
        self._user_ns = user_ns
        self.display_trap = _Display(hook=self.displayhook)

    def init_payload(self) -> None:
        self.payload_manager = _Payloads(parent=self)

    def get_ipython(self) -> ShellLike:  # type: ignore[override]
        """The shell that the calling code belongs to."""
        return get_ipython()

    def find_magic(self, magic_name: str, magic_kind: str = "line") -> Any:
        """A magic; in a subshell also those that users have made in the main shell."""
        return self._or_that_of_main(super().find_magic(magic_name, magic_kind), magic_name, magic_kind)

    def find_line_magic(self, magic_name: str) -> Any:
        """See `find_magic`."""
        return self.find_magic(magic_name, "line")

    def find_cell_magic(self, magic_name: str) -> Any:
        """See `find_magic`."""
        return self.find_magic(magic_name, "cell")

    def _find_with_lazy_load(self, type_: str, magic_name: str) -> Any:
        return self._or_that_of_main(super()._find_with_lazy_load(type_, magic_name), magic_name, type_)

    def _or_that_of_main(self, found: Any, name: str, kind: str) -> Any:
        if self.subshell_id is None or not (found is None or _is_given(found)):
            return found
        if found is not None and _is_given(self._main.magics_manager.magics[kind].get(name)):
            return found
        return self._main.find_magic(name, kind) or found

    def may_be_magic(self, name: str) -> bool:
        """Whether there could be a magic of this name: `find_magic` tells, but may have to import it."""
        if name.startswith("%"):
            return True
        for manager in {self.magics_manager, self._main.magics_manager}:
            if name in manager.lazy_magics or any(name in magics for magics in manager.magics.values()):
                return True
        return False

    def _ofind(self, oname: str, namespaces: Any = None) -> Any:
        """Finds an object by name; in an isolated subshell also among the variables of the main shell."""
        found = super()._ofind(oname, namespaces)
        if not found.found and namespaces is None and self.subshell_id is not None and not self.shares_variables:
            return super()._ofind(oname, [("Interactive", self._main.user_ns)])
        return found

    # -- numbers ----------------------------------------------------------------------------------------

    @property
    def execution_count(self) -> int:  # type: ignore[override]
        """The number of the next cell. Cells that run at the same time have one each."""
        cell = current_cell.get()
        if cell is not None and cell.shell is self and cell.execution_count:
            return cell.execution_count
        return self._next_number

    @execution_count.setter
    def execution_count(self, number: int) -> None:
        cell = current_cell.get()
        if cell is None or cell.shell is not self:
            self._next_number = number
            return
        with self._numbers:
            if number != cell.execution_count + 1:
                # The user's wish.
                self._next_number = number
            elif cell.execution_count != cell.number:
                # IPython counts what the cell runs in its turn. (It counts the cell itself too: that is done.)
                self._next_number = max(self._next_number, number)
            cell.execution_count = number

    # -- the request that code runs for -----------------------------------------------------------------

    def begin_cell(self, cell: CellLike) -> None:
        """Gives a cell its number."""
        self._foreground = cell.parent
        with self._numbers:
            cell.number = cell.execution_count = self._next_number
            if cell.request.store_history and cell.code and not cell.code.isspace():
                self._next_number += 1

    async def run_code(self, code_obj: Any, result: Any = None, *, async_: bool = False) -> bool:
        """Runs a code object; what interrupts threads looks for this function in their stacks."""
        return await super().run_code(code_obj, result, async_=async_)

    @property
    def parent_request(self) -> Parent | None:
        """The request that the calling code runs for; the last one of any thread where that is not known."""
        return current_parent.get(None) or self._foreground

    @property
    def parent_header(self) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        parent = self.parent_request
        if parent is None:
            return {}
        return _given_parents.get(parent) or parent.message

    @parent_header.setter
    def parent_header(self, parent: dict[str, Any]) -> None:
        self.set_parent(parent)

    def get_parent(self) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        return self.parent_header

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Output of the calling context belongs to this request (a message dict) from now on."""
        self._foreground = self._as_parent(parent)
        current_parent.set(self._foreground)

    def set_thread_parent(self, parent: dict[str, Any]) -> Token[Parent]:
        """Like `set_parent`, for the calling thread only. Returns what `reset_thread_parent` takes."""
        return current_parent.set(self._as_parent(parent))

    def reset_thread_parent(self, token: Token[Parent]) -> None:
        """Undoes the `set_thread_parent` that returned the token."""
        current_parent.reset(token)

    def _as_parent(self, message: dict[str, Any]) -> Parent:
        like = self.parent_request
        for known in (like, self._foreground):
            if known is not None and known.message is message:
                return known
        header = message.get("header", message)
        header = json.loads(json.dumps(header, default=str))
        for name in ("msg_id", "msg_type"):
            header.setdefault(name, "")
        parent = Parent(encode(header), encode(message.get("metadata", {})), like)
        if "header" in message:
            _given_parents[parent] = message
            while len(_given_parents) > _KEPT_PARENTS:
                _given_parents.pop(next(iter(_given_parents)), None)
        return parent

    # -- output -----------------------------------------------------------------------------------------

    def showtraceback(
        self,
        exc_tuple: tuple[type, BaseException, TracebackType] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Shows a traceback; a cell that an interrupt has cancelled shows ``KeyboardInterrupt``, and one whose time was
        up ``TimeoutError``."""
        error = sys.exc_info()[1] if exc_tuple is None else exc_tuple[1]
        if isinstance(error, KeyboardInterrupt) and error.__traceback__ is not None:
            cut_traceback(error.__traceback__)
        cell = current_cell.get()
        # Only what ends the cell: other tasks and threads of it show what they like.
        if cell is not None and current_task() is not cell.task.raw and not part_of_cell.get():
            cell = None
        if cell is not None and error is not None and cell.shown[0] is error:
            cell.error = cell.shown[1]
            return
        stopped = error is not None and is_stopped(error)
        if cell is not None and stopped and (cell.timed_out or cell.interrupted):
            if not part_of_cell.get() and isinstance(cell.shown[0], (KeyboardInterrupt, TimeoutError)):
                # What stopped the cell has stopped a part of it first, which has shown it.
                cell.error = cell.shown[1]
                return
            cell.ending = True
            replacement: BaseException = KeyboardInterrupt()
            if cell.timed_out:
                replacement = cell.timeout_error()
            if cell.timed_out or not isinstance(error, KeyboardInterrupt):
                replacement = replacement.with_traceback(error.__traceback__)
                exc_tuple = (type(replacement), replacement, error.__traceback__)  # type: ignore[assignment]
        if _contains_group(error):
            # IPython would print it, and the frontend would be told of no error.
            etype, value, tb = self._get_exc_info(exc_tuple)
            lines = traceback.format_exception(etype, value, tb and (tb.tb_next or tb))
            self._showtraceback(etype, value, [line.rstrip("\n") for line in lines])
            return
        tracebacks.prepare()
        if cell is None or not cell.interrupted:
            super().showtraceback(exc_tuple, *args, **kwargs)  # type: ignore[arg-type]
            return
        # Another interrupt must not hit what shows the first one.
        before, cell.in_user_code = cell.in_user_code, False
        try:
            super().showtraceback(exc_tuple, *args, **kwargs)  # type: ignore[arg-type]
        finally:
            cell.in_user_code = before

    def show_usage_error(self, exc: BaseException) -> None:
        """Shows how a magic is used, without a traceback."""
        super().show_usage_error(exc)
        if (cell := current_cell.get()) is not None:
            cell.error = {"ename": type(exc).__name__, "evalue": text_of(exc), "traceback": []}

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self._last_traceback = stb
        self._show_error(evalue, {"ename": etype.__name__, "evalue": text_of(evalue), "traceback": stb})

    def show_plainly(self, error: BaseException) -> None:
        """Shows an exception whose traceback cannot be formatted."""
        content = {"ename": type(error).__name__, "evalue": text_of(error)}
        self._show_error(error, {**content, "traceback": [f"{content['ename']}: {content['evalue']}"]})

    def _show_error(self, error: BaseException, content: dict[str, Any]) -> None:
        """Publishes an exception, and takes note that the cell has shown it."""
        cell = current_cell.get()
        is_part = part_of_cell.get()
        # Other tasks and threads of it show what they like.
        if cell is None or not (is_part or current_task() is cell.task.raw):
            self.kernel.core.publish("error", encode(content))
            return
        # An interrupt between publishing and taking note would have it shown never, or twice.
        before, cell.in_user_code = cell.in_user_code, False
        try:
            if cell.abandoned:
                pass
            elif cell.tags.suppress_error:
                print("\N{WARNING SIGN}")
            else:
                self.kernel.core.publish("error", encode(content))
            if is_part:
                cell.shown = error, content
            else:
                cell.error = content
        finally:
            cell.in_user_code = before

    def _tee(self, channel: str) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """What ``run_cell`` keeps of what is printed: nothing, as when a frontend runs a cell. It could only be had by
        replacing methods of the streams, which cells that run at the same time share."""
        return contextlib.nullcontext()

    @property
    def excepthook(self) -> Any:  # type: ignore[override]
        """What ``sys.excepthook`` is while a cell runs."""
        return show_exception

    def _format_exception_for_storage(self, exception: BaseException, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What the history keeps of an exception, also of one that cannot be turned into text."""
        try:
            return super()._format_exception_for_storage(exception, *args, **kwargs)
        except BaseException:  # noqa: BLE001 - user code
            return {"ename": type(exception).__name__, "evalue": text_of(exception), "traceback": []}

    def payloadpage_page(
        self, strg: str | dict[str, Any], start: int = 0, screen_lines: int = 0, pager_cmd: Any = None
    ) -> None:
        """Shows text in the frontend's pager."""
        data = strg if isinstance(strg, dict) else {"text/plain": strg}
        self.payload_manager.write_payload({"source": "page", "data": data, "start": max(0, start)})

    def set_next_input(self, text: str, replace: bool = False) -> None:
        """Puts text into the frontend's next (or with `replace`, this) cell."""
        self.payload_manager.write_payload({"source": "set_next_input", "text": text, "replace": replace})

    def ask_exit(self) -> None:
        """``exit`` and ``quit``: ends the kernel."""
        self.exit_now = not self.keepkernel_on_exit
        self.payload_manager.write_payload({"source": "ask_exit", "keepkernel": self.keepkernel_on_exit})

    def enable_gui(self, gui: str | None = None) -> None:
        """GUI event loops are not there yet; the inline and widget backends need none."""
        if gui not in (None, "inline", "asyncio", "widget", "ipympl"):
            from IPython.core.error import UsageError

            msg = f"callboard has no event loop for {gui!r} yet: use %matplotlib inline or %matplotlib widget"
            raise UsageError(msg)


def _contains_group(error: BaseException | None) -> bool:
    """Whether an exception is a group, or was raised while one was handled."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return True
        error = error.__context__
    return False


def text_of(error: BaseException | None) -> str:
    """``str(error)``, also for exceptions that cannot be turned into text."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - user code
        return f"<the text of this {type(error).__name__} cannot be had>"


InteractiveShellABC.register(ZMQInteractiveShell)
