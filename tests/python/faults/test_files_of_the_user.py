"""Files of the user's whose names are those of modules that the kernel imports: at its start, and later."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from callboard import kernelspec
from jupyter_client.connect import write_connection_file
from support import TIMEOUT, Client, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import Kernel

#: Modules that are imported at the start.
EARLY = ("json", "queue", "string", "threading", "logging", "tempfile", "selectors", "contextvars", "getpass", "uuid")
#: Packages that are imported at the start.
PACKAGES = ("IPython", "traitlets", "comm", "pygments", "ipykernel", "callboard_core", "matplotlib_inline", "uvloop")
#: Modules that tracebacks, completion, inspection, history and commands import.
LATE = (
    *("jedi", "parso", "stack_data", "executing", "asttokens", "pure_eval", "pexpect"),
    *("sqlite3", "random", "html", "platform", "pydoc", "bisect", "hashlib", "code", "pdb"),
)
#: Imported by ``python -m`` before it looks for the module: only ``python -P`` saves them.
BEFORE = ("types", "operator", "collections", "functools", "warnings", "callboard")

BROKEN = "raise SystemExit('the file of the user was imported')\n"


def fill(folder: Path, *names: str) -> Path:
    """Puts broken modules of these names into a folder, a broken package ``asyncio``, and a good module ``mine``."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.py").write_text(BROKEN)
    (folder / "asyncio").mkdir()
    (folder / "asyncio/__init__.py").write_text(BROKEN)
    # A folder that is no package.
    (folder / "email").mkdir()
    (folder / "mine.py").write_text("value = 5\n")
    return folder


def use_everything(client: Client) -> None:
    """Does what makes a kernel import modules late."""
    assert client.run("import mine\nmine.value").result == "5"
    assert client.run("1/0").error["ename"] == "ZeroDivisionError"
    assert "Cell In[" in client.run("def f(): 1/0\nf()").traceback
    assert client.ask("complete_request", {"code": "mine.va", "cursor_pos": 7})["matches"] == ["value"]
    assert client.ask("inspect_request", {"code": "print", "cursor_pos": 5, "detail_level": 0})["found"]
    assert client.run("%history -n -g").status == "ok"
    history = {"hist_access_type": "tail", "n": 3, "output": False, "raw": True}
    assert client.ask("history_request", history)["history"]
    assert client.run("x = !echo hello\nx[0]").result == "'hello'"
    assert client.run("%timeit -n1 -r1 1").status == "ok"
    assert client.run("import json, queue, string\njson.dumps([1])").result == "'[1]'"
    assert client.run("# thread\n1").result == "1"


@pytest.fixture
def crowded(start_kernel: Callable[..., Kernel], tmp_path: Path) -> Kernel:
    """A kernel in a folder with files of all of these names."""
    return start_kernel(folder=fill(tmp_path / "crowded", *EARLY, *PACKAGES, *LATE))


def test_files_with_names_of_modules_disturb_neither_the_start_nor_later_imports(crowded: Kernel) -> None:
    with crowded.connect() as client:
        use_everything(client)


def test_modules_are_found_that_the_user_puts_before_the_standard_library(crowded: Kernel) -> None:
    """The kernel goes on to find its own; names that it does not need are the user's."""
    with crowded.connect() as client:
        client.run("import sys\nsys.path.insert(0, '.')\nopen('timeit.py', 'w').write('value = 6')")
        assert client.run("import timeit\ntimeit.value").result == "6"
        client.run("del sys.modules['timeit']\nimport os\nos.remove('timeit.py')")
        use_everything(client)


def test_the_current_folder_is_behind_the_standard_library_and_before_packages(fresh_client: Client) -> None:
    path = fresh_client.run("import os, sys\nsys.path.index(''), sys.path.index(os.path.dirname(os.__file__))")
    at, library = eval(path.result or "")
    assert library < at
    packages = "next(i for i, p in enumerate(sys.path) if p.endswith('site-packages'))"
    assert fresh_client.run(packages).result == str(at + 1)
    fresh_client.run("os.mkdir('other')\nos.chdir('other')\nopen('elsewhere.py', 'w').write('value = 7')")
    assert fresh_client.run("import elsewhere\nelsewhere.value").result == "7"


def test_an_empty_entry_of_pythonpath_is_the_current_folder(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    folder = fill(tmp_path / "crowded", *EARLY, *PACKAGES, *LATE)
    (tmp_path / "named").mkdir()
    (tmp_path / "named/theirs.py").write_text("value = 8\n")
    with start_kernel(folder=folder, PYTHONPATH=f":{tmp_path / 'named'}").connect() as client:
        use_everything(client)
        assert client.run("import theirs\ntheirs.value").result == "8"
        # Unlike '', it stays when the folder changes.
        client.run("import os\nos.chdir('..')\nopen('crowded/later.py', 'w').write('value = 9')")
        assert client.run("import later\nlater.value").result == "9"


def test_with_pythonsafepath_cells_do_not_import_from_the_folder(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    with start_kernel(folder=fill(tmp_path / "crowded"), PYTHONSAFEPATH="1").connect() as client:
        assert client.run("import mine").error["ename"] == "ModuleNotFoundError"


@pytest.mark.parametrize("name", ["trio", "anyio", "trio_asyncio"])
def test_a_module_with_the_name_of_an_event_loop_can_be_imported(fresh_client: Client, name: str) -> None:
    fresh_client.run(f"import sys\nsys.path.insert(0, '.')\nopen('{name}.py', 'w').write('value = 6')")
    run = fresh_client.run(f"import {name}\n{name}.value")
    assert (run.result, run.stderr) == ("6", "")


@pytest.fixture
def start_command(tmp_path: Path) -> Iterator[Callable[[list[str], Path], Client]]:
    """Starts a kernel by a command line, in a folder; returns a client."""
    started: list[tuple[subprocess.Popen[bytes], Client]] = []

    def start(argv: list[str], folder: Path) -> Client:
        file, _ = write_connection_file(str(tmp_path / "connection.json"), key=b"key")
        argv = [part.format(connection_file=file) for part in argv]
        process = subprocess.Popen(argv, cwd=folder, env=environment(tmp_path), stdin=subprocess.DEVNULL)
        started.append((process, Client(file, process)))
        started[-1][1].subscribe()
        return started[-1][1]

    yield start
    for process, client in started:
        client.close()
        process.kill()
        process.wait(TIMEOUT)


def test_the_kernelspec_starts_python_without_the_current_folder(
    start_command: Callable[[list[str], Path], Client], tmp_path: Path
) -> None:
    argv = kernelspec.spec()["argv"]
    assert argv[1] == "-P"
    client = start_command(argv, fill(tmp_path / "crowded", *EARLY, *PACKAGES, *LATE, *BEFORE))
    use_everything(client)
    # The option is not handed on: a script that a cell starts finds modules in its folder.
    assert client.run(f"!{sys.executable} -c 'import mine; print(mine.value)'").stdout.strip() == "5"
    work = (
        "import multiprocessing, operator, mine\nfrom math import sqrt\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool: result = pool.map(sqrt, [4.0])\nresult"
    )
    assert client.run(work).result == "[2.0]"


def test_the_command_starts_a_kernel_in_such_a_folder(
    start_command: Callable[[list[str], Path], Client], tmp_path: Path
) -> None:
    argv = [f"{sys.prefix}/bin/callboard", "start", "-f", "{connection_file}"]
    use_everything(start_command(argv, fill(tmp_path / "crowded", *EARLY, *PACKAGES, *LATE, *BEFORE)))
