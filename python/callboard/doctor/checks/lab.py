"""JupyterLab's setting for the messages of widgets (comms), together with callboard's ``%comms``."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..findings import ok, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation

#: JupyterLab 4.4 and later: *Settings*, *Kernels*, *Kernel Comms over subshells*.
PLUGIN, KEY, DEFAULT = "@jupyterlab/apputils-extension:kernels-settings", "commsOverSubshells", "perCommTarget"


def check(installation: Installation) -> Iterator[Finding]:
    if installation.no_jupyter_client:
        yield skipped("needs jupyter_client")
        return
    value, file, problems = _setting()
    for place, problem in problems:
        text = f"{place} cannot be read, so JupyterLab ignores it: {problem}"
        yield warning("settings-unreadable", text, f"mend the file, or rename it: {place}", file=str(place))
    spec = installation.kernelspec
    in_subshells = spec is not None and "--comms-in-subshells" in spec.options
    facts = {"setting": value, "comms_in_subshells": in_subshells}
    if in_subshells and value == "disabled":
        yield warning(
            "comms-not-sent-to-subshells",
            f"the kernelspec has --comms-in-subshells, but {file} has JupyterLab send comms to the main shell",
            f'set "{KEY}": "{DEFAULT}" (Settings, Kernels)',
            **facts,
        )
    elif value == "perComm":
        yield warning(
            "subshell-for-each-comm",
            f"{file} has JupyterLab make a subshell, which is a thread of the kernel, for each widget",
            f'set "{KEY}": "{DEFAULT}" (Settings, Kernels)',
            **facts,
        )
    elif not problems:
        yield ok(_meaning(value, in_subshells=in_subshells), **facts)


def _meaning(value: str, *, in_subshells: bool) -> str:
    if value == "disabled":
        return "JupyterLab sends comms to the main shell: widgets wait for the cell that runs, whatever %comms says"
    if in_subshells:
        return "comms go to subshells and are handled there: widgets work while a cell computes"
    return "JupyterLab sends comms to subshells; handled between cells, or there after `%comms subshells`"


def _setting() -> tuple[str, Path | None, list[tuple[Path, str]]]:
    """The value, the file that sets it, and the files that cannot be read. The user's settings count most."""
    from jupyter_core.paths import jupyter_config_dir, jupyter_config_path

    user = os.environ.get("JUPYTERLAB_SETTINGS_DIR") or os.path.join(jupyter_config_dir(), "lab", "user-settings")
    extension, _, plugin = PLUGIN.partition(":")
    application = os.environ.get("JUPYTERLAB_DIR") or os.path.join(sys.prefix, "share", "jupyter", "lab")
    overrides = [
        *(Path(folder, "labconfig", "default_setting_overrides.json") for folder in jupyter_config_path()),
        Path(application, "settings", "overrides.json5"),
        Path(application, "settings", "overrides.json"),
    ]
    problems = []
    for file in (Path(user, extension, f"{plugin}.jupyterlab-settings"), *overrides):
        try:
            content = _loose_json(file.read_text("utf-8"))
            settings = content if file not in overrides else content.get(PLUGIN, {})
            value = settings.get(KEY)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, RecursionError) as failure:
            problems.append((file, str(failure)))
            continue
        if isinstance(value, str):
            return value, file, problems
    return DEFAULT, None, problems


def _loose_json(text: str) -> Any:
    """JSON with comments: JupyterLab's own editor writes them."""
    try:
        import json5
    except ImportError:
        return json.loads(re.sub(r"^\s*//[^\n]*|^\s*/\*.*?\*/", "", text, flags=re.MULTILINE | re.DOTALL) or "{}")
    return json5.loads(text) if text.strip() else {}
