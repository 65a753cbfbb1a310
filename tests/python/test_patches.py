"""What callboard replaces in other libraries: that the table names all of it, that each target has the shape that its
replacement was written for, and that nothing is left when it is undone."""

from __future__ import annotations

import ast
import contextlib
import json
import logging
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import callboard
import pytest
from callboard import patches
from callboard.patch import Patch
from callboard.patches import TABLE
from releases import release
from support import FREE_THREADED, Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Client

PACKAGE = Path(callboard.__file__).parent


def run(code: str) -> Any:
    """Runs code in a process of its own; what it prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def shapes() -> dict[str, list[str] | None]:
    """What the targets are in a process that replaces nothing: the type, and for functions with the parameters."""
    return run(
        """
        import inspect, json
        from importlib import import_module
        from callboard.patch import HandlerPatch
        from callboard.patches import TABLE

        def shapes(patch):
            try:
                import_module(patch.module)
            except Exception:
                return None
            if isinstance(patch, HandlerPatch):
                return [type(patch.owner()).__name__]
            value = inspect.getattr_static(patch.owner(), patch.name, None)
            if value is None and not hasattr(patch.owner(), patch.name):
                return ["absent"]
            kind = type(value).__name__
            if kind != "function":
                return [kind]
            empty = inspect.Parameter.empty
            signature = inspect.signature(value)
            bare = [each.replace(annotation=empty, default=empty) for each in signature.parameters.values()]
            return [kind, kind + str(signature.replace(parameters=bare, return_annotation=empty))]

        print(json.dumps({target: shapes(patch) for target, patch in TABLE.items() if patch.is_needed}))
        """
    )


@pytest.mark.parametrize("patch", TABLE.values(), ids=TABLE)
def test_the_target_has_the_shape_that_its_replacement_was_written_for(
    patch: Patch, shapes: dict[str, list[str] | None]
) -> None:
    if not patch.is_needed:
        pytest.skip("this version of Python does not need it")
    found = shapes[patch.target]
    if found is None:
        pytest.skip(f"{patch.module} is not installed, or not for this Python")
    assert not set(patch.shape.split(" or ")).isdisjoint(found), (
        f"{release(patch.module)} has {found[-1]} there. Check the replacement of\n{patch}"
    )


@pytest.mark.parametrize("patch", TABLE.values(), ids=TABLE)
def test_a_row_says_why_and_until_when(patch: Patch) -> None:
    assert patch.reason.endswith(".")
    assert patch.until
    assert patch.upstream == "none known" or patch.upstream.startswith("https://")


#: Makes a module ``snapshot`` of a process that is about to be a kernel.
SITECUSTOMIZE = """
import builtins, importlib.util, inspect, os, sys, types

if "SNAPSHOT" in os.environ:
    import callboard
    from callboard.patches import TABLE

    PACKAGE = os.path.dirname(callboard.__file__) + os.sep
    snapshot = sys.modules["snapshot"] = types.ModuleType("snapshot")

    def read_all():
        found = {}
        for target, patch in TABLE.items():
            if patch.module in sys.modules:
                found[target] = patch.read(patch.owner())
        return found

    def is_ours(value):
        while isinstance(value, (classmethod, types.MethodType)):
            value = value.__func__
        # The environment may be in a folder of this name, so paths are compared with that of the package.
        if getattr(getattr(value, "__code__", None), "co_filename", "").startswith(PACKAGE):
            return True
        names = type(value).__module__, getattr(value, "__module__", None) or ""
        # Some of its classes are those of ipykernel to libraries.
        return any(name.partition(".")[0] in ("callboard", "ipykernel") for name in names)

    if os.environ["SNAPSHOT"] == "imported":
        for patch in TABLE.values():
            if importlib.util.find_spec(patch.module.partition(".")[0]):
                importlib.import_module(patch.module)
    snapshot.before, snapshot.read_all, snapshot.is_ours = read_all(), read_all, is_ours
"""

#: Has a kernel apply what it applies only when it is needed.
NEED_ALL = """
import anyio, contextlib, importlib.util, pdb, trio, uvloop
with contextlib.suppress(ImportError):
    import nest_asyncio
with contextlib.suppress(ImportError):
    import nest_asyncio2
anyio.run
from callboard import Caller

async def nothing():
    pass

caller = Caller("NewThread", name="trio", backend="trio")
await caller.call_soon(nothing)
if importlib.util.find_spec("trio_asyncio"):
    await caller.call_using_backend("asyncio", nothing)
"""

#: One statement: IPython sets and resets `sys.excepthook` around each.
RESTORE = """
import json, snapshot, sys
from callboard import patches

def check():
    applied = [each.patch.target for each in patches._applied]
    left = [each.patch.target for each in patches.restore()]
    after = snapshot.read_all()
    changed = [target for target, value in snapshot.before.items() if value is not after[target]]
    ours = [target for target, value in after.items() if snapshot.is_ours(value)]
    ours += [type(finder).__name__ for finder in sys.meta_path if type(finder).__module__.startswith("callboard")]
    ours += [
        f"{name}:{key}"
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("asyncio", "trio", "anyio", "uvloop", "trio_asyncio", "concurrent")
        for key, value in vars(module).copy().items()
        if snapshot.is_ours(value)
    ]
    open("result.json", "w").write(json.dumps({"applied": applied, "left": left, "changed": changed, "ours": ours}))

check()
"""


@pytest.fixture
def run_kernel(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Starts a kernel as a module, and returns a client of it. (The binary brings its core along once Python runs:
    what runs before that must not import callboard.)"""
    with contextlib.ExitStack() as ends:

        def start(**env: str) -> Client:
            kernel = Kernel("module", tmp_path, **env)
            ends.callback(kernel.close)
            return ends.enter_context(kernel.connect())

        yield start


@pytest.mark.parametrize("libraries", ["imported", "later"])
def test_a_kernel_applies_every_row_and_can_undo_all(
    run_kernel: Callable[..., Client], tmp_path: Path, libraries: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    client = run_kernel(SNAPSHOT=libraries, PYTHONPATH=str(tmp_path))
    assert client.run(NEED_ALL).status == "ok"
    assert client.run("1 / 0").error["ename"] == "ZeroDivisionError"
    client.run(RESTORE)
    found = json.loads((tmp_path / "result.json").read_text())
    expected = {target for target, patch in TABLE.items() if patch.is_needed and find_spec(patch.module.split(".")[0])}
    # In place only while a cell captures.
    expected.remove("IPython.core.interactiveshell:InteractiveShell.display_pub")
    if libraries == "imported":
        # Corrects what the import does, which was not callboard's.
        expected.discard("trio_asyncio._loop:_FakedPolicy.policy")
    # There are two finders.
    assert sorted(found["applied"]) == sorted([*expected, "sys:meta_path"])
    assert (found["left"], found["changed"], found["ours"]) == ([], [], [])


def test_what_has_no_row_is_not_replaced() -> None:
    with pytest.raises(LookupError, match="os:getcwd"):
        patches.put("os:getcwd", None)


def test_importing_callboard_replaces_nothing() -> None:
    found = run(
        """
        import json, sys, threading, ast, concurrent.futures.thread, signal
        before = {name: vars(module).copy() for name, module in sys.modules.items()}
        start, handler, hooks = threading.Thread.start, signal.getsignal(signal.SIGINT), list(sys.meta_path)
        import callboard
        from callboard import Caller, Pending, PendingGroup, StartStopTask
        from callboard import patches
        changed = [
            f"{name}:{key}"
            for name, values in before.items()
            for key, value in values.items()
            if not key.startswith("__") and vars(sys.modules[name]).get(key) is not value
        ]
        assert threading.Thread.start is start and signal.getsignal(signal.SIGINT) is handler
        assert sys.meta_path == hooks and not patches._applied
        print(json.dumps(changed))
        """
    )
    # What imports change: the import lock's own state.
    assert [name for name in found if not name.startswith(("_frozen_importlib", "sys:path_importer"))] == []


def test_the_first_caller_guards_thread_starts_where_that_is_needed() -> None:
    found = run(
        """
        import json, threading
        from callboard import Caller, patches
        before = threading.Thread.start
        caller = Caller("NewThread", name="a")
        replaced = [each.patch.target for each in patches._applied]
        other = Caller("NewThread", name="b")
        assert replaced == [each.patch.target for each in patches._applied]
        assert patches.restore() == []
        assert threading.Thread.start is before
        for each in (caller, other):
            each.stop()
        print(json.dumps(replaced))
        """
    )
    assert found == (["threading:Thread.start"] if sys.version_info < (3, 12) or FREE_THREADED else [])


class Library:
    """Stands for another library."""

    def method(self) -> str:
        return "its own"

    @classmethod
    def made(cls) -> str:
        return "its own"


class Derived(Library):
    pass


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("Library.method", "Library.made", "Derived.method", "function"):
        row = Patch(f"{__name__}:{path}", "function", "A test.", until="never", in_all_modules=path == "function")
        monkeypatch.setitem(TABLE, row.target, row)
    monkeypatch.setattr(patches, "_applied", [])
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Library.__module__])


def function() -> str:
    return "its own"


@pytest.mark.usefixtures("rows")
def test_two_replacements_of_one_target_are_undone_in_reverse() -> None:
    original = Library.method
    first, second = (lambda _self: "first"), (lambda _self: "second")
    patches.put(f"{__name__}:Library.method", first)
    patches.put(f"{__name__}:Library.method", second)
    assert [each.before for each in patches.applied(f"{__name__}:Library.method")] == [original, first]
    assert Library().method() == "second"
    assert patches.restore() == []
    assert Library.method is original


@pytest.mark.usefixtures("rows")
def test_what_is_undone_below_another_replacement_stays(caplog: pytest.LogCaptureFixture) -> None:
    original = Library.method
    patches.put(f"{__name__}:Library.method", lambda _self: "ours")
    ours = Library.method

    def theirs(self: Library) -> str:
        return f"theirs over {ours(self)}"

    Library.method = theirs  # type: ignore[method-assign]
    try:
        with caplog.at_level(logging.WARNING):
            (left,) = patches.restore()
        assert Library.method is theirs
        assert left.before is original
        assert "Library.method is not restored: something else has replaced it since" in caplog.text
        # It is not undone twice.
        assert patches.restore() == []
        assert left.undo(by_force=True)
        assert Library.method is original
    finally:
        Library.method = original  # type: ignore[method-assign]


@pytest.mark.usefixtures("rows")
def test_inherited_attributes_are_inherited_again() -> None:
    made = Library.__dict__["made"]
    patches.put(f"{__name__}:Derived.method", lambda _self: "ours")
    patches.put(f"{__name__}:Library.made", classmethod(lambda _cls: "ours"))
    assert (Derived().method(), Derived.made(), Library().method()) == ("ours", "ours", "its own")
    assert patches.restore() == []
    assert "method" not in vars(Derived)
    assert Library.__dict__["made"] is made


@pytest.mark.usefixtures("rows")
def test_modules_that_have_imported_a_function_get_its_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    importer: Any = type(sys)("importer")
    importer.function = original = function
    monkeypatch.setitem(sys.modules, "importer", importer)
    put = patches.put(f"{__name__}:function", lambda: "ours")
    assert (function(), importer.function()) == ("ours", "ours")
    assert put.undo()
    assert (function, importer.function) == (original, original)


def foreign_assignments(source: str) -> list[str]:
    """The assignments of a module to attributes of what it imports from other packages."""
    tree = ast.parse(source)
    foreign: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                foreign.update(name.asname or name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(level=0, names=names):
                foreign.update(name.asname or name.name for name in names)

    def is_foreign(node: ast.expr) -> bool:
        match node:
            case ast.Attribute(value=value):
                return is_foreign(value)
            case ast.Name(id=name):
                return name in foreign
        return False

    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                pass
            case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
                targets = [target]
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[owner, *_]) if is_foreign(owner):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
                continue
            case _:
                continue
        flat = [each for target in targets for each in (target.elts if isinstance(target, ast.Tuple) else [target])]
        if any(isinstance(each, ast.Attribute) and is_foreign(each) for each in flat):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_replaced_past_the_table(path: Path) -> None:
    assert foreign_assignments(path.read_text()) == []


def test_replacements_past_the_table_are_found() -> None:
    source = """
    import a.b, c as d
    from e import f
    from .own import g
    def h(i):
        a.b.x = d.x = 1
        f.x, j = 1, 2
        del d.x
        setattr(f, "x", 1)
        g.x = i.x = 1
    """
    assert [each.partition(":")[0] for each in foreign_assignments(textwrap.dedent(source))] == [
        "line 6",
        "line 7",
        "line 8",
        "line 9",
    ]
