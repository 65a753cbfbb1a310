"""The limits: the time that Python and IPython themselves take, without a kernel.

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
    "complete_us": "completion of `os.path.jo` by IPython and jedi in one process, with types and signatures",
    "start_us": "from the start of Python until a shell of IPython has executed `1+1`",
}

COUNT = 500
STARTS = 10


def _samples(action: Callable[[], object], count: int = COUNT) -> list[float]:
    samples = []
    for number in range(count + 50):
        begin = time.perf_counter()
        action()
        if number >= 50:
            samples.append((time.perf_counter() - begin) * 1e6)
    return samples


def main() -> None:
    from IPython.core.completer import provisionalcompleter, rectify_completions
    from IPython.core.interactiveshell import InteractiveShell

    # IPython returns what a cell gives and prints nothing for this one.
    namespace: dict[str, object] = {}
    bare = _samples(lambda: exec(compile("pass", "<cell>", "exec"), namespace))
    shell = InteractiveShell.instance()
    cell = _samples(lambda: shell.run_cell("pass", store_history=True))
    shell.run_cell("import os, sys, json")

    def complete() -> None:
        with provisionalcompleter():
            list(rectify_completions("os.path.jo", shell.Completer.completions("os.path.jo", 10)))

    print(json.dumps({"exec_us": bare, "run_cell_us": cell, "complete_us": _samples(complete, 100)}))


#: What a kernel cannot do without before it gives a first result.
START = """
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance().run_cell("1+1", store_history=True)
print(flush=True)
"""


def _start(python: str, env: dict[str, str]) -> float:
    begin = time.perf_counter()
    with subprocess.Popen([python, "-c", START], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return (time.perf_counter() - begin) * 1e6


def measure(python: str, env: dict[str, str]) -> dict[str, list[float]]:
    """Runs this file with another Python, and with these variables."""
    with tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | env | {"IPYTHONDIR": folder}
        done = subprocess.run([python, __file__], env=env, capture_output=True, text=True, check=True, timeout=120)
        starts = [_start(python, env) for _ in range(STARTS)]
    return json.loads(done.stdout.splitlines()[-1]) | {"start_us": starts}


if __name__ == "__main__":
    main()
