"""`callboard.ipython.tracebacks`: the libraries that tracebacks are made with."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from callboard.ipython import tracebacks

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from support import Client

#: Formats errors as IPython does, before and after its libraries are prepared. What is kept stays in the process.
COMPARE = """
import sys
from pathlib import Path
from IPython.core.ultratb import AutoFormattedTB
from IPython.utils.PyColorize import theme_table
from callboard.ipython.tracebacks import prepare

folder = Path(sys.argv[1])
SOURCES = {
    "plain": "1 / 0",
    "deep": "def f(n):\\n    '''é'''\\n    return f(n - 1) if n else [][0]\\nf(3)",
    "lines": "x = {\\n    'a': 1,\\n    'b': len(\\n        5\\n    ),\\n}",
    "strange": "class A:\\n    @property\\n    def p(self): raise KeyError('ü')  # \\N{SNOWMAN}\\nA().p",
}

def formatted():
    found = {}
    for theme in theme_table:
        tb = AutoFormattedTB(mode="Context", theme_name=theme, tb_offset=0)
        for name, source in SOURCES.items():
            file = folder / f"{name}.py"
            file.write_text(source)
            try:
                exec(compile(source, str(file), "exec"), {"__name__": "user"})
            except Exception:
                found[theme, name] = tb.structured_traceback(*sys.exc_info())
    return found

before = formatted()
prepare()
assert formatted() == before
assert formatted() == before
assert any("\\x1b[" in line for lines in before.values() for line in lines)
"""


def test_tracebacks_look_as_before(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPARE, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_replaced_in_versions_that_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    import stack_data
    from stack_data import core

    def other(style: object, modifier: object, more: object) -> None:
        """Has another signature."""

    monkeypatch.setattr(stack_data, "style_with_executing_node", other)
    before = core._pygmented_with_ranges
    tracebacks._prepare.__wrapped__()
    assert stack_data.style_with_executing_node is other
    assert core._pygmented_with_ranges is before


def test_a_cell_that_fails_leaves_little_to_be_collected(client: Client) -> None:
    """Counts objects. It was 40,000 before tracebacks were prepared."""
    client.run("1 / 0")
    client.run("import gc\ngc.collect(); gc.disable()")
    for _ in range(20):
        assert client.run("1 / 0").reply["ename"] == "ZeroDivisionError"
    assert int(client.run("gc.enable(); gc.collect()").result) < 2500


def test_cells_that_fail_do_not_stay_in_memory(client: Client) -> None:
    for number in range(150):
        assert client.run(f"value = {number}\n1 / 0").reply["ename"] == "ZeroDivisionError"
    kept = client.run(
        "import gc, types\ngc.collect()\n"
        "sum(isinstance(o, tuple) and len(o) == 3 and isinstance(o[0], types.CodeType) and"
        " o[0].co_filename.startswith('<ipython-input') for o in gc.get_objects())"
    )
    assert int(kept.result) <= 128
