"""Private names of other libraries: that the installed releases have them, and that the table names all that are used."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
import warnings
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import callboard
import pytest
from callboard import patches
from callboard.private_names import TABLE, PrivateName
from releases import release

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(callboard.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted(PACKAGE.rglob("*.py"))

#: Names that begin with an underscore and are documented.
PUBLIC = {"os._exit"}

#: What Python and traitlets put into classes.
MADE = {"_abc_impl", "_is_protocol"}


def is_needed(row: PrivateName) -> bool:
    return (row.only_before is None or sys.version_info < row.only_before) and (
        row.only_from is None or sys.version_info >= row.only_from
    )


def exists(name: str) -> bool:
    """Whether a name of the table is there: an attribute, a variable of a nested function, or an attribute that methods
    set."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        if hasattr(found, part):
            found = getattr(found, part)
        elif isinstance(found, FunctionType) and (inner := nested(found.__code__, part)) is not None:
            found = inner
        elif isinstance(found, CodeType):
            return part in found.co_freevars
        else:
            return has_instance_attribute(found if isinstance(found, type) else type(found), part)
    return True


def nested(code: CodeType, name: str) -> CodeType | None:
    return next((each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name), None)


def has_instance_attribute(cls: type, name: str) -> bool:
    for base in cls.__mro__[:-1]:
        methods = [inspect.unwrap(each) for each in vars(base).values() if isinstance(each, FunctionType)]
        if name in inspect.get_annotations(base) or any(name in each.__code__.co_names for each in methods):
            return True
    return False


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_installed_release_has_it(row: PrivateName) -> None:
    if not is_needed(row):
        pytest.skip("this version of Python does not need it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert exists(row.name), (
            f"{release(row.name)} does not have {row.name}, which is there since {row.since} or longer.\n"
            f"{row.reason}\nUsed in {', '.join(row.files)}"
        )


def test_a_name_that_is_not_there_is_missed() -> None:
    for name in (
        "asyncio:_run",
        "asyncio:Task._x",
        "IPython.core.history:HistoryManager._x",
        "IPython.core.magics.script:ScriptMagics._make_script_magic.named_script_magic.x",
        "trio._core._run:GLOBAL_RUN_CONTEXT.x",
    ):
        assert not exists(name)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_it_is_used_where_the_table_says(row: PrivateName) -> None:
    name = row.name.rpartition(":")[2].rpartition(".")[2]
    for file in row.files:
        text = (REPOSITORY if file.startswith("src/") else PACKAGE).joinpath(file).read_text()
        assert name in text, f"{file} does not use {row.name} any more: take it out of the table"


# -- names that the table lacks -----------------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined(tree: ast.AST) -> Iterator[str]:
    """The private names that a module defines: functions, classes, variables, and attributes of ``self`` and others."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def used(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The private names that a module uses of something, and the expressions."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if is_private(name):
                yield name, ast.unparse(node)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                for name in [*module.split("."), *(each.name for each in names)]:
                    if is_private(name):
                        yield name, ast.unparse(node)
            case ast.Import(names=names):
                for name in (part for each in names for part in each.name.split(".")):
                    if is_private(name):
                        yield name, ast.unparse(node)
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
                if is_private(name):
                    yield name, ast.unparse(node)


OWN = {name for path in [*SOURCES, PACKAGE / "_core.pyi"] for name in defined(ast.parse(path.read_text()))}


def known(path: Path) -> set[str]:
    """The private names that this file may use, according to both tables."""
    file = path.relative_to(PACKAGE).as_posix()
    rows = [row.name for row in TABLE if file in row.files]
    return {part for name in (*rows, *patches.TABLE) for part in name.replace(":", ".").split(".")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_other_private_name_is_used(path: Path) -> None:
    allowed = OWN | known(path)
    unknown = {text for name, text in used(ast.parse(path.read_text())) if name not in allowed} - PUBLIC
    assert not unknown, "add them to callboard.private_names, or use a public way"


def test_no_other_private_name_is_overridden() -> None:
    for module in pkgutil.walk_packages(callboard.__path__, "callboard."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "callboard"]
    classes = {cls for module in modules for cls in vars(module).values() if isinstance(cls, type)}
    listed = {part for row in TABLE for part in row.name.replace(":", ".").split(".")}
    found = set()
    for cls in classes:
        # Some of the kernel's classes have the names of ipykernel's modules.
        foreign = [base for base in cls.__mro__ if not base.__module__.startswith(("callboard", "ipykernel"))]
        for base in (base for base in cls.__mro__ if base not in foreign):
            names = {name for name in vars(base) if is_private(name) and name in OWN} - MADE - listed
            found.update((base.__qualname__, name) for name in names if any(name in vars(each) for each in foreign))
    assert not found, "add them to callboard.private_names, or give them other names"
