"""Checks what the docs say about the code: links, names of tests, actors."""

from __future__ import annotations

import re
import tomllib
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


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    folders = "benches|docs|examples|fuzz|python|scripts|src|tests|vendor"
    names = set(re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text()))
    # The one that the reader writes.
    names.discard("tests/mine.rs")
    assert sorted(name for name in names if not (ROOT / name).exists()) == []


def test_code_that_the_first_hour_breaks_is_there() -> None:
    page = (ROOT / "docs/first-hour.md").read_text()
    edits = re.findall(r"^perl -pi -e 's/([^/]+)/[^/]*/' (\S+)$", page, re.MULTILINE)
    assert len(edits) == 2
    for pattern, file in edits:
        assert re.search(pattern, (ROOT / file).read_text()), f"{file} has no {pattern}"


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


def test_sections_that_differences_and_links_name_are_there() -> None:
    differences = tomllib.loads((ROOT / "tests/peers/differences.toml").read_text())["difference"]
    page = ROOT / "docs/compatibility.md"
    missing = {entry["anchor"] for entry in differences} - _anchors(page)
    assert not missing, f"{page.name} has no section {sorted(missing)}"
    for source in DOCS:
        for link, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", source.read_text()):
            target = source.parent / link if link else source
            assert target.suffix != ".md" or anchor in _anchors(target), f"{source.name} links to {link}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """The names under which the sections of a page can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_actor_and_every_folder_is_described() -> None:
    text = (ROOT / "actors.md").read_text()
    actors = [
        path.relative_to(ROOT / "src").with_suffix("")
        for path in (ROOT / "src/actors").rglob("*.rs")
        if re.search(r"impl\S* Actor for", path.read_text())
    ]
    names = {str(path.parent if path.name == "mod" else path) for path in actors}
    assert "actors/caller" in names
    assert sorted(name for name in names if name not in text) == []
    package = ROOT / "python/callboard"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert sorted(name for name in folders if f"`{name}/" not in text) == []
    modules = {path.name for path in package.glob("*.py")}
    known = {"__init__.py", "__main__.py", "cli.py", "kernelspec.py", "utils.py"}
    assert sorted(name for name in modules - known if f"`{name}`" not in text) == []
