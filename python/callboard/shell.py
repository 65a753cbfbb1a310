"""IPython's shell, with its output sent to the frontends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

from IPython.core import page
from IPython.core.autocall import ZMQExitAutocall
from IPython.core.interactiveshell import InteractiveShell, InteractiveShellABC
from IPython.core.usage import default_banner
from IPython.utils.process import system  # type: ignore[attr-defined]
from traitlets import Any as AnyTrait
from traitlets import CBool, Instance, Type, default, observe

from .context import Parent, current_parent
from .display import ZMQDisplayPublisher, ZMQShellDisplayHook
from .jsonutil import encode
from .magics import KernelMagics

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from .kernel import Kernel


class ZMQInteractiveShell(InteractiveShell):
    """The shell that runs cells. Its name is what libraries look for to find out that they are in a
    notebook."""

    displayhook_class = Type(ZMQShellDisplayHook)
    display_pub_class = Type(ZMQDisplayPublisher)
    kernel: Kernel = AnyTrait()  # type: ignore[assignment]
    exiter = Instance(ZMQExitAutocall)
    readline_use = CBool(False)
    autoindent = CBool(False)
    keepkernel_on_exit = None

    #: What the last cell that failed has shown; for its reply.
    last_error: dict[str, Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._foreground: Parent | None = None
        # tqdm and others look for this section to find out that they are in a notebook.
        self.config.IPKernelApp  # noqa: B018 - making it is the point

    @default("banner1")
    def _default_banner1(self) -> str:
        return default_banner

    @default("exiter")
    def _default_exiter(self) -> ZMQExitAutocall:
        return ZMQExitAutocall(self)

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

    # -- the request that code runs for -----------------------------------------------------------------

    def begin_cell(self, parent: Parent) -> None:
        """Output of the calling context belongs to `parent` from now on."""
        current_parent.set(parent)
        self._foreground = parent
        self.last_error = None

    @property
    def parent_request(self) -> Parent | None:
        """The request that the calling code runs for; the last one of any thread where that is not known."""
        return current_parent.get(None) or self._foreground

    @property
    def parent_header(self) -> dict[str, Any]:
        """The request that the calling code runs for, as a message dict."""
        parent = self.parent_request
        return parent.message if parent is not None else {}

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

    def _as_parent(self, parent: dict[str, Any]) -> Parent:
        header = parent.get("header", parent)
        header = json.loads(json.dumps(header, default=str))
        for name in ("msg_id", "msg_type"):
            header.setdefault(name, "")
        return Parent(encode(header), encode(parent.get("metadata", {})), self.parent_request)

    # -- output -----------------------------------------------------------------------------------------

    def showtraceback(
        self,
        exc_tuple: tuple[type, BaseException, TracebackType] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Shows a traceback; a cell that an interrupt has cancelled shows ``KeyboardInterrupt``."""
        if exc_tuple is None and isinstance(sys.exc_info()[1], asyncio.CancelledError):
            cancelled = sys.exc_info()[1]
            assert cancelled is not None
            if self.kernel.was_interrupted():
                interrupt = KeyboardInterrupt().with_traceback(cancelled.__traceback__)
                exc_tuple = (KeyboardInterrupt, interrupt, cancelled.__traceback__)  # type: ignore[assignment]
        cell = self.kernel.interrupts.current_cell()
        if cell is None or not cell.interrupted:
            super().showtraceback(exc_tuple, *args, **kwargs)  # type: ignore[arg-type]
            return
        # Another interrupt must not hit what shows the first one.
        before, cell.in_user_code = cell.in_user_code, False
        try:
            super().showtraceback(exc_tuple, *args, **kwargs)  # type: ignore[arg-type]
        finally:
            cell.in_user_code = before

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        content = {"ename": etype.__name__, "evalue": text_of(evalue), "traceback": stb}
        self.last_error = content
        self._last_traceback = stb
        self.kernel.core.publish("error", encode(content))

    def _format_exception_for_storage(self, exception: BaseException, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What the history keeps of an exception, also of one that cannot be turned into text."""
        try:
            return super()._format_exception_for_storage(exception, *args, **kwargs)
        except Exception:  # noqa: BLE001 - user code
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

    def system_piped(self, cmd: str) -> None:
        """Runs a shell command, its output in the cell. Leaves the exit code in ``_exit_code``."""
        if cmd.rstrip().endswith("&"):
            msg = "a background process has no place to print to: use %%bash --bg, or subprocess.Popen"
            raise OSError(msg)
        try:
            code = system(self.var_expand(cmd, depth=1))
        except UnboundLocalError as error:
            # IPython's own, when an interrupt comes while the process is being started.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        self.user_ns["_exit_code"] = code
        if getattr(self, "system_raise_on_error", False) and code != 0:
            raise CalledProcessError(code, cmd)

    system = system_piped


def text_of(error: BaseException | None) -> str:
    """``str(error)``, also for exceptions that cannot be turned into text."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - user code
        return f"<the text of this {type(error).__name__} cannot be had>"


InteractiveShellABC.register(ZMQInteractiveShell)
