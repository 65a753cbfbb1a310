"""The tracebacks of deep recursions are shown quickly, and as IPython would; formatting one can be interrupted."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support import interrupt

if TYPE_CHECKING:
    from support import Client, Kernel

#: Functions that recurse `n` times and then raise.
RECURSIONS = {
    "one": "def f(n):\n    if n == 0: raise ValueError('deep')\n    return f(n - 1)\n",
    "two": "def f(n):\n    return g(n)\ndef g(n):\n    if n == 0: raise ValueError('deep')\n    return f(n - 1)\n",
    "two lines": (
        "def f(n):\n"
        "    if n == 0: raise ValueError('deep')\n"
        "    if n % 2:\n"
        "        return f(n - 1)\n"
        "    return f(n - 1)\n"
    ),
    "repr": (
        "class A:\n"
        "    def __init__(self, n): self.n = n\n"
        "    def __repr__(self):\n"
        "        if self.n == 0: raise ValueError('deep')\n"
        "        return 'a' + repr(A(self.n - 1))\n"
        "def f(n): repr(A(n))\n"
    ),
    "part of it": (
        "def deep(n):\n"
        "    if n == 0: return last()\n"
        "    return deep(n - 1)\n"
        "def last(): raise ValueError('deep')\n"
        "def f(n): deep(n)\n"
    ),
    "raised again": (
        "def f(n):\n    try:\n        return f(n - 1) if n else 1 / 0\n    except ZeroDivisionError:\n        raise\n"
    ),
    "another one": (
        "def deep(n):\n"
        "    return deep(n - 1) if n else 1 / 0\n"
        "def f(n):\n"
        "    try:\n"
        "        deep(n)\n"
        "    except ZeroDivisionError as error:\n"
        "        raise ValueError('deep') from error\n"
    ),
}

COMPARE = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from callboard.ipython import long_tracebacks

sys.setrecursionlimit(3000)
shell = InteractiveShell.instance()
shell.run_cell({code!r})

def shown():
    try:
        shell.user_ns["f"](400)
    except Exception:
        return shell.InteractiveTB.structured_traceback(*sys.exc_info(), tb_offset=1)

# The first time, executing may find less.
shown()
before = shown()
long_tracebacks.shorten()
get_records = type(shell.InteractiveTB).get_records
assert get_records.__module__ == "IPython.core.ultratb" and hasattr(get_records, "__wrapped__")
after = shown()
assert any("skipping similar frames" in part for part in before)
assert before == after, "\\n".join([*before, "-----", *after])
"""


@pytest.mark.parametrize("code", RECURSIONS.values(), ids=RECURSIONS)
def test_a_traceback_looks_as_that_of_ipython(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPARE.format(code=code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("code", RECURSIONS.values(), ids=RECURSIONS)
def test_a_deep_recursion_is_answered(client: Client, code: str) -> None:
    depth = 1000 if "repr" in code else 19_000
    began = time.monotonic()
    run = client.run(f"import sys\nsys.setrecursionlimit(20_000)\n{code}f({depth})")
    # 0.2 s on an idle machine; IPython alone takes 20.
    assert time.monotonic() - began < 10
    assert "skipping similar frames" in run.traceback
    assert len(run.traceback) < 20_000


def test_an_endless_recursion_is_answered(client: Client) -> None:
    began = time.monotonic()
    run = client.run("import sys\nsys.setrecursionlimit(20_000)\ndef f(n): return f(n + 1)\nf(0)")
    assert time.monotonic() - began < 10
    assert run.error["ename"] == "RecursionError"
    assert client.run("'alive'").result == "'alive'"


#: Exceptions that take long to format: IPython formats all that an exception was raised from; one has a slow text.
SLOW = {
    "text": (
        "class Slow(Exception):\n"
        "    def __str__(self):\n"
        "        print('started', flush=True)\n"
        "        time.sleep(30)\n"
        "raise Slow"
    ),
    "traceback": (
        "class Slow(Exception):\n"
        "    def _render_traceback_(self):\n"
        "        print('started', flush=True)\n"
        "        while True: time.sleep(0.01)\n"
        "raise Slow('the text')"
    ),
}


@pytest.mark.parametrize("code", SLOW.values(), ids=SLOW)
def test_formatting_is_interrupted(kernel: Kernel, client: Client, how: str, code: str) -> None:
    msg_id = client.start(f"import time\n{code}")
    interrupt(client, kernel, how)
    run = client.finish(msg_id, timeout=20)
    assert run.reply["status"] == "error"
    assert run.reply["ename"] in ("Slow", "KeyboardInterrupt")
    assert run.error["ename"] == run.reply["ename"]
    assert client.run("'alive'").result == "'alive'"
