"""The wheel as its users get it: in an empty environment, without Rust."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import Lab
from page import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium import webdriver

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def path_without_rust() -> str:
    """A PATH on which there is no compiler for Rust."""
    folders = os.environ["PATH"].split(os.pathsep)
    kept = [folder for folder in folders if not any(shutil.which(rust, path=folder) for rust in ("cargo", "rustc"))]
    return os.pathsep.join(kept)


@pytest.fixture
def fresh_lab(tmp_path: Path, path_without_rust: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """JupyterLab in a new environment that has it and the wheel, and nothing else."""
    given = os.environ.get("CALLBOARD_WHEEL")
    tag = "cp{}{}".format(*sys.version_info[:2])
    wheels = [Path(given)] if given else [*REPOSITORY.glob(f"target/wheels/callboard-*-{tag}-{tag}-*.whl")]
    if not wheels:
        pytest.fail("there is no wheel in target/wheels: scripts/run builds one, or name one in CALLBOARD_WHEEL")
    python = tmp_path / "venv" / "bin" / "python"
    for name in ("PYTHONPATH", "CALLBOARD_KERNEL_BIN", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", path_without_rust)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, wheels[0], "jupyterlab"], check=True)
    server = Lab(tmp_path, python=str(python))
    server.start()
    yield server
    server.shut_kernels_down()
    server.stop()


def test_the_launcher_offers_callboard_and_starts_it(fresh_lab: Lab, browser: webdriver.Chrome) -> None:
    page = Page(browser, f"{fresh_lab.url}/lab?reset&token={fresh_lab.token}", from_launcher="Python 3 (callboard)")
    page.edit(0).send_keys("import sys; sys.prefix")
    page.run(0)
    page.wait_for_text(0, str(fresh_lab.folder / "venv"))
    browser.get("about:blank")
