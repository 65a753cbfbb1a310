"""What the checks look at, read once."""

from __future__ import annotations

import json
import os
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from ..kernelspec import NAME
from . import kernelspecs
from .ask import ask

#: Seconds for all checks together: what they ask, and the kernel that they start, may hang.
PATIENCE = 30.0


class Installation:
    """An installation, as seen from one folder."""

    def __init__(self, kernel: str | None, folder: Path, *, start: bool = True) -> None:
        self._named = kernel
        self.folder = folder
        #: Whether to start a kernel.
        self.start = start
        self._end = time.monotonic() + PATIENCE

    def left(self, most: float) -> float:
        """Seconds that something may take: no more than this, and than are left."""
        return min(most, max(1.0, self._end - time.monotonic()))

    # -- kernelspecs ------------------------------------------------------------------------------------

    @cached_property
    def no_jupyter_client(self) -> str | None:
        """Why jupyter_client cannot be imported; None if it can."""
        try:
            import jupyter_client.kernelspec  # noqa: F401
        except Exception as error:  # noqa: BLE001 - a broken library may raise anything
            return f"{type(error).__name__}: {error}"
        return None

    @cached_property
    def kernel_folders(self) -> list[str]:
        """The folders where Jupyter looks for kernelspecs, in its order."""
        if self.no_jupyter_client:
            return []
        from jupyter_core.paths import jupyter_path

        # As KernelSpecManager has them, which makes IPython's folder if there is none.
        return [os.path.abspath(folder) for folder in (*jupyter_path("kernels"), str(ipython_folder() / "kernels"))]

    @cached_property
    def all_kernelspecs(self) -> list[kernelspecs.Kernelspec]:
        return kernelspecs.find(self.kernel_folders)

    @cached_property
    def kernel(self) -> str:
        """The name of the kernelspec: the one given, else callboard, else the first one that starts callboard."""
        if self._named is not None:
            return self._named.lower()
        names = {spec.name: spec for spec in reversed(self.all_kernelspecs)}
        others = (name for name, spec in sorted(names.items()) if spec.starts_callboard)
        return NAME if NAME in names else next(others, NAME)

    @cached_property
    def candidates(self) -> list[kernelspecs.Kernelspec]:
        """The kernelspecs of this name; Jupyter takes the first."""
        return [spec for spec in self.all_kernelspecs if spec.name == self.kernel]

    @cached_property
    def kernelspec(self) -> kernelspecs.Kernelspec | None:
        """The kernelspec that Jupyter takes, if it can be used."""
        return next((spec for spec in self.candidates[:1] if spec.problem is None), None)

    @property
    def profile(self) -> Path:
        """The folder of the kernel's IPython profile. It need not exist."""
        return ipython_folder() / f"profile_{self.kernelspec.profile if self.kernelspec else 'default'}"

    # -- configuration ----------------------------------------------------------------------------------

    @cached_property
    def _configuration(self) -> dict[str, Any]:
        # In a process of its own: files of configuration are programs.
        reader = str(Path(__file__).with_name("read_config.py"))
        answer = ask([sys.executable, "-P", reader], self.left(5), self.folder)
        try:
            read: dict[str, Any] = json.loads(answer.stdout)
        except ValueError:
            return {"values": {}, "problems": [["the configuration of Jupyter", answer.problem or "no answer"]]}
        return read

    @property
    def config_problems(self) -> list[list[str]]:
        """The files of Jupyter's configuration that cannot be read: file and error."""
        problems: list[list[str]] = self._configuration["problems"]
        return problems

    def configured(self, trait: str, *classes: str) -> tuple[Any, str] | None:
        """The value of a trait in the files of Jupyter's configuration, and the file that sets it. Of several classes
        the last one counts: it inherits from those before it."""
        values = self._configuration["values"]
        found = [values[f"{each}.{trait}"] for each in classes if f"{each}.{trait}" in values]
        return (found[-1][0], found[-1][1]) if found else None

    @cached_property
    def encryption(self) -> tuple[str, str | None]:
        """The policy for encryption that is configured, and the file that sets it."""
        found = self.configured("transport_encryption", *KERNEL_MANAGERS)
        return (str(found[0]).lower(), found[1]) if found else ("disabled", None)

    @cached_property
    def transport(self) -> str:
        """The transport that is configured."""
        found = self.configured("transport", "ConnectionFileMixin", *KERNEL_MANAGERS)
        return "ipc" if found and found[0] == "ipc" else "tcp"


def ipython_folder() -> Path:
    """IPython's folder, by its rule. IPython itself would make it, or warn."""
    return Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser()


#: The classes that a server's kernel managers inherit from, the most general first.
KERNEL_MANAGERS = (
    "KernelManager",
    "AsyncKernelManager",
    "AsyncIOLoopKernelManager",
    "ServerKernelManager",
)

#: The same for the manager of all kernels of a server.
SERVER_MANAGERS = ("MappingKernelManager", "AsyncMappingKernelManager")
