"""Another Python than the user has in mind, and libraries that are too old."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from callboard.ipykernel_api.modules import VERSION

if TYPE_CHECKING:
    from doctor_tools import Doctor


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_another_environment_is_active(doctor: Doctor, bare: str, variable: str) -> None:
    del doctor.env["VIRTUAL_ENV"]
    prefix = str(Path(bare).parent.parent)
    found = doctor.examine(**{variable: prefix}).one("python", "another-environment", "warning")
    assert f"{variable} is {prefix}, but this callboard is in {sys.prefix}" in found["text"]
    assert found["mend"] == f"{prefix}/bin/python -m pip install callboard"


def test_a_conda_environment_around_this_one_is_no_fault(doctor: Doctor, bare: str) -> None:
    assert doctor.examine(CONDA_PREFIX=str(Path(bare).parent.parent)).codes("python") == ["ok"]


def test_the_active_environment_is_gone(doctor: Doctor) -> None:
    found = doctor.examine(VIRTUAL_ENV="/nowhere/at/all").one("python", "environment-missing", "warning")
    assert found["mend"] == "unset VIRTUAL_ENV"


def test_another_python_on_the_path(doctor: Doctor, bare: str) -> None:
    path = f"{Path(bare).parent}:{doctor.env['PATH']}"
    found = doctor.examine(PATH=path).one("python", "another-python-on-path", "warning")
    assert bare in found["text"]
    assert found["facts"]["python"] == bare
    assert f"{sys.executable} -m pip" in found["mend"]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (f'exec {sys.executable} "$@"', "ok"),
        ("echo 'no version is set' >&2; exit 3", "python-fails"),
        ("sleep 1000", "python-fails"),
    ],
    ids=["right", "fails", "hangs"],
)
def test_a_script_that_chooses_the_python(doctor: Doctor, tmp_path: Path, script: str, code: str) -> None:
    """Such as those of pyenv."""
    shim = tmp_path / "shims" / "python"
    shim.parent.mkdir()
    shim.write_text(f"#!/bin/sh\n{script}\n")
    shim.chmod(0o755)
    report = doctor.examine(PATH=f"{shim.parent}:{doctor.env['PATH']}")
    assert report.codes("python") == [code]
    if code != "ok":
        text = report.one("python", code, "warning")["text"]
        assert "no version is set" in text or "did not answer within 5 s" in text


def distribution(folder: Path, name: str, version: str, *requires: str) -> str:
    """Writes the metadata of a package into a folder."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {each}" for each in requires),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    return str(folder)


@pytest.mark.parametrize("with_packaging", [True, False])
def test_libraries_that_are_too_old(doctor: Doctor, tmp_path: Path, with_packaging: bool) -> None:
    for name, version in (("ipython", "8.31.0"), ("comm", "0.1.4"), ("traitlets", "5.9.0")):
        path = distribution(tmp_path / "old", name, version)
    if not with_packaging:
        (tmp_path / "old" / "packaging.py").write_text("raise ImportError")
    found = doctor.examine(PYTHONPATH=path).one("versions", "versions-too-old", "error")
    assert found["facts"]["versions"] == {"ipython": "8.31.0", "comm": "0.1.4", "traitlets": "5.9.0"}
    assert "ipython is 8.31.0, not >=9.17" in found["text"]
    assert found["mend"].startswith(f"{sys.executable} -m pip install ")
    assert "'ipython>=9.17'" in found["mend"]


def test_a_client_whose_libraries_are_too_old(doctor: Doctor, tmp_path: Path) -> None:
    report = doctor.examine(PYTHONPATH=distribution(tmp_path / "old", "pyzmq", "20.0"))
    clients = {finding["facts"]["client"]: finding for finding in report["versions"]}
    assert "pyzmq is 20.0, not >=" in clients["jupyter_client"]["text"]
    assert {finding["code"] for finding in report["versions"]} == {"client-versions-too-old"}
    assert report.code == 0


def test_versions_without_packaging(doctor: Doctor, tmp_path: Path) -> None:
    """9.100 is later than 9.17, and 5.14.0 no earlier than 5.14."""
    for name, version in (("ipython", "9.100.dev1"), ("traitlets", "5.14.0")):
        path = distribution(tmp_path / "new", name, version)
    (tmp_path / "new" / "packaging.py").write_text("raise ImportError")
    assert doctor.examine(PYTHONPATH=path).codes("versions") == ["ok"]


@pytest.mark.parametrize(("client", "version", "first"), [("jupyterlab", "3.6.8", "4.4"), ("notebook", "6.5.7", "7.4")])
def test_a_client_that_is_older_than_those_of_the_tests(
    doctor: Doctor, tmp_path: Path, client: str, version: str, first: str
) -> None:
    found = doctor.examine(PYTHONPATH=distribution(tmp_path / "old", client, version))
    assert (
        f"{client} is {version}; callboard is tested with {first}"
        in found.one("versions", "client-untested", "warning")["text"]
    )


def test_ipykernel_beside_it_is_no_fault(doctor: Doctor, tmp_path: Path) -> None:
    report = doctor.examine(PYTHONPATH=distribution(tmp_path / "info", "ipykernel", "6.0"))
    finding = report.one("ipykernel", "ok", "ok")
    assert finding["facts"]["version"] == "6.0"
    assert f"`import ipykernel` on callboard gives callboard's ({VERSION['__version__']})" in finding["text"]


def test_without_ipykernel(doctor: Doctor, bare: str, package_alone: Path) -> None:
    doctor.python = bare
    finding = doctor.examine(PYTHONPATH=str(package_alone)).one("ipykernel", "ok", "ok")
    assert finding["facts"]["version"] is None
