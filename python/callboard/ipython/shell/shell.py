"""IPython's shell, with its output and displays sent to the frontends."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from IPython.core import page
from IPython.core.autocall import ZMQExitAutocall
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell, InteractiveShellABC
from IPython.core.usage import default_banner
from traitlets import Any as AnyTrait
from traitlets import Bool, CBool, Instance, Type, default, observe

from ...util.json import encode
from ..compiler import Compiler
from ..display import DisplayFormatter, ZMQShellDisplayHook
from ..history import History, SubshellHistory
from ..input_transform import Prefilter, Transformer
from ..magics.async_magics import AsyncMagics
from ..magics.kernel_magics import KernelMagics
from ..magics.shell_commands import ShellCommands
from ..publishing import Publishing
from .errors import ErrorDisplay
from .lazy_parts import LazyParts
from .process_wide import PermanentBuiltins, PermanentDisplay
from .running_cell import ExecutionCount, Payloads, RequestParent
from .subshell import MagicLookup, Subshell

if TYPE_CHECKING:
    from IPython.core.builtin_trap import BuiltinTrap
    from IPython.core.display_trap import DisplayTrap
    from IPython.core.magic import MagicsManager

    from ...protocols import CellLike, KernelServices


class ZMQDisplayPublisher(Publishing, DisplayPublisher):
    """Publishes ``display_data``, ``update_display_data`` and ``clear_output``."""

    __module__ = "ipykernel.zmqshell"

    shell: Any
    topic = b"display_data"

    store_display_history = Bool(False, help="Store displayed data in the history's outputs.").tag(config=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._init_publishing()

    def publish(  # type: ignore[override]
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_kwargs: Any,
    ) -> None:
        """Publishes a mime bundle for the cell that the calling code runs for."""
        metadata = metadata or {}
        self._validate_data(data, metadata)
        if self.store_display_history:
            self._store(data)
        content = {"data": data, "metadata": metadata, "transient": transient or {}}
        self._publish("update_display_data" if update else "display_data", content)

    def _publish(self, msg_type: str, content: dict[str, Any]) -> None:
        if self.is_plain():
            self.shell.kernel.core.publish(msg_type, encode(content))
        else:
            self.send(msg_type, content)

    def clear_output(self, wait: bool = False) -> None:
        """Clears the output of the cell; with `wait`, when the next output comes."""
        self._publish("clear_output", {"wait": bool(wait)})

    def _store(self, data: dict[str, Any]) -> None:
        from IPython.core.history import HistoryOutput

        count = self.shell.displayhook.prompt_count
        outputs = self.shell.history_manager.outputs
        outputs.setdefault(count, []).append(HistoryOutput(output_type="display_data", bundle=data))


class ShellParts(
    ErrorDisplay, ExecutionCount, RequestParent, Payloads, LazyParts, MagicLookup, Subshell, AsyncMagics, ShellCommands
):
    """What is different from IPython's shell, but for its set-up."""


class ZMQInteractiveShell(ShellParts, InteractiveShell):
    """The shell that runs cells. Libraries look for its name to find out whether they are in a notebook."""

    __module__ = "ipykernel.zmqshell"

    displayhook_class = Type(ZMQShellDisplayHook)
    display_pub_class = Type(ZMQDisplayPublisher)
    compiler_class = Type(Compiler)
    # IPython's default is the name of its class, which traitlets imports with the first shell.
    inspector_class = Type(object, help=InteractiveShell.inspector_class.help).tag(config=True)
    kernel: KernelServices = AnyTrait()  # type: ignore[assignment]
    exiter = Instance(ZMQExitAutocall)
    readline_use = CBool(False)
    autoindent = CBool(False)

    # Set once, when the shell is made. IPython's are traits, which take five times as long to read as attributes, and
    # each cell reads them a dozen times.
    history_manager: History = None  # type: ignore[assignment]
    magics_manager: MagicsManager = None  # type: ignore[assignment]
    prefilter_manager: Prefilter = None  # type: ignore[assignment]
    builtin_trap: BuiltinTrap = None  # type: ignore[assignment]
    display_trap: DisplayTrap = None  # type: ignore[assignment]

    is_made = False
    other_runner: Any = None

    # Cells find it among their variables: the function that functions of cells can be pickled with.
    get_ipython = staticmethod(get_ipython)

    def __init__(
        self,
        *args: Any,
        subshell_id: str | None = None,
        main_shell: ZMQInteractiveShell | None = None,
        shares_variables: bool = False,
        **kwargs: Any,
    ) -> None:
        self.subshell_id = subshell_id
        self.main_shell = main_shell or self
        self.shares_variables = shares_variables
        self._numbers_lock = threading.Lock()
        self._close_lock = threading.Lock()
        self._configurables = []
        super().__init__(*args, **kwargs)
        self.is_made = subshell_id is not None
        if subshell_id is not None:
            self._share_with_main()
        # tqdm and others look for this section to find out whether they are in a notebook.
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

    @default("loop_runner")
    def _loop_runner_of_backend(self) -> Any:
        return self.loop_runner_map[self.kernel.main.backend][0]

    @observe("loop_runner")
    def _loop_runner_changed(self, change: dict[str, Any]) -> None:
        """Lets the function that ``%autoawait`` sets run code that awaits. Refuses one that cannot."""
        from ..magics import autoawait

        host = self.kernel.main.backend
        try:
            autoawait.check(change["new"], host)
        except UsageError as error:
            self.loop_runner = self.loop_runner_map[host][0]
            if self.is_made:
                raise
            self.log.warning("InteractiveShell.loop_runner: %s", error)
        else:
            self.other_runner = None if autoawait.backend_of(change["new"]) == host else change["new"]

    @observe("exit_now")
    def _exit_now_changed(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self.kernel.stop_soon()

    @observe("colors")
    def _colors_changed(self, change: dict[str, Any]) -> None:
        self.init_syntax_highlighting(change)

    # -- set-up: IPython calls these when the shell is made ---------------------------------------------

    def init_environment(self) -> None:
        """Tells programs that cells start that they may use colour, but have no pager."""
        os.environ.update(
            TERM="xterm-color", CLICOLOR="1", FORCE_COLOR="1", CLICOLOR_FORCE="1", PAGER="cat", GIT_PAGER="cat"
        )

    def init_virtualenv(self) -> None:
        """Does nothing: a kernel runs in the environment that it is installed in."""

    def init_hooks(self) -> None:
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(self.payloadpage_page), 99)

    def init_magics(self) -> None:
        super().init_magics()
        self.register_magics(KernelMagics)
        self.magics_manager.register_alias("ed", "edit")

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
            self.display_formatter = self.main_shell.display_formatter

    def init_builtins(self) -> None:
        super().init_builtins()
        self.builtin_trap = PermanentBuiltins(shell=self)

    def init_displayhook(self) -> None:
        user_ns = self.user_ns
        if self.shares_variables:
            # The hook sets _ to "" when it is made.
            self.user_ns = {}
        super().init_displayhook()
        self.user_ns = user_ns
        self.display_trap = PermanentDisplay(hook=self.displayhook)

    # -- cells ------------------------------------------------------------------------------------------

    def begin_cell(self, cell: CellLike) -> None:
        """Gives a cell its number. Output of unknown origin belongs to this cell from now on."""
        self._foreground = cell.parent
        with self._numbers_lock:
            cell.number = cell.execution_count = self._next_number
            if cell.request.store_history and cell.code and not cell.code.isspace():
                self._next_number += 1

    def _tee(self, channel: str) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Lets ``run_cell`` keep nothing of what is printed, as when a frontend runs a cell. Keeping it would take
        replacing methods of the streams, which cells that run at the same time share."""
        return contextlib.nullcontext()

    def __call__(self, header: str = "", stack_depth: int = 1, **_kwargs: Any) -> None:
        """What ``IPython.embed()`` calls."""
        from ..embedded import embed

        embed(self, sys._getframe(stack_depth), header)

    def enable_gui(self, gui: str | None = None) -> None:
        """Selects the event loop of a GUI toolkit, or none."""
        from ..gui import enable_gui

        try:
            enable_gui(gui)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.active_eventloop = gui


InteractiveShellABC.register(ZMQInteractiveShell)
