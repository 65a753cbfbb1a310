"""Reads the configuration of Jupyter's servers, as a program of its own: its files are Python, and may do anything.

Prints JSON: ``values``, for each ``Class.trait`` its value and its file; ``problems``, the files that cannot be read.
"""

from __future__ import annotations

import json
import os
from typing import Any

#: In the order in which a server and JupyterLab read them.
NAMES = ("jupyter_config", "jupyter_server_config", "jupyter_notebook_config", "jupyter_lab_config")


def main() -> None:
    # What a file of configuration prints is no part of the answer.
    answer = os.dup(1)
    os.dup2(2, 1)
    values: dict[str, Any] = {}
    problems: list[list[str]] = []
    _read_all(values, problems)
    os.write(answer, json.dumps({"values": values, "problems": problems}, default=_plain).encode())


def _plain(value: object) -> object:
    """What JSON does not have."""
    return list(value) if isinstance(value, (set, frozenset)) else repr(value)


def _read_all(values: dict[str, Any], problems: list[list[str]]) -> None:
    from jupyter_core.paths import jupyter_config_path
    from traitlets.config.loader import JSONFileConfigLoader, PyFileConfigLoader

    # A server reads the current folder as well; the first folder counts most.
    folders = [os.getcwd(), *jupyter_config_path()]
    loaders: list[tuple[str, Any]] = [(".py", PyFileConfigLoader), (".json", JSONFileConfigLoader)]
    for name in NAMES:
        for folder in reversed(folders):
            for ending, loader in loaders:
                file = os.path.join(folder, name + ending)
                if not os.path.isfile(file):
                    continue
                try:
                    config = loader(name + ending, path=folder).load_config()
                # It may call sys.exit(), too.
                except BaseException as error:  # noqa: BLE001 - the code of the user
                    problems.append([file, f"{type(error).__name__}: {error}"])
                    continue
                for section, traits in config.items():
                    if isinstance(traits, dict):
                        values.update({f"{section}.{trait}": [value, file] for trait, value in traits.items()})


if __name__ == "__main__":
    main()
