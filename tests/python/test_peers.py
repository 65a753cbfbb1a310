"""`scripts/peers`: what it takes for a problem, and that its tables agree with each other."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from support import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tests"))

from peers import sources
from peers.__main__ import Run
from peers.outcomes import compare
from peers.suites import Suite, read_differences, read_suites

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUITE = Suite("project", "1.0", sha256="", tests=("tests",), rule="All are run.")


def test_a_failure_that_is_not_named_is_a_problem() -> None:
    verdict = compare({"a": "passed", "b": "failed"}, {"a": "passed", "b": "passed"}, [])
    assert (verdict.passed, verdict.unnamed) == (["a"], ["b"])
    assert verdict.problems == ["fails on callboard only, and is not named: b"]


def test_a_failure_that_is_named_is_none() -> None:
    verdict = compare({"a": "passed", "b": "failed"}, {"a": "passed", "b": "passed"}, ["b"])
    assert (verdict.named, verdict.problems) == (["b"], [])


def test_a_named_test_that_passes_is_a_problem() -> None:
    verdict = compare({"a": "passed"}, {"a": "passed"}, ["a"])
    assert verdict.problems == ["is named as a difference, and is none: a"]


def test_a_named_test_that_fails_only_sometimes_may_pass_but_must_exist() -> None:
    assert compare({"a": "passed"}, {"a": "passed"}, ["a"], ["a"]).problems == []
    assert compare({"a": "failed"}, {"a": "passed"}, ["a"], ["a"]).named == ["a"]
    assert compare({}, {}, ["a"], ["a"]).outdated == ["a"]


def test_a_named_test_that_fails_on_both_or_does_not_exist_is_a_problem() -> None:
    verdict = compare({"a": "failed"}, {"a": "failed"}, ["a", "gone"])
    assert (verdict.on_neither, verdict.outdated) == (["a"], ["a", "gone"])


def test_a_failure_on_both_is_none_of_callboard() -> None:
    verdict = compare({"a": "failed", "b": "skipped"}, {"a": "error", "b": "skipped"}, [])
    assert (verdict.on_neither, verdict.problems) == (["a", "b"], [])


def test_a_test_that_is_only_skipped_here_is_a_problem() -> None:
    assert compare({"a": "skipped"}, {"a": "passed"}, []).unnamed == ["a"]


def test_tests_of_a_file_that_could_not_be_imported_are_problems() -> None:
    verdict = compare({"f.py": "error"}, {"f.py::a": "passed", "f.py::b": "skipped"}, [])
    assert verdict.unnamed == ["f.py", "f.py::a"]


def test_a_test_that_only_callboard_knows_must_not_fail() -> None:
    verdict = compare({"new": "failed", "also new": "skipped"}, {}, [])
    assert verdict.unnamed == ["new"]


PROJECT = {
    "test_good.py": "def test_passes(): pass\ndef test_fails(): assert False",
    "test_fixture.py": """
import pytest
@pytest.fixture
def bad(): raise OSError
@pytest.fixture
def bad_at_the_end():
    yield
    raise OSError
def test_set_up(bad): pass
def test_clean_up(bad_at_the_end): pass
def test_skip(): pytest.skip('no')
""",
    "test_import.py": "import nothing_of_this_name\ndef test_never(): pass",
    # The second time it does what it should.
    "test_unsteady.py": """
import pathlib
def test_second_time():
    mark = pathlib.Path('mark')
    if not mark.exists():
        mark.touch()
        raise OSError
""",
    "test_zz_end.py": "import os\ndef test_ends_the_process(): os._exit(3)\ndef test_behind(): pass",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as `scripts/peers` prepares it, with a small suite."""
    monkeypatch.setattr("peers.__main__.python_of", lambda _: sys.executable)
    # pytest-timeout is not among the packages for the tests of callboard.
    monkeypatch.setattr("peers.__main__.LIMITS", [])
    folder = SUITE.folder(tmp_path) / "tests"
    folder.mkdir(parents=True)
    (folder.parent / "pyproject.toml").touch()
    for name, text in PROJECT.items():
        (folder / name).write_text(text)
    return tmp_path


def test_outcomes_are_recorded_also_of_a_run_that_broke_off(place: Path) -> None:
    run = Run(place, SUITE, "callboard")
    run.run(set())
    assert run.outcomes() == {
        "tests/test_good.py::test_passes": "passed",
        "tests/test_good.py::test_fails": "failed",
        "tests/test_fixture.py::test_set_up": "error",
        "tests/test_fixture.py::test_clean_up": "error",
        "tests/test_fixture.py::test_skip": "skipped",
        "tests/test_import.py": "error",
        "tests/test_unsteady.py::test_second_time": "passed",
        "tests/test_zz_end.py::test_ends_the_process": "lost",
    }
    assert run.kernels() == {}


class Index(BaseHTTPRequestHandler):
    """A package index with one sdist."""

    sdist: bytes
    kind = "application/vnd.pypi.simple.v1+json"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.end_headers()
        page = {"files": [{"filename": SUITE.sdist, "url": f"../../files/{SUITE.sdist}"}]}
        self.wfile.write(self.sdist if self.path.startswith("/files/") else json.dumps(page).encode())

    def log_message(self, *_: object) -> None:
        """Keeps it off the terminal."""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Index]]:
    """The index that PIP_INDEX_URL names."""
    folder = tmp_path / "project-1.0"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Name: project")
    with tarfile.open(tmp_path / SUITE.sdist, "w:gz") as archive:
        archive.add(folder, folder.name)
    handler = type("OneIndex", (Index,), {"sdist": (tmp_path / SUITE.sdist).read_bytes()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield handler
        server.shutdown()
        thread.join()


def test_sources_are_fetched_and_unpacked(index: type[Index], tmp_path: Path) -> None:
    suite = replace(SUITE, sha256=hashlib.sha256(index.sdist).hexdigest())
    folder = sources.fetch(suite, tmp_path / "place")
    assert (folder / "PKG-INFO").read_text() == "Name: project"


def test_sources_that_are_not_those_of_the_table_are_refused(index: type[Index], tmp_path: Path) -> None:
    with pytest.raises(sources.FetchError, match=r"suites\.toml says"):
        sources.fetch(replace(SUITE, sha256="0" * 64), tmp_path / "place")
    assert not SUITE.folder(tmp_path / "place").exists()


def test_an_index_without_json_or_without_the_release_is_named(index: type[Index], tmp_path: Path) -> None:
    with pytest.raises(sources.FetchError, match=r"has no project-2\.0\.tar\.gz"):
        sources.fetch(replace(SUITE, version="2.0"), tmp_path / "place")
    index.kind = "text/html"
    with pytest.raises(sources.FetchError, match="PEP 691"):
        sources.fetch(SUITE, tmp_path / "place")


def test_the_suites_are_those_that_the_help_names() -> None:
    done = subprocess.run(
        [str(REPOSITORY / "scripts" / "peers"), "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    suites, _ = read_suites()
    assert f"SUITE: of {' '.join(suites)} (default: all)" in done.stdout


@pytest.mark.parametrize("wrong", ["--unknown", "numpy", "--kernel=xeus"])
def test_what_is_not_understood_is_wrong_usage(wrong: str) -> None:
    done = subprocess.run(
        [str(REPOSITORY / "scripts" / "peers"), wrong], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_differences_are_of_suites_and_named_once() -> None:
    suites, _ = read_suites()
    differences = read_differences()
    assert {difference.suite for difference in differences} <= set(suites)
    named = [(difference.suite, difference.test) for difference in differences]
    assert len(set(named)) == len(named)
    for difference in differences:
        file = difference.test.partition("::")[0]
        assert file not in suites[difference.suite].left_out
