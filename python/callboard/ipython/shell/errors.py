"""Shows exceptions in the cell that they belong to."""

from __future__ import annotations

import re
import sys
import traceback
from typing import TYPE_CHECKING, Any

from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell

from ...aio.cancellation import current_task, is_stopped
from ...context import current_cell, part_of_cell
from ...interrupts.traceback_cutoff import cut_traceback
from ...util.errors import content_of, quick_text_of, text_of
from ...util.json import encode
from .process_wide import show_exception

if TYPE_CHECKING:
    from types import TracebackType

    from ...protocols import CellLike
    from .base import ShellPart
else:
    ShellPart = object


class ErrorDisplay(ShellPart):
    """Publishes exceptions, and records in the cell what it has shown. Whether the cell has failed is not decided
    here: code may show any exception."""

    def showtraceback(
        self,
        exc_tuple: tuple[type[BaseException], BaseException, TracebackType | None] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Shows a traceback. A cell that an interrupt has cancelled shows ``KeyboardInterrupt``, one that has timed
        out ``TimeoutError``."""
        error = sys.exc_info()[1] if exc_tuple is None else exc_tuple[1]
        if isinstance(error, KeyboardInterrupt) and error.__traceback__ is not None:
            cut_traceback(error.__traceback__)
        cell = current_cell.get()
        # Other tasks and threads of the cell do not end it.
        if cell is not None and current_task() is not cell.task.raw and not part_of_cell.get():
            cell = None
        if self.main_shell is not self and (replaced := _replaced_in(self.main_shell, "showtraceback")):
            replaced(exc_tuple, *args, **kwargs)
            return
        if cell is not None and error is not None and cell.shown[0] is error:
            cell.failed, cell.error = cell.shown
            return
        if cell is not None and error is not None and is_stopped(error) and (cell.timed_out or cell.interrupted):
            if not part_of_cell.get() and isinstance(cell.shown[0], (KeyboardInterrupt, TimeoutError)):
                # What has stopped the cell has stopped a part of it first, which has shown it.
                cell.failed, cell.error = error, cell.shown[1]
                return
            cell.notice_timeout()
            replacement: BaseException = KeyboardInterrupt()
            if cell.timed_out:
                replacement = cell.timeout_error()
            if cell.timed_out or not isinstance(error, KeyboardInterrupt):
                replacement = replacement.with_traceback(error.__traceback__)
                exc_tuple = (type(replacement), replacement, error.__traceback__)
                cell.replaced = replacement, error
        if isinstance(error, SystemExit):
            _explain(error, (sys.exc_info() if exc_tuple is None else exc_tuple)[2])
        if _contains_group(error):
            # IPython would print it, and the frontend would get no error.
            etype, value, tb = self._get_exc_info(exc_tuple)
            lines = traceback.format_exception(etype, value, tb and (tb.tb_next or tb))
            self._showtraceback(etype, value, [line.rstrip("\n") for line in lines])
            return
        # Imported with the first traceback: a kernel starts without them.
        from .. import tracebacks
        from ..magics.own_frames import cut_own_frames

        cut_own_frames((sys.exc_info() if exc_tuple is None else exc_tuple)[2])
        tracebacks.prepare()
        if cell is None or not cell.interrupted or part_of_cell.get():
            super().showtraceback(exc_tuple, *args, **kwargs)
            return
        # A second interrupt must not end the display of the first one.
        with cell.showing():
            super().showtraceback(exc_tuple, *args, **kwargs)

    def get_exception_only(self, exc_tuple: Any = None) -> str:
        """Formats an exception without its traceback; an interrupt of the formatting of another one without that one,
        whose text may take long."""
        if exc_tuple is None and isinstance(sys.exc_info()[1], KeyboardInterrupt):
            return "KeyboardInterrupt\n"
        text: str = super().get_exception_only(exc_tuple)
        return text

    def show_usage_error(self, exc: BaseException) -> None:
        """Shows how a magic is used, without a traceback."""
        super().show_usage_error(exc)
        self._record(exc, {"ename": type(exc).__name__, "evalue": text_of(exc), "traceback": []})

    def show_unreplaced(self, error: BaseException) -> None:
        """Shows a traceback without calling a method that the user has put in the place of `showtraceback`: it has been
        called, or it is what has failed."""
        ErrorDisplay.showtraceback(self.main_shell, (type(error), error, error.__traceback__))  # type: ignore[arg-type]

    def show_plainly(self, error: BaseException) -> None:
        """Shows an exception whose traceback cannot be formatted, or was interrupted while it was."""
        cell = current_cell.get()
        text = quick_text_of(error) if cell is not None and cell.interrupted else None
        self._show_error(error, content_of(error, text))

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        """Publishes a formatted traceback: IPython calls this."""
        if self.main_shell is not self and (replaced := _replaced_in(self.main_shell, "_showtraceback")):
            replaced(etype, evalue, stb)
            return
        self._last_traceback = stb = _lines(stb) or [f"{etype.__name__}: {text_of(evalue)}"]
        self._show_error(evalue, {"ename": etype.__name__, "evalue": text_of(evalue), "traceback": stb})

    def showsyntaxerror(self, filename: str | None = None, running_compiled_code: bool = False) -> None:
        """Shows a syntax error."""
        if self.main_shell is not self and (replaced := _replaced_in(self.main_shell, "showsyntaxerror")):
            replaced(filename, running_compiled_code)
        else:
            super().showsyntaxerror(filename, running_compiled_code)

    def is_shown_by_user(self, error: BaseException) -> bool:
        """Whether the user's code displays an exception: a handler of `set_custom_exc`, or a replaced method."""
        methods = {name: getattr(getattr(self, name), "__func__", None) for name in _SHOWN_BY}
        return (
            isinstance(error, self.custom_exceptions)
            or methods != {name: vars(ErrorDisplay)[name] for name in _SHOWN_BY}
            or InteractiveShell.showtraceback is not _OF_IPYTHON
            or any(_replaced_in(self.main_shell, name) for name in _SHOWN_BY)
        )

    def _show_error(self, error: BaseException, content: dict[str, Any]) -> None:
        """Publishes an exception, and records in the cell that it has been shown."""
        cell = current_cell.get()
        if cell is not None and part_of_cell.get():
            self._publish_error(cell, content)
            self._record(error, content)
        elif cell is not None and current_task() is cell.task.raw:
            # An interrupt between publishing and recording would have it shown never, or twice.
            with cell.showing():
                self._publish_error(cell, content)
                self._record(error, content)
        elif cell is None and not self.kernel.is_serving:
            # No frontend would show it.
            self.log.error(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(content["traceback"])))
        else:
            # Other tasks and threads of the cell do not end it.
            self.kernel.core.publish("error", encode(content))

    def _record(self, error: BaseException, content: dict[str, Any]) -> None:
        """Records in the cell that an exception has been shown."""
        cell = current_cell.get()
        if cell is None:
            return
        if part_of_cell.get():
            cell.shown = error, content
        elif current_task() is cell.task.raw:
            cell.failed = cell.replaced[1] if cell.replaced[0] is error else error
            cell.error = content
            if any(frame.f_code is _DISPLAYHOOK for frame, _ in traceback.walk_stack(None)):
                cell.display_error = content

    def _publish_error(self, cell: CellLike, content: dict[str, Any]) -> None:
        if cell.is_abandoned:
            return
        if cell.tags.suppress_error:
            print("\N{WARNING SIGN}")
        else:
            self.kernel.core.publish("error", encode(content))

    @property
    def excepthook(self) -> Any:
        """``sys.excepthook`` while a cell runs."""
        return show_exception

    def _format_exception_for_storage(self, exception: BaseException, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Formats an exception for the history, also one that cannot be turned into text."""
        cell = current_cell.get()
        if cell is not None and cell.interrupted:
            # It may be the formatting that was interrupted.
            return {"ename": type(exception).__name__, "evalue": quick_text_of(exception), "traceback": []}
        try:
            stored: dict[str, Any] = super()._format_exception_for_storage(exception, *args, **kwargs)
            return stored
        except BaseException:  # noqa: BLE001 - user code
            return {"ename": type(exception).__name__, "evalue": text_of(exception), "traceback": []}


#: The methods that users replace to display exceptions themselves.
_SHOWN_BY = ("showtraceback", "_showtraceback", "showsyntaxerror", "show_usage_error")

#: A method of IPython's that libraries replace in its class.
_OF_IPYTHON = InteractiveShell.showtraceback

_DISPLAYHOOK = DisplayHook.__call__.__code__


def _replaced_in(shell: ShellPart, name: str) -> Any:
    """What the user has set in place of a method of this shell, or None."""
    return vars(shell).get(name)


def _explain(error: SystemExit, traceback: TracebackType | None) -> None:
    from . import hints

    if (hint := hints.of_exit(error, traceback)) is not None:
        print(hint, file=sys.stderr)


def _lines(traceback: object) -> list[str]:
    """The lines of a formatted traceback. ``_render_traceback_`` of an exception may return anything."""
    if isinstance(traceback, str):
        return [traceback]
    return [str(line) for line in traceback] if isinstance(traceback, (list, tuple)) else []


def _contains_group(error: BaseException | None) -> bool:
    """Whether an exception is a group, or was raised while a group was handled."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return True
        error = error.__context__
    return False
