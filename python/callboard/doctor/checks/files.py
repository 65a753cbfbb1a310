"""Folders that a kernel and its clients write to, and files that others should not read."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..findings import error, ok, warning
from ..installation import ipython_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation


def check(installation: Installation) -> Iterator[Finding]:
    found = [*_runtime(installation), *_ipython(installation), *_temporary()]
    yield from found
    if not found:
        yield ok("connection files are private; they, IPython and temporary files can be written")


def _runtime(installation: Installation) -> Iterator[Finding]:
    if installation.no_jupyter_client:
        return
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    failure = _why_unwritable(folder)
    if failure:
        text = f"no connection file can be written to {folder}: {failure}"
        yield error("runtime-unwritable", text, _mend(folder, "JUPYTER_RUNTIME_DIR"), folder=str(folder))
        return
    readable = [file for file in _connection_files(folder) if _others_read(file)]
    if readable:
        yield warning(
            "connection-files-readable",
            f"others can read the keys of kernels: {_named(readable)}",
            f"chmod 700 {shlex.quote(str(folder))}",
            files=[str(file) for file in readable],
        )


def _ipython(installation: Installation) -> Iterator[Finding]:
    for place in (ipython_folder(), installation.profile):
        failure = _why_unwritable(place)
        if failure:
            yield warning(
                "ipython-unwritable",
                f"IPython cannot write to {place}, so history is not kept: {failure}",
                _mend(place, "IPYTHONDIR"),
                folder=str(place),
            )
            return


def _temporary() -> Iterator[Finding]:
    try:
        tempfile.gettempdir()
    except OSError as failure:
        text = f"no temporary file can be written: {failure}"
        yield error("no-temporary-folder", text, "set TMPDIR to a folder of yours")


def _why_unwritable(folder: Path) -> str | None:
    """Why no file can be made in a folder, or no such folder; None if it can. Leaves nothing behind."""
    try:
        while not os.path.lexists(folder):
            folder = folder.parent
        if not folder.is_dir():
            return f"{folder} is no folder"
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".callboard-doctor-") as file:
            file.write(b" " * 4096)
    except OSError as failure:
        return failure.strerror or str(failure)
    return None


def _connection_files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("kernel-*.json"))
    except OSError:
        return []


def _others_read(file: Path) -> bool:
    try:
        readable = file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
        return bool(readable and file.parent.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH))
    except OSError:
        return False


def _named(files: list[Path]) -> str:
    rest = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]}{rest}"


def _mend(folder: Path, variable: str) -> str:
    return f"sudo chown -R $USER {shlex.quote(str(folder))}; chmod u+rwx {shlex.quote(str(folder))}; or set {variable}"
