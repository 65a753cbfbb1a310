"""The package ``ipykernel`` of a running kernel: its modules, and where callboard has what is in them.

Libraries import ipykernel, look for its modules in ``sys.modules``, and compare classes with those in it. A kernel
therefore has a package of this name, also where the real one is installed: importing that one would send the messages
of all comms to a kernel that does not run. Its modules are empty at first; `TABLE` says where a name is imported from
when it is asked for.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import patches

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The release of ipykernel whose modules these are like, and the version of the protocol that callboard speaks.
VERSION = {
    "__version__": "7.4.0",
    "version_info": (7, 4, 0),
    "kernel_protocol_version": "5.5",
    "kernel_protocol_version_info": (5, 5),
}

_COMMS, _COMPILER, _DISPLAY = "callboard.requests.comms", "callboard.ipython.compiler", "callboard.ipython.display"
_KERNEL, _KERNELBASE = "callboard.kernel.kernel", "callboard.kernel.kernelbase"
_SESSION = "callboard.kernel.session"
_JSON, _SHELL, _STREAM = (
    "callboard.ipykernel_api.jsonutil",
    "callboard.ipython.shell.shell",
    "callboard.requests.stream",
)
_CONNECT = {
    "callboard.ipykernel_api.connect": "connect_qtconsole get_connection_file get_connection_info",
    "jupyter_client": "write_connection_file",
}

#: The modules: for each the modules that have its names, and these names; ``name=attribute`` where the attribute has
#: another one, ``*`` for all names. The file of a module is that of the first: `inspect` looks there for its classes.
#: Names that ipykernel's modules only import come last: libraries import some of them from there.
TABLE: dict[str, dict[str, str]] = {
    "ipykernel": {"callboard": "", **_CONNECT},
    "ipykernel._version": {"callboard": ""},
    "ipykernel.comm": {_COMMS: "Comm CommManager"},
    "ipykernel.comm.comm": {_COMMS: "BaseComm Comm", _KERNELBASE: "Kernel", _JSON: "json_clean"},
    "ipykernel.comm.manager": {_COMMS: "CommManager Comm"},
    "ipykernel.compiler": {
        _COMPILER: "Compiler XCachingCompiler=Compiler",
        "callboard.ipykernel_api.compiler": "get_file_name get_tmp_directory get_tmp_hash_seed murmur2_x86",
    },
    "ipykernel.connect": _CONNECT,
    "ipykernel.displayhook": {_DISPLAY: "ZMQShellDisplayHook", _JSON: "encode_images json_clean"},
    "ipykernel.eventloops": {"callboard.ipython.gui": "enable_gui loop_map register_integration"},
    "ipykernel.iostream": {_STREAM: "OutStream", _SESSION: "BackgroundSocket=Channel IOPubThread"},
    "ipykernel.ipkernel": {
        _KERNEL: "IPythonKernel Kernel=IPythonKernel",
        _KERNELBASE: "KernelBase=Kernel",
        _COMMS: "BaseComm CommManager",
        _COMPILER: "XCachingCompiler=Compiler",
        _SHELL: "ZMQInteractiveShell",
    },
    "ipykernel.jsonutil": {_JSON: "encode_images json_clean"},
    "ipykernel.kernelapp": {
        "callboard.app": "IPKernelApp",
        _KERNEL: "IPythonKernel",
        _SHELL: "ZMQInteractiveShell",
        **_CONNECT,
    },
    "ipykernel.kernelbase": {_KERNELBASE: "Kernel", _STREAM: "OutStream", _JSON: "json_clean"},
    "ipykernel.pylab": {"callboard": ""},
    "ipykernel.pylab.backend_inline": {"matplotlib_inline.backend_inline": "*"},
    "ipykernel.pylab.config": {"matplotlib_inline.config": "*"},
    "ipykernel.zmqshell": {
        _SHELL: "ZMQDisplayPublisher ZMQInteractiveShell",
        "callboard.ipython.magics.kernel_magics": "KernelMagics",
        _DISPLAY: "ZMQShellDisplayHook",
        _JSON: "encode_images json_clean",
    },
}
_PACKAGES = ("ipykernel", "ipykernel.comm", "ipykernel.pylab")
_WITH_VERSION = ("ipykernel", "ipykernel._version")

_FOLDER = os.path.dirname(os.path.dirname(__file__))


def install() -> None:
    """Puts the package into ``sys.modules``, in place of one that has been imported."""
    patches.put("sys:modules", _Finder())


class _Module(ModuleType):
    """A module of the table. Imports what is in it when it is asked for."""

    def __getattr__(self, name: str) -> Any:
        row = TABLE[self.__name__]
        if name == "__all__":
            return _names(row)
        # An import asks for __path__, other code for more: a module has only those that are set.
        if not name.startswith("__"):
            for source, names in row.items():
                for each in names.split():
                    known, _, attribute = each.partition("=")
                    if known in (name, "*"):
                        value = getattr(import_module(source), attribute or name)
                        setattr(self, name, value)
                        return value
        msg = f"module {self.__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        # Picklers know modules by their type.
        return import_module, (self.__name__,)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_names(TABLE[self.__name__])})


def _names(row: dict[str, str]) -> list[str]:
    """The public names in a row of the table."""
    found: list[str] = []
    for source, names in row.items():
        if names == "*":
            module = import_module(source)
            found += getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
        else:
            found += [each.partition("=")[0] for each in names.split()]
    return found


class _Finder:
    """Finds and loads the modules of the table, also when they are reloaded, or have been taken out of
    ``sys.modules``."""

    def __init__(self) -> None:
        self.modules: dict[str, ModuleType] = {}
        for name in TABLE:
            self.modules[name] = module = self.create_module(self._spec(name))
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(self.modules[parent], last, module)

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return self._spec(name) if name in TABLE else None

    def _spec(self, name: str) -> ModuleSpec:
        spec = ModuleSpec(name, self, origin=_file(name), is_package=name in _PACKAGES)  # type: ignore[arg-type]
        if name == "ipykernel":
            spec.submodule_search_locations = _InstalledFolder(self)  # type: ignore[assignment]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Module(spec.name)
        # What the import system sets, with less work; it leaves this alone.
        values = vars(module)
        values.update(__spec__=spec, __loader__=self, __package__=spec.parent, __file__=spec.origin)
        if spec.submodule_search_locations is not None:
            values["__path__"] = spec.submodule_search_locations
        if spec.name in _WITH_VERSION:
            values.update(VERSION)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing: a module gets its names when they are asked for."""


def _file(name: str) -> str:
    """The file that a module of the table names as its own: that of its first source."""
    package, _, path = next(iter(TABLE[name])).partition(".")
    if package != "callboard":
        # Finding it would take longer than all the rest.
        return __file__
    return f"{_FOLDER}/{path.replace('.', '/') or '__init__'}.py"


class _InstalledFolder:
    """The folder of the ipykernel that is installed, as the path of the package: what is not in the table comes from
    there (``ipykernel.kernelspec``, ``ipykernel.embed``). Empty if none is installed."""

    def __init__(self, own: _Finder) -> None:
        self._own = own

    def __iter__(self) -> Iterator[str]:
        for finder in sys.meta_path:
            if finder is self._own or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec("ipykernel", None)
            if spec is not None:
                return iter(spec.submodule_search_locations or ())
        return iter(())

    def __len__(self) -> int:
        return len([*iter(self)])

    def __getitem__(self, index: int) -> str:
        return [*iter(self)][index]

    def __repr__(self) -> str:
        return repr([*iter(self)])
