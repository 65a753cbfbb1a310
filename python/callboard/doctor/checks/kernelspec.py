"""Whether Jupyter finds a kernelspec that starts this callboard."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..ask import ask
from ..findings import error, ok, warning
from ..packages import pip_install
from ..pythons import install_command, is_this

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation
    from ..kernelspecs import Kernelspec


def check(installation: Installation) -> Iterator[Finding]:
    if installation.no_jupyter_client:
        yield error(
            "no-jupyter-client",
            f"jupyter_client cannot be imported: {installation.no_jupyter_client}",
            pip_install("--force-reinstall", "jupyter_client"),
        )
        return
    if not installation.candidates:
        yield _missing(installation)
        return
    first = installation.candidates[0]
    found = [*_of_first(installation, first), *_hidden(installation.candidates), *_not_allowed(installation)]
    yield from found
    if not found:
        yield ok(f"{first.name} in {first.folder} starts {first.program}", name=first.name, folder=str(first.folder))


def _missing(installation: Installation) -> Finding:
    set_ = [name for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR", "IPYTHONDIR") if os.environ.get(name)]
    where = ", ".join(f"{name}={os.environ[name]}" for name in set_)
    count = len(installation.kernel_folders)
    text = f"Jupyter finds no kernelspec {installation.kernel} in the {count} folders where it looks"
    return error(
        "kernelspec-missing",
        f"{text} ({where})" if where else text,
        install_command("--sys-prefix", name=installation.kernel),
        folders=installation.kernel_folders,
    )


def _of_first(installation: Installation, spec: Kernelspec) -> Iterator[Finding]:
    place = {"name": spec.name, "folder": str(spec.folder)}
    if spec.problem:
        yield error("kernelspec-broken", f"{spec.file}: {spec.problem}", spec.install_command(), **place)
        return
    if spec.program is None:
        text = f"{spec.file} starts {spec.argv[0]}, which is missing or cannot be executed"
        yield error("program-missing", text, spec.install_command(), program=spec.argv[0], **place)
        return
    if "{connection_file}" not in " ".join(spec.argv):
        text = f"{spec.file} does not give the kernel its connection file"
        yield error("no-connection-file", text, spec.install_command(), **place)
    if spec.starts_callboard:
        yield from _of_python(installation, spec, spec.program)
    elif "--python" not in spec.argv:
        yield error(
            "another-kernel",
            f"{spec.file} starts another kernel: {shlex.join(spec.argv)}",
            f"name another kernelspec with --kernel, or replace this one: {spec.install_command()}",
            argv=spec.argv,
            **place,
        )


def _of_python(installation: Installation, spec: Kernelspec, program: str) -> Iterator[Finding]:
    place = {"name": spec.name, "folder": str(spec.folder)}
    if os.path.basename(program).startswith(("python", "pypy")) and not is_this(program):
        code = "import callboard; print(callboard.__version__)"
        # Not in the notebook's folder, and without -P, which an earlier Python does not know.
        answer = ask([program, "-c", code], installation.left(5), Path(sys.prefix))
        if answer.problem:
            text = f"{spec.file} starts {program}, which has no callboard that works: {answer.problem}"
            yield error("python-without-callboard", text, spec.install_command(), program=program, **place)
            return
        yield warning(
            "another-python",
            f"{spec.file} starts another Python than this one: {program}, with callboard {answer.stdout.strip()}",
            f"{shlex.quote(program)} -P -m callboard.doctor, or to start this one: {spec.install_command()}",
            program=program,
            **place,
        )
    if spec.imports_from_folder:
        yield warning(
            "without-safe-path",
            f"{spec.file} is of an earlier version, without -P: a callboard.py beside a notebook stops the kernel",
            spec.install_command(),
            **place,
        )
    if spec.takes_python_of_jupyter and not spec.folder.resolve().is_relative_to(Path(sys.prefix).resolve()):
        yield warning(
            "python-of-jupyter",
            f"{spec.file} starts `{spec.argv[0]}`: the Python of whichever Jupyter reads it, with or without callboard",
            spec.install_command(),
            **place,
        )


def _hidden(candidates: list[Kernelspec]) -> Iterator[Finding]:
    first = candidates[0]
    for other in candidates[1:]:
        if other.content == first.content and other.problem is None:
            continue
        remove = first if first.problem or (_is_of_this(other) and not _is_of_this(first)) else other
        yield warning(
            "kernelspec-hidden",
            f"there is another kernelspec {other.name} in {other.folder}; Jupyter takes that in {first.folder}",
            f"rm -r {shlex.quote(str(remove.folder))}",
            folder=str(first.folder),
            hidden=str(other.folder),
        )


def _is_of_this(spec: Kernelspec) -> bool:
    return spec.problem is None and spec.program is not None and is_this(spec.program)


def _not_allowed(installation: Installation) -> Iterator[Finding]:
    for trait in ("allowed_kernelspecs", "whitelist"):
        found = installation.configured(trait, "KernelSpecManager")
        if found and isinstance(found[0], list) and found[0] and installation.kernel not in found[0]:
            yield error(
                "kernelspec-not-allowed",
                f"{found[1]} lets Jupyter offer only {', '.join(map(str, found[0]))}",
                f"add {installation.kernel!r} to c.KernelSpecManager.{trait} in {found[1]}",
                file=found[1],
            )
