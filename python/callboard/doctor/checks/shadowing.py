"""Files beside the notebook whose names are those of modules that the kernel needs."""

from __future__ import annotations

import importlib.machinery
import os
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from ..ask import ask
from ..findings import error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation
    from ..kernelspecs import Kernelspec

#: Prints what ``python -m`` imports, beside callboard, before callboard can take the folder off ``sys.path``. This
#: differs with the version of Python and with what the .pth files of the environment have imported before. What is
#: frozen or built in cannot be replaced.
_PRINT_FIRST = """
import sys
before = set(sys.modules)
import runpy
for name in set(sys.modules) - before:
    if "." not in name and sys.modules[name].__spec__.has_location:
        print(name)
"""


def check(installation: Installation) -> Iterator[Finding]:
    try:
        names = sorted(os.listdir(installation.folder))
    except OSError as failure:
        yield warning(
            "folder-unreadable",
            f"{installation.folder} cannot be read: {failure.strerror}",
            f"chmod u+rx {installation.folder}, if it is yours",
        )
        return
    spec = installation.kernelspec
    is_safe = spec is None or not spec.imports_from_folder
    needed = _needed()
    first = set() if spec is None or is_safe else _imported_first(spec, installation)
    found = False
    for name in names:
        module = _module(os.path.join(installation.folder, name))
        if module is None or not (module in sys.stdlib_module_names or module in needed):
            continue
        found = True
        file = os.path.join(installation.folder, name)
        facts = {"file": file, "module": module}
        if module in first:
            yield error(
                "stops-kernels",
                f"{file} is imported in place of the module {module}: a kernel in this folder does not start",
                f"rename it, and {spec.install_command() if spec else 'callboard install'}",
                **facts,
            )
        elif module in sys.stdlib_module_names:
            yield warning(
                "hidden-by-library",
                f"{file} does the kernel no harm, but `import {module}` in a cell gives the standard library's",
                "rename it",
                **facts,
            )
        else:
            yield warning(
                "named-as-library",
                f"{file} does the kernel no harm, but `import {module}` in a cell may give it, not the library",
                "rename it",
                **facts,
            )
    if not found:
        yield ok(f"nothing in {installation.folder} has the name of a module that the kernel needs")


def _imported_first(spec: Kernelspec, installation: Installation) -> set[str]:
    """The modules that a kernel takes from the folder if they are there, because it imports them first."""
    answer = ask([spec.program or sys.executable, "-P", "-c", _PRINT_FIRST], installation.left(5), installation.folder)
    return {"callboard", *answer.stdout.split()}


def _module(path: str) -> str | None:
    """The name under which Python would import a file or a folder. A folder without __init__.py hides none."""
    name = os.path.basename(path)
    if os.path.isdir(path):
        return name if os.path.isfile(os.path.join(path, "__init__.py")) else None
    for suffix in importlib.machinery.all_suffixes():
        stem = name.removesuffix(suffix)
        if stem != name and stem.isidentifier():
            return stem
    return None


def _needed() -> set[str]:
    """The modules of the packages that callboard needs, directly or not."""
    packages = {"callboard"}
    modules = {"callboard"}
    left = ["callboard"]
    while left:
        try:
            package = metadata.distribution(left.pop())
        except metadata.PackageNotFoundError:
            continue
        tops = {re.split(r"[/.]", str(file))[0] for file in package.files or () if str(file).endswith((".py", ".so"))}
        modules.update(top for top in tops if top.isidentifier())
        for line in package.requires or ():
            name, marker = re.split(r"[\s\[(<>=!~;]", line, maxsplit=1)[0], line.partition(";")[2]
            if "extra" not in marker and name not in packages:
                packages.add(name)
                left.append(name)
    return modules
