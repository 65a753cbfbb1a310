"""What callboard replaces in other libraries: that the table names all of it, that each target has the shape that its
replacement was written for, and that nothing is left when it is undone."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import subprocess
import sys
import textwrap
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import callboard
import pytest
from callboard import patches
from callboard.patches import TABLE, Patch

PACKAGE = Path(callboard.__file__).parent

#: Distributions whose name is not that of their package.
DISTRIBUTIONS = {
    "IPython": "ipython",
    "pygments": "Pygments",
    "stack_data": "stack-data",
    "trio_asyncio": "trio-asyncio",
}


def release(module: str) -> str:
    """The library that a module belongs to, and its installed version."""
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        return f"Python {sys.version.split()[0]}"
    name = DISTRIBUTIONS.get(package, package)
    return f"{name} {metadata.version(name)}"


def shape(value: Any, *, parameters: bool) -> str:
    """What `Patch.shape` has for a value."""
    kind = type(value).__name__
    if not parameters:
        return kind
    empty = inspect.Parameter.empty
    signature = inspect.signature(value)
    bare = [each.replace(annotation=empty, default=empty) for each in signature.parameters.values()]
    return kind + str(signature.replace(parameters=bare, return_annotation=empty))


def run(code: str) -> Any:
    """Runs code in a process of its own; what it prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("patch", TABLE.values(), ids=TABLE)
def test_the_target_has_the_shape_that_its_replacement_was_written_for(patch: Patch) -> None:
    if not patch.is_needed:
        pytest.skip("this version of Python does not need it")
    import_module(patch.module)
    before = [each.before for each in patches.applied(patch.target)]
    value = before[0] if before else patch.read(patch.owner())
    found = [shape(value, parameters="(" in wanted) for wanted in patch.shape.split(" or ")]
    assert any(wanted == one for wanted, one in zip(patch.shape.split(" or "), found, strict=True)), (
        f"{release(patch.module)} has {found[0]} there. Check the replacement of\n{patch}"
    )


@pytest.mark.parametrize("patch", TABLE.values(), ids=TABLE)
def test_a_row_says_why_and_until_when(patch: Patch) -> None:
    assert patch.reason.endswith(".")
    assert patch.until
    assert patch.upstream == "none known" or patch.upstream.startswith("https://")


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
    assert found == (["threading:Thread.start"] if sys.version_info < (3, 12) else [])


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


def foreign_assignments(path: Path) -> list[str]:
    """The assignments of a module to attributes of what it imports from other packages."""
    tree = ast.parse(path.read_text())
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
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}")
                continue
            case _:
                continue
        flat = [each for target in targets for each in (target.elts if isinstance(target, ast.Tuple) else [target])]
        if any(isinstance(each, ast.Attribute) and is_foreign(each) for each in flat):
            found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}")
    return found
