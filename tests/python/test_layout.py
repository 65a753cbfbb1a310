"""The layout of the code: one idea in each file, and no class that does everything."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("src/**/*.rs"), *ROOT.glob("python/callboard/**/*.py")])

#: Lines of a file. A longer one says why in a comment among its first lines, which begins with LONG.
LINES = 400
LONG = "Longer than 400 lines:"
TOP = 30

#: Methods that a class defines itself: functions and properties, special methods included.
METHODS = 30


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_sources_are_found() -> None:
    assert len(SOURCES) > 100


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_holds_one_idea(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= LINES or any(LONG in line for line in lines[:TOP]), (
        f"{name(path)} has {len(lines)} lines: move its second idea to a file of its own, or say at its top why it"
        f' needs more than {LINES}, in a comment that begins with "{LONG}"'
    )


@pytest.mark.parametrize("path", [path for path in SOURCES if path.suffix == ".py"], ids=name)
def test_a_class_has_few_methods(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            own = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert len(own) <= METHODS, (
                f"{name(path)}: the class {node.name} has {len(own)} methods, more than {METHODS}: split it into parts"
                " of one idea each"
            )
