"""The limit of executing: what Python and IPython themselves take for a cell `pass`, without any kernel.

Run as a script by the Python that callboard runs on; it prints samples in µs as JSON. It imports nothing of the
comparison.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: What each limit is, for the reader of the page.
MEANINGS = {
    "exec_us": '`exec(compile("pass", ...))` in one process',
    "run_cell_us": '`run_cell("pass", store_history=True)` of IPython in one process',
}

COUNT = 500


def _samples(action: Callable[[], object]) -> list[float]:
    samples = []
    for number in range(COUNT + 50):
        begin = time.perf_counter()
        action()
        if number >= 50:
            samples.append((time.perf_counter() - begin) * 1e6)
    return samples


def main() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    # IPython returns what a cell gives and prints nothing for this one.
    namespace: dict[str, object] = {}
    bare = _samples(lambda: exec(compile("pass", "<cell>", "exec"), namespace))
    shell = InteractiveShell.instance()
    cell = _samples(lambda: shell.run_cell("pass", store_history=True))
    print(json.dumps({"exec_us": bare, "run_cell_us": cell}))


def measure(python: str, env: dict[str, str]) -> dict[str, list[float]]:
    """Runs this file with another Python, and with these variables."""
    with tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | env | {"IPYTHONDIR": folder}
        done = subprocess.run([python, __file__], env=env, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
