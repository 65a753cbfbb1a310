"""What the docs say about the code is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = [
    ROOT / "README.md",
    ROOT / "actors.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_tests_of_promises_are_there() -> None:
    page = ROOT / "docs/concurrency.md"
    rows = re.findall(r"^\| (A\d+) \|.*\| (.*) \|$", page.read_text(), re.MULTILINE)
    assert [number for number, _ in rows] == [f"A{n}" for n in range(1, 17)]
    for number, where in rows:
        text = "".join((page.parent / link).read_text() for link in re.findall(r"\]\(([^)]+)\)", where))
        test = re.findall(r"`(\w+)`", where)[-1]
        assert re.search(rf"(?:def|fn) {test}\(", text), f"{number}: there is no {test}"


def test_the_tests_that_reliability_names_are_there() -> None:
    page = ROOT / "docs/reliability.md"
    named = re.findall(r"\[`(\w+)`\]\(([^)]+)\)", page.read_text())
    assert len(named) > 100
    for test, where in named:
        text = (page.parent / where).read_text()
        assert re.search(rf"(?:def|fn) {test}\(", text), f"there is no {test} in {where}"


def test_every_actor_is_described() -> None:
    text = (ROOT / "actors.md").read_text()
    files = {
        path.name for path in (ROOT / "src/actors").glob("*.rs") if re.search(r"impl\S* Actor for", path.read_text())
    }
    assert "caller.rs" in files
    assert sorted(name for name in files if f"actors/{name}" not in text) == []
    modules = {path.name for path in (ROOT / "python/callboard").glob("*.py")}
    known = {"__init__.py", "__main__.py", "command.py", "kernelspec.py", "jsonutil.py", "utils.py"}
    assert sorted(name for name in modules - known if f"`{name}`" not in text) == []
