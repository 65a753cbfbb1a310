"""IPython's configuration: profiles, configuration files, command line, startup files."""

from __future__ import annotations

import faulthandler
import functools
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, TextIO

from IPython.core.application import BaseIPythonApplication
from IPython.core.history import HistoryManager
from IPython.core.profiledir import ProfileDir
from IPython.core.shellapp import InteractiveShellApp
from traitlets import Any as AnyTrait
from traitlets import Bool
from traitlets.config import Configurable

from . import _core, patches
from .ipykernel_api import modules
from .ipython.shell.shell import ZMQDisplayPublisher, ZMQInteractiveShell
from .kernel.kernel import ONE_KERNEL, IPythonKernel
from .kernel.library_attributes import AppAttributes
from .util import search_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from .interrupts.handler import Interrupts

# Classes of ipykernel that configuration files and command lines name. Their options are ignored without a warning:
# those of sockets are in the connection file, the others are IPython's.
_KNOWN_ELSEWHERE = {"IPythonKernel", "Kernel", "Session", "ConnectionFileMixin", "Application"}


class IPKernelApp(AppAttributes, BaseIPythonApplication, InteractiveShellApp):
    """Reads the configuration files that ipykernel reads: ``ipython_config.py`` and ``ipython_kernel_config.py`` of the
    profile. Its name is the one that these files and libraries use (``c.IPKernelApp.exec_lines``)."""

    __module__ = "ipykernel.kernelapp"

    name = "ipython-kernel"
    description = "A Jupyter kernel for Python"
    classes: Any = [ZMQInteractiveShell, ProfileDir, HistoryManager, ZMQDisplayPublisher]

    capture_fd_output = Bool(
        True, help="Show what C code and child processes write to file descriptors 1 and 2 in the cell that runs"
    ).tag(config=True)
    core: Any = AnyTrait()
    _is_started = False
    interrupts: Interrupts = AnyTrait()  # type: ignore[assignment]

    def initialize(self, argv: list[str] | None = None) -> None:
        """Reads the configuration, makes the kernel and runs the startup files."""
        if "kernel" in vars(self):
            raise RuntimeError(ONE_KERNEL)
        # Configuration files may import it.
        modules.install()
        super().initialize(argv)
        # Libraries look for it there, and here.
        self.config.IPKernelApp.connection_file = self.connection_file = self.core.connection_file
        self._warn_of_unknown_classes(argv or [])
        self._keep_the_terminal()
        self.kernel = IPythonKernel.instance(self.core, self.interrupts, parent=self)
        self.init_path()
        self.kernel.init_shell(self, profile_dir=self.profile_dir)
        self.shell = self.kernel.shell
        self.shell.configurables.append(self)
        session = os.environ.get("JPY_SESSION_NAME")
        if session:
            self.shell.user_ns["__session__"] = session
        self.kernel.init_io(capture_fds=self.capture_fd_output)
        self.init_gui_pylab()
        self.init_extensions()
        self.shell.is_made = True
        self.init_code()

    def start(self) -> None:
        """Serves requests until the kernel is shut down."""
        if self._is_started:
            raise RuntimeError(ONE_KERNEL)
        self._is_started = True
        self.kernel.run()

    def parse_command_line(self, argv: list[str] | None = None) -> None:
        """Reads the options. Does nothing without any: making the parser takes as long as ten cells."""
        if argv:
            super().parse_command_line(argv)

    def init_path(self) -> None:
        """Lets cells import from the current folder, unless ``ignore_cwd`` or PYTHONSAFEPATH is set. (The kernelspec
        starts Python with ``-P``, after which IPython's own does nothing.)"""
        search_path.show_current_folder(with_current=not (self.ignore_cwd or os.environ.get("PYTHONSAFEPATH")))
        patches.put("sys:meta_path", search_path.LibraryFinder())

    def _exec_file(self, fname: str, shell_futures: bool = False) -> None:
        """Runs a startup file. Its failure is on the terminal, and ends neither the kernel nor the files after it."""
        try:
            super()._exec_file(fname, shell_futures)
        except SystemExit as error:
            if error.code:
                self.log.warning("%s has called sys.exit(%r): that ends the file, not the kernel", fname, error.code)
        except BaseException as error:  # noqa: BLE001 - user code
            self.log.error("The startup file %s has failed:\n%s", fname, _format(error, fname))

    def init_extensions(self) -> None:
        try:
            super().init_extensions()
        except SystemExit as error:
            self.log.warning("An IPython extension has called sys.exit(%r): those after it are not loaded", error.code)

    def init_crash_handler(self) -> None:
        """Leaves ``sys.excepthook`` alone: a traceback in the log says more than a crash report."""

    def init_gui_pylab(self) -> None:
        """Shows plots inline, unless ``MPLBACKEND`` is set. Imports no matplotlib."""
        if not os.environ.get("MPLBACKEND"):
            os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        try:
            super().init_gui_pylab()
        except Exception:
            self.log.warning("matplotlib could not be set up", exc_info=True)

    def _keep_the_terminal(self) -> None:
        """Keeps logs and crash dumps on the terminal when file descriptor 2 is captured for cells."""
        terminal = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        for handler in self.log.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(terminal)
        faulthandler.enable(terminal)
        _core.prepare_for_crash()
        # A user's faulthandler would write to descriptor 2: a pipe that is not read any more when the process dies.
        patches.wrap("faulthandler:enable", functools.partial(_with_file, position=0, file=terminal))
        patches.wrap("faulthandler:register", functools.partial(_with_file, position=1, file=terminal))

    def _warn_of_unknown_classes(self, argv: list[str]) -> None:
        if not argv:
            return
        # Defines the configurable classes that are imported lazily.
        from IPython.core import completer, oinspect  # noqa: F401

        known = {cls.__name__ for cls in _subclasses(Configurable)} | _KNOWN_ELSEWHERE
        for arg in argv:
            name = arg.lstrip("-").partition(".")[0]
            if arg.startswith("--") and "." in arg.partition("=")[0] and name not in known:
                self.log.warning("Nothing takes the option %s: it has no effect", arg)


def _with_file(function: Callable[..., Any], position: int, file: TextIO) -> Callable[..., Any]:
    """Wraps a function of `faulthandler`: it writes to this file if called with no file or with standard error.
    `position`: that of its argument ``file``."""

    @functools.wraps(function)
    def with_file(*args: Any, **kwargs: Any) -> Any:
        given = args[position] if len(args) > position else kwargs.get("file")
        if given is None or given in (sys.stderr, sys.__stderr__):
            if len(args) > position:
                args = (*args[:position], file, *args[position + 1 :])
            else:
                kwargs["file"] = file
        return function(*args, **kwargs)

    return with_file


def _format(error: BaseException, file: str) -> str:
    """The traceback of an exception, from the code of this file on."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != os.path.realpath(file):
        frame = frame.tb_next
    return "".join(traceback.format_exception(error.with_traceback(frame))).rstrip()


def _subclasses(cls: type[Any]) -> set[type[Any]]:
    found = {cls}
    for sub in cls.__subclasses__():
        found |= _subclasses(sub)
    return found
