"""The shells of subshells (JEP 91): what they share with the main shell, also of magics, and their end."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import functools
import os
import threading
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from .base import ShellPart
else:
    ShellPart = object


class _ReadThrough(dict[str, Any]):
    """The builtins of an isolated subshell: its code finds the variables of the main shell in them, before builtins."""

    def __init__(self, variables: dict[str, Any]) -> None:
        # CPython looks up some builtins without calling __getitem__.
        super().__init__(builtins.__dict__)
        self._variables = variables

    def __getitem__(self, name: str) -> Any:
        try:
            return self._variables[name]
        except KeyError:
            return builtins.__dict__[name]


class Subshell(ShellPart):
    """Makes and ends the shells of subshells."""

    _closed = False
    _custom_exceptions: tuple[type[BaseException], ...] = ()
    _custom_handler: Any = None
    _close_lock: threading.Lock

    def make_subshell(self, subshell_id: str, isolated: bool) -> Self:
        """Makes a shell with its own counter, ``Out``, history and state, which shares the variables, formatters and
        transformers of this one. An `isolated` one has its own variables, and can read those of this shell."""
        module = self.user_module
        if isolated:
            module = types.ModuleType(self.user_module.__name__, self.user_module.__doc__)
            module.__dict__["__builtins__"] = _ReadThrough(self.user_ns)
        return type(self)(
            parent=self.parent,
            kernel=self.kernel,
            profile_dir=self.profile_dir,
            user_module=module,
            user_ns=module.__dict__ if isolated else self.user_ns,
            subshell_id=subshell_id,
            main_shell=self,
            shares_variables=not isolated,
        )

    def _share_with_main(self) -> None:
        """Takes over what users change in the main shell, so that it holds in its subshells as well."""
        main = self.main_shell
        # Callbacks that this shell has registered until now are dropped with its own events.
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

    # `set_custom_exc` sets these two.

    @property
    def custom_exceptions(self) -> tuple[type[BaseException], ...]:
        """The exceptions that a handler of the user's displays; in a subshell without any those of the main shell."""
        main = self.main_shell
        return self._custom_exceptions or (() if main is self else main.custom_exceptions)

    @custom_exceptions.setter
    def custom_exceptions(self, exceptions: tuple[type[BaseException], ...]) -> None:
        self._custom_exceptions = exceptions

    @property
    def CustomTB(self) -> Any:  # noqa: N802 - IPython's name
        """The handler of `custom_exceptions`."""
        main = self.main_shell
        return self._custom_handler if self._custom_exceptions or main is self else main.CustomTB

    @CustomTB.setter
    def CustomTB(self, handler: Any) -> None:  # noqa: N802
        self._custom_handler = handler

    def init_sys_modules(self) -> None:
        if self.subshell_id is None:
            super().init_sys_modules()

    def init_user_ns(self) -> None:
        if not self.shares_variables:
            super().init_user_ns()

    def _ofind(self, oname: str, namespaces: Any = None) -> Any:
        """Finds an object by name; in an isolated subshell also among the variables of the main shell."""
        found = super()._ofind(oname, namespaces)
        if not found.found and namespaces is None and self.subshell_id is not None and not self.shares_variables:
            return super()._ofind(oname, [("Interactive", self.main_shell.user_ns)])
        return found

    def atexit_operations(self) -> None:
        if self.subshell_id is None:
            super().atexit_operations()
        else:
            self.close()

    def close(self) -> None:
        """Ends the shell of a subshell, with its history, scripts and temporary files."""
        import shutil

        with self._close_lock:
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


class MagicLookup(ShellPart):
    """Finds magics by name: subshells have those that users define in the main shell."""

    def init_magics(self) -> None:
        """Makes the manager of magics, which loads them in one thread at a time."""
        super().init_magics()
        manager: Any = self.magics_manager
        manager.load_lazy = functools.partial(_load_in_turn, manager.load_lazy)

    def find_magic(self, magic_name: str, magic_kind: str = "line") -> Any:
        """Finds a magic; in a subshell also those that users have defined in the main shell."""
        return self._or_that_of_main(super().find_magic(magic_name, magic_kind), magic_name, magic_kind)

    def find_line_magic(self, magic_name: str) -> Any:
        """See `find_magic`."""
        return self.find_magic(magic_name, "line")

    def find_cell_magic(self, magic_name: str) -> Any:
        """See `find_magic`."""
        return self.find_magic(magic_name, "cell")

    def _find_with_lazy_load(self, type_: str, magic_name: str) -> Any:
        return self.find_magic(magic_name, type_)

    def _or_that_of_main(self, found: Any, name: str, kind: str) -> Any:
        """Prefers the user's magic of the main shell to one that is built in, or none."""
        if self.subshell_id is None or not (found is None or _is_built_in(found)):
            return found
        if found is not None and _is_built_in(self.main_shell.magics_manager.magics[kind].get(name)):
            return found
        return self.main_shell.find_magic(name, kind) or found

    def may_be_magic(self, name: str) -> bool:
        """Whether there could be a magic of this name. `find_magic` knows, but may have to import it."""
        if name.startswith("%"):
            return True
        for manager in {self.magics_manager, self.main_shell.magics_manager}:
            if name in manager.lazy_magics or any(name in magics for magics in manager.magics.values()):
                return True
        return False


#: IPython imports magics on first use: another thread would find them half done.
_loading = threading.RLock()


def _load_in_turn(load: Callable[..., None], *args: Any) -> None:
    with _loading:
        load(*args)


def _is_built_in(magic: Any) -> bool:
    """Whether a magic is IPython's or callboard's, or None."""
    return magic is None or (getattr(magic, "__module__", None) or "").partition(".")[0] in ("IPython", "callboard")
