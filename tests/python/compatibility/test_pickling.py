"""Sessions and functions of cells that are pickled, by pickle, cloudpickle and dill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client

#: A session: what libraries pickle by value, and by reference.
SESSION = """
import dill, math, json, os, sys
from math import sin
x = [41]
def f(a): return a + x[0]
class A:
    def m(self): return get_ipython
def shell(): return get_ipython()
def nested():
    return lambda: (display, get_ipython, open, f)
table = {"f": f, "A": A, "shell": shell, "stdout": sys.stdout, "get": get_ipython}
_hidden = 1
"""


@pytest.mark.parametrize(
    ("dump", "load"),
    [
        ("dill.dump_session('s.pkl')", "dill.load_session('s.pkl')"),
        ("dill.dump_module('s.pkl')", "dill.load_module('s.pkl')"),
        ("dill.dump_module('s.pkl', refimported=True)", "dill.load_module('s.pkl')"),
    ],
)
def test_dill_saves_and_restores_a_session(fresh_client: Client, dump: str, load: str) -> None:
    client = fresh_client
    client.run(SESSION)
    client.run("'a result'")
    # dill fails if another thread imports something while it goes through `sys.modules`: load what the threads of the
    # kernel load beside cells.
    client.run("import sqlite3\n1 / 0")
    # Modules that are loaded later, or when they are asked for a name.
    client.run("import tempfile, uuid, locale, ipaddress, ssl, ipykernel, ipykernel.zmqshell as zmqshell")
    run = client.run(dump)
    assert run.status == "ok", run.traceback
    client.run("x, y = [0], 2\ndel f, A")
    run = client.run(load)
    assert run.status == "ok", run.traceback
    assert client.run("x, f(1), A().m()() is shell() is get_ipython(), y").result == "([41], 42, True, 2)"
    assert client.run("table['stdout'] is sys.stdout, table['get'] is get_ipython").result == "(True, True)"
    # The session goes on.
    assert client.run("get_ipython().user_ns['f'] is f, In[-1] == _ih[-1]").result == "(True, True)"
    assert client.run("1 / 0").error["ename"] == "ZeroDivisionError"


def test_a_session_is_restored_in_another_kernel(client: Client, start_kernel: object, tmp_path: object) -> None:
    client.run(SESSION)
    client.run(f"dill.dump_session('{tmp_path}/s.pkl')")
    with start_kernel().connect() as other:  # type: ignore[operator]
        run = other.run(f"import dill; dill.load_session('{tmp_path}/s.pkl')")
        assert run.status == "ok", run.traceback
        assert other.run("f(1), shell() is get_ipython(), table['stdout'] is sys.stdout").result == "(42, True, True)"


@pytest.mark.parametrize("library", ["pickle", "cloudpickle", "dill"])
@pytest.mark.parametrize(
    "name", ["get_ipython", "sys.stdout", "sys.stderr", "f", "A", "A()", "shell", "In", "Out", "display"]
)
def test_what_cells_have_and_refer_to_is_pickled(client: Client, library: str, name: str) -> None:
    client.run(SESSION + f"import {library}")
    run = client.run(f"{library}.loads({library}.dumps({name})) is {name}")
    assert run.status == "ok", run.traceback
    if name in ("get_ipython", "sys.stdout", "sys.stderr", "display"):
        assert run.result == "True"


@pytest.mark.parametrize("library", ["cloudpickle", "dill"])
def test_a_function_of_a_cell_runs_in_another_process(client: Client, library: str) -> None:
    """There is no shell there: ``get_ipython()`` returns None, as it does in any program."""
    client.run(SESSION + f"import {library}, subprocess\ndill.settings['recurse'] = True")
    client.run(f"open('f.pkl', 'wb').write({library}.dumps([f, shell, lambda: print('printed', file=sys.stdout)]))")
    code = f"import {library}; f, shell, show = {library}.load(open('f.pkl', 'rb')); print(f(1), shell()); show()"
    run = client.run(f"print(subprocess.check_output([sys.executable, '-c', {code!r}], text=True))")
    client.run("dill.settings['recurse'] = False")
    assert run.stdout.split() == ["42", "None", "printed"]


def test_a_copy_of_a_stream_is_the_stream(client: Client) -> None:
    """Objects that print keep the stream, and are copied."""
    assert client.run("import copy, sys; [c(sys.stdout) is sys.stdout for c in (copy.copy, copy.deepcopy)]").result == (
        "[True, True]"
    )


@pytest.mark.parametrize("library", ["cloudpickle", "dill"])
@pytest.mark.parametrize("module", ["ipaddress", "ssl", "ipykernel", "ipykernel.iostream"])
def test_modules_are_pickled_by_name(fresh_client: Client, library: str, module: str) -> None:
    """Also those that are not loaded yet, or are empty until they are asked for a name."""
    run = fresh_client.run(
        f"import {library}, sys, {module}\nmodule = sys.modules[{module!r}]\nvalue = {library}.dumps(module)"
    )
    assert run.status == "ok", run.traceback
    assert fresh_client.run("len(value) < 100").result == "True"
    assert fresh_client.run(f"{library}.loads(value) is module").result == "True"


def test_looking_into_all_modules_loads_none(fresh_client: Client) -> None:
    """dill reads the ``__dict__`` of each entry of ``sys.modules``, in a loop over it: that must not change."""
    run = fresh_client.run(
        "import sys\nfor name, module in sys.modules.items():\n"
        "    vars(module), module.__dict__, getattr(module, '__file__', None), getattr(module, '__spec__', None)"
    )
    assert run.status == "ok", run.traceback
    run = fresh_client.run(
        "import tempfile, uuid\nuuid.uuid4().version, tempfile.gettempdir() == vars(tempfile)['tempdir']"
    )
    assert run.result == "(4, True)"
