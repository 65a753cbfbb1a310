"""The kernelspec, which tells Jupyter how to start callboard."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

#: The name that the kernelspec is installed under.
NAME = "callboard"

RESOURCES = Path(__file__).parent / "resources"


def spec(
    *,
    display_name: str | None = None,
    extra_arguments: list[str] | None = None,
    env: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The content of ``kernel.json`` for this Python."""
    from . import _core  # the rest works without it, for `callboard doctor`

    kernel: dict[str, Any] = json.loads((RESOURCES / "kernel.json").read_text())
    # -P keeps a callboard.py or a types.py of the current folder from being imported before this package is.
    kernel["argv"] = [sys.executable, "-P", "-m", "callboard", "-f", "{connection_file}", *(extra_arguments or [])]
    if not _core.has_curve:
        # The packaged kernel.json is that of a build with CURVE.
        del kernel["metadata"]["supported_encryption"]
    if display_name:
        kernel["display_name"] = display_name
    if env:
        kernel["env"] = env
    return kernel


def install(
    *,
    name: str = NAME,
    user: bool = False,
    prefix: str | None = None,
    display_name: str | None = None,
    extra_arguments: list[str] | None = None,
    env: dict[str, str] | None = None,
) -> str:
    """Installs the kernelspec. Returns its folder."""
    from jupyter_client.kernelspec import KernelSpecManager

    if display_name is None and name != NAME:
        display_name = name
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / name
        shutil.copytree(RESOURCES, source)
        content = spec(display_name=display_name, extra_arguments=extra_arguments, env=env)
        (source / "kernel.json").write_text(json.dumps(content, indent=1) + "\n")
        return KernelSpecManager().install_kernel_spec(str(source), kernel_name=name, user=user, prefix=prefix)


def uninstall(name: str = NAME) -> str:
    """Removes the kernelspec. Returns its former folder."""
    from jupyter_client.kernelspec import KernelSpecManager

    return KernelSpecManager().remove_kernel_spec(name)


def installed() -> dict[str, str]:
    """The kernelspecs that start callboard: name and folder."""
    from jupyter_client.kernelspec import KernelSpecManager

    found = KernelSpecManager().get_all_specs()
    return {name: entry["resource_dir"] for name, entry in found.items() if "callboard" in entry["spec"]["argv"]}
