"""Cells are compiled as files, as ipykernel's are: tools that show no source for names in angle brackets show it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest
from support import without_colours

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Client, Kernel

FUNCTION = "import inspect, os, sys\ndef f():\n    # Says it.\n    return 1 / 0\nname = f.__code__.co_filename"


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def test_the_name_is_that_of_ipykernel(client: Client) -> None:
    # The first hash is that of ipykernel for this code.
    client.run("def f(): pass")
    named = client.run("f.__code__.co_filename").result
    temporary = client.run(
        "import os, tempfile\nos.path.join(tempfile.gettempdir(), f'ipykernel_{os.getpid()}')"
    ).result
    assert named == f"{(temporary or '')[:-1]}/4021721294.py'"
    client.run("def f(): pass")
    assert client.run("f.__code__.co_filename").result == named, "the same code has the same name"
    assert client.run("os.path.exists(f.__code__.co_filename)").result == "False"


def test_the_source_is_found(client: Client) -> None:
    client.run(FUNCTION)
    assert client.run("print(inspect.getsource(f))").stdout.startswith("def f():\n    # Says it.\n")
    assert client.run("inspect.getsourcefile(f) == inspect.getfile(f) == name").result == "True"
    assert client.run("import linecache\nlinecache.checkcache()\nlinecache.getline(name, 4)").result == (
        "'    return 1 / 0\\n'"
    )
    assert (
        "# Says it."
        in client.ask("inspect_request", {"code": "f", "cursor_pos": 1, "detail_level": 1})["data"]["text/plain"]
    )


def test_tracebacks_name_the_cell_and_mark_the_line(client: Client) -> None:
    number = client.run(FUNCTION).reply["execution_count"]
    run = client.run("try:\n    f()\nfinally:\n    pass")
    here = run.reply["execution_count"]
    assert f"Cell In[{here}], line 2" in run.traceback
    assert f"Cell In[{number}], line 4, in f()" in run.traceback
    assert "----> 2     f()" in run.traceback
    assert "----> 4     return 1 / 0" in run.traceback
    # The expression that has failed is marked.
    assert "\x1b[30;43m1" in "".join(run.error["traceback"]) or "43m1" in "".join(run.error["traceback"])
    assert f"Cell In[{here + 1}], line 1" in client.run("x = (").traceback


def test_python_shows_the_source(client: Client) -> None:
    client.run(FUNCTION)
    run = client.run("import traceback\ntry: f()\nexcept Exception: traceback.print_exc()")
    assert "line 4, in f\n    return 1 / 0\n" in run.stderr
    assert run.stderr.count("ipykernel_") == 2
    warned = client.run("import warnings\nwarnings.warn('careful')")
    assert "UserWarning: careful\n  warnings.warn('careful')" in warned.stderr


@pytest.mark.parametrize("line", ["", "# task\n", "# thread\n", "%%thread\n"])
def test_cells_elsewhere(client: Client, line: str) -> None:
    client.run(f"{line}def g(): return sys._getframe().f_code.co_filename\nimport sys")
    assert "ipykernel_" in (client.run("g()").result or "")
    assert "Cell In[" in client.run(f"{line}1/0").traceback


def test_code_of_any_text(client: Client) -> None:
    """JSON can carry a lone surrogate, UTF-8 cannot."""
    assert client.run("s = 'ü🔒'\ndef f(): pass\n'ipykernel_' in f.__code__.co_filename").result == "True"
    names = "ip = get_ipython()\n[ip.compile.get_code_name(text, '', 1)[-3:] for text in ('', chr(0xD800), 'a\\0b')]"
    assert client.run(names).result == "['.py', '.py', '.py']"


def test_a_name_that_the_user_chooses(start_kernel: Callable[..., Kernel]) -> None:
    """ipykernel's variable for it."""
    with start_kernel(IPYKERNEL_CELL_NAME="<my cell>").connect() as client:
        assert client.run("def f(): pass\nf.__code__.co_filename").result == "'<my cell>'"
        assert "Cell In[2], line 1" in client.run("1/0").traceback


def test_a_temporary_folder_of_the_user(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with start_kernel(TMPDIR=f"{tmp_path / 'mine'}/").connect() as client:
        name = client.run("def f(): pass\nf.__code__.co_filename").result or ""
        assert name.startswith(f"'{tmp_path / 'mine'}/ipykernel_")
    with start_kernel(TMPDIR=str(tmp_path / "absent")).connect() as client:
        same = "import os, tempfile\ndef f(): pass\nos.path.dirname(os.path.dirname(f.__code__.co_filename)) == tempfile.gettempdir()"
        assert client.run(same).result == "True"


def test_the_debugger_of_python_lists_it(client: Client) -> None:
    client.run(FUNCTION)
    msg_id = client.execute("import pdb\npdb.run('f()', globals())")
    answers = iter(["s", "s", "l", "q"])
    prompts = client.prompts()
    for answer in answers:
        client.answer(answer, next(prompts))
    run = client.finish(msg_id)
    assert "# Says it." in run.stdout


def test_edit_writes_the_cell(client: Client) -> None:
    client.run(FUNCTION)
    (payload,) = client.run("%edit f").reply["payload"]
    assert payload["source"] == "edit_magic"
    assert payload["filename"].endswith(".py")
    shown = client.run("import os, stat\nprint(open(name).read())\nstat.filemode(os.stat(name).st_mode)")
    assert "# Says it." in shown.stdout
    assert shown.result == "'-rw-------'"
    assert client.run("stat.filemode(os.stat(os.path.dirname(name)).st_mode)").result == "'drwx------'"
    assert client.run("1/0").error["ename"] == "ZeroDivisionError"


def test_what_edit_wrote_is_gone_with_the_kernel(start_kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    kernel = start_kernel(TMPDIR=str(tmp_path))
    with kernel.connect() as client:
        client.run("def f(): pass")
        assert client.run("%edit f").status == "ok"
        assert len(list(tmp_path.glob("ipykernel_*/*.py"))) == 1
        client.ask("shutdown_request", {"restart": False}, channel="control")
        kernel.wait_end()
    assert not list(tmp_path.glob("ipykernel_*"))


@pytest.mark.parametrize("name", ["nope", "Class"])
def test_edit_of_what_has_no_source(client: Client, name: str) -> None:
    client.run("class Class: pass")
    run = client.run(f"%edit {name}")
    assert (run.status, run.reply["payload"], run.contents("error")) == ("ok", [], [])
    assert "UserWarning" in run.stderr


@needs("rich")
def test_rich_shows_the_source(client: Client) -> None:
    client.run(FUNCTION)
    run = client.run("from rich.console import Console\ntry: f()\nexcept Exception: Console().print_exception()")
    (shown,) = run.contents("display_data")
    assert "# Says it." in without_colours(shown["data"]["text/plain"])


@needs("executing")
def test_executing_finds_the_node(client: Client) -> None:
    client.run(
        "import executing, inspect\ndef node(): return type(executing.Source.executing(inspect.currentframe().f_back).node)"
    )
    assert client.run("node().__name__").result == "'Call'"


@needs("line_profiler")
def test_line_profiler_shows_the_source(client: Client) -> None:
    client.run("%load_ext line_profiler\ndef g():\n    x = 1  # counted\n    return x")
    run = client.run("%lprun -f g g()")
    assert "# counted" in str(run.reply["payload"]) + run.stdout


@needs("joblib")
def test_joblib_caches_functions_of_cells(client: Client, tmp_path: Path) -> None:
    client.run(f"import joblib\nmemory = joblib.Memory({str(tmp_path)!r}, verbose=0)")
    client.run("@memory.cache\ndef h(x):\n    print('computed')\n    return x")
    assert client.run("h(1)").stdout == "computed\n"
    assert client.run("h(1)").stdout == ""


@needs("numba")
def test_numba_caches_functions_of_cells(client: Client) -> None:
    assert client.run("import numba\n@numba.njit(cache=True)\ndef h(x): return x + 1\nh(1)").result == "2"
