"""Kernelspecs that Jupyter does not find, or that start something else; and what mends them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from doctor_tools import OPTIONS
from support import TIMEOUT

if TYPE_CHECKING:
    from doctor_tools import Doctor

SAFE = [sys.executable, "-P", "-m", "callboard", *OPTIONS]


def test_jupyter_finds_none_until_the_advice_is_followed(fresh: Doctor) -> None:
    missing = fresh.examine(start=True)
    found = missing.one("kernelspec", "kernelspec-missing", "error")
    assert f"JUPYTER_DATA_DIR={fresh.home}/data" in found["text"]
    assert missing["start"][0]["text"] == "there is no kernelspec to start a kernel with"
    fresh.mend(found["mend"])
    mended = fresh.examine(start=True)
    assert mended.codes("kernelspec") == mended.codes("start") == ["ok"]
    assert mended["kernelspec"][0]["facts"]["folder"].startswith(str(Path(fresh.python).parent.parent))


def test_a_name_that_does_not_exist(doctor: Doctor) -> None:
    found = doctor.examine("--kernel", "mine").one("kernelspec", "kernelspec-missing", "error")
    assert found["mend"] == "callboard install --sys-prefix --name mine"


def test_without_a_name_it_takes_one_that_starts_callboard(fresh: Doctor) -> None:
    fresh.kernelspec("other", ["sh", "{connection_file}"])
    fresh.kernelspec("mine", [fresh.python, *SAFE[1:]])
    report = fresh.examine()
    assert report.content["kernel"] == "mine"
    assert report.codes("kernelspec") == ["ok"]


def test_names_are_found_as_jupyter_finds_them(doctor: Doctor) -> None:
    doctor.kernelspec("Mine", SAFE)
    assert doctor.examine("--kernel", "MINE").codes("kernelspec") == ["ok"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"argv": [', "it is no JSON: Expecting value"),
        (b"", "it is no JSON"),
        (b"\xff\xfe{}", "it is not UTF-8"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it has no argv"),
        (b"{}", "it has no argv"),
        (b'{"argv": []}', "it has no argv"),
        (b'{"argv": "python"}', "it has no argv"),
        (b'{"argv": [1, null]}', "it has no argv"),
    ],
    ids=range(9),
)
def test_a_file_that_cannot_be_used(doctor: Doctor, content: bytes, told: str) -> None:
    file = doctor.kernelspec("mine", content)
    report = doctor.examine("--kernel", "mine", start=True)
    found = report.one("kernelspec", "kernelspec-broken", "error")
    assert f"{file}: {told}" in found["text"]
    assert report.codes("start") == ["skipped"]
    doctor.mend(found["mend"])
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["ok"]


def test_odd_values_elsewhere_in_the_file(doctor: Doctor) -> None:
    odd = {"argv": SAFE[1:], "env": [1], "metadata": 5, "display_name": None, "language": {}}
    doctor.kernelspec("mine", {**odd, "argv": ["python", *SAFE[2:]]})
    report = doctor.examine("--kernel", "mine")
    assert report.codes("kernelspec") == ["without-safe-path", "python-of-jupyter"]
    assert not any(finding["code"] == "not-checked" for finding in report.content["findings"])


@pytest.mark.parametrize("program", ["/nowhere/bin/python", "no-such-program"])
def test_the_program_is_missing(doctor: Doctor, program: str) -> None:
    doctor.kernelspec("mine", [program, *SAFE[1:], "--comms-in-subshells"], "data")
    report = doctor.examine("--kernel", "mine", start=True)
    found = report.one("kernelspec", "program-missing", "error")
    assert f"starts {program}, which is missing" in found["text"]
    assert found["mend"] == "callboard install --user --display-name mine --comms-in-subshells --name mine"
    doctor.mend(found["mend"])
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["ok"]


def test_the_connection_file_is_not_given(doctor: Doctor) -> None:
    doctor.kernelspec("mine", SAFE[:-2])
    doctor.mend(doctor.examine("--kernel", "mine").one("kernelspec", "no-connection-file", "error")["mend"])
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["ok"]


def test_the_advice_names_the_callboard_that_gives_it(doctor: Doctor) -> None:
    """Where the one on the PATH is another one, or there is none."""
    found = doctor.examine("--kernel", "mine", PATH="/usr/bin:/bin").one("kernelspec", "kernelspec-missing", "error")
    assert found["mend"] == f"{Path(sys.executable).parent}/callboard install --sys-prefix --name mine"


def test_it_starts_another_kernel(doctor: Doctor) -> None:
    doctor.kernelspec("python3", [sys.executable, "-m", "ipykernel_launcher", *OPTIONS])
    report = doctor.examine("--kernel", "python3", start=True)
    assert "ipykernel_launcher" in report.one("kernelspec", "another-kernel", "error")["text"]
    # It is started nevertheless, and ended.
    assert "another kernel: ipython" in report.one("start", "another-kernel", "error")["text"]


def test_a_python_without_callboard(doctor: Doctor, bare: str) -> None:
    doctor.kernelspec("mine", [bare, *SAFE[1:]], "data")
    found = doctor.examine("--kernel", "mine").one("kernelspec", "python-without-callboard", "error")
    assert "No module named 'callboard'" in found["text"]
    doctor.mend(found["mend"])
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["ok"]


def test_another_python_with_callboard(doctor: Doctor, fresh: Doctor) -> None:
    doctor.kernelspec("mine", [fresh.python, *SAFE[1:]])
    report = doctor.examine("--kernel", "mine", start=True)
    found = report.one("kernelspec", "another-python", "warning")
    assert f"starts another Python than this one: {fresh.python}, with callboard" in found["text"]
    assert found["mend"].startswith(f"{fresh.python} -P -m callboard.doctor")
    assert report.codes("start") == ["ok"]
    assert report.code == 0


def test_a_kernelspec_of_an_earlier_version(doctor: Doctor) -> None:
    content = {
        "argv": [sys.executable, "-m", "callboard", *OPTIONS, "--backend", "trio", "-c", "x = 'a b'"],
        "display_name": "My own",
        "language": "python",
        "env": {"ONE": "two words"},
    }
    file = doctor.kernelspec("mine", content, "data")
    found = doctor.examine("--kernel", "mine").one("kernelspec", "without-safe-path", "warning")
    doctor.mend(found["mend"])
    mended = json.loads(file.read_text())
    assert mended["argv"] == [*SAFE, "--backend", "trio", "-c", "x = 'a b'"]
    assert (mended["display_name"], mended["env"]) == ("My own", {"ONE": "two words"})
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["ok"]


def test_the_advice_names_the_prefix(doctor: Doctor, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    doctor.env["JUPYTER_PATH"] = str(prefix / "share" / "jupyter")
    file = prefix / "share/jupyter/kernels/mine/kernel.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"argv": ["python", "-m", "callboard", *OPTIONS], "display_name": "mine"}))
    found = doctor.examine("--kernel", "mine").one("kernelspec", "without-safe-path", "warning")
    doctor.mend(found["mend"])
    assert json.loads(file.read_text())["argv"] == SAFE


def test_a_kernelspec_for_all_jupyters_that_names_no_python(doctor: Doctor) -> None:
    """As `pip install --user` leaves it: each Jupyter starts its own Python."""
    doctor.kernelspec("mine", ["python", *SAFE[1:]], "data")
    found = doctor.examine("--kernel", "mine").one("kernelspec", "python-of-jupyter", "warning")
    doctor.mend(found["mend"])
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["ok"]


@pytest.mark.parametrize("broken", ["first", "second", None])
def test_two_of_the_same_name(doctor: Doctor, bare: str, broken: str | None) -> None:
    """What is removed is the one that does not work; else the one that is not used."""
    first = doctor.kernelspec("mine", b"{" if broken == "first" else SAFE, "path").parent
    second = doctor.kernelspec("mine", b"{" if broken == "second" else [*SAFE, "--no-subshells"], "data").parent
    found = doctor.examine("--kernel", "mine").one("kernelspec", "kernelspec-hidden", "warning")
    assert (found["facts"]["folder"], found["facts"]["hidden"]) == (str(first), str(second))
    wrong = first if broken == "first" else second
    assert found["mend"] == f"rm -r {wrong}"
    doctor.mend(found["mend"])
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["ok"]


def test_one_of_another_python_hides_that_of_this_one(doctor: Doctor, fresh: Doctor) -> None:
    first = doctor.kernelspec("mine", [fresh.python, *SAFE[1:]], "path").parent
    doctor.kernelspec("mine", SAFE, "data")
    report = doctor.examine("--kernel", "mine")
    assert report.codes("kernelspec") == ["another-python", "kernelspec-hidden"]
    assert report["kernelspec"][1]["mend"] == f"rm -r {first}"


def test_two_that_are_the_same_are_no_fault(doctor: Doctor) -> None:
    for where in ("path", "data"):
        doctor.kernelspec("mine", SAFE, where)
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["ok"]


@pytest.mark.parametrize("trait", ["allowed_kernelspecs", "whitelist"])
def test_the_configuration_does_not_allow_it(doctor: Doctor, trait: str) -> None:
    file = doctor.config(f'c.KernelSpecManager.{trait} = {{"python3", "julia"}}')
    found = doctor.examine().one("kernelspec", "kernelspec-not-allowed", "error")
    assert str(file) in found["text"]
    assert "'callboard'" in found["mend"]


def test_jupyter_client_is_broken(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "broken" / "jupyter_client").mkdir(parents=True)
    (tmp_path / "broken" / "jupyter_client" / "__init__.py").write_text("raise RuntimeError('it is broken')")
    report = doctor.examine(PYTHONPATH=str(tmp_path / "broken"), start=True)
    assert "RuntimeError: it is broken" in report.one("kernelspec", "no-jupyter-client", "error")["text"]
    assert report.codes("start") == report.codes("server") == ["skipped"]


# -- the Jupyter of another environment --------------------------------------------------------------------------


def script(folder: Path, first_lines: str) -> str:
    """Writes a script `jupyter-lab`; returns its folder."""
    file = folder / "bin" / "jupyter-lab"
    file.parent.mkdir(parents=True)
    file.write_text(f"{first_lines}\nimport jupyterlab.labapp\n")
    file.chmod(0o755)
    return str(file.parent)


@pytest.fixture
def elsewhere(doctor: Doctor, fresh: Doctor, tmp_path: Path) -> Doctor:
    """The `jupyter-lab` on the PATH is that of another environment."""
    doctor.env["PATH"] = f"{script(tmp_path / 'a', f'#!{fresh.python}')}:{doctor.env['PATH']}"
    return doctor


def test_another_jupyter_does_not_find_it(elsewhere: Doctor) -> None:
    found = elsewhere.examine().one("jupyter", "jupyter-elsewhere", "warning")
    assert found["mend"] == "callboard install --user"
    elsewhere.mend(found["mend"])
    report = elsewhere.examine()
    assert report.codes("jupyter") == ["ok"]
    assert "finds the kernelspec" in report["jupyter"][0]["text"]


def test_another_jupyter_is_the_only_one(elsewhere: Doctor) -> None:
    hidden = "import sys\nsys.modules['jupyter_server'] = None\n"
    report = elsewhere.examine(**elsewhere.replace(hidden))
    report.one("jupyter", "jupyter-elsewhere", "error")


def test_another_jupyter_is_broken(doctor: Doctor, bare: str, tmp_path: Path) -> None:
    long = f"#!/bin/sh\n'''exec' \"{bare}\" \"$0\" \"$@\"\n' '''"
    path = f"{script(tmp_path / 'a', long)}:{doctor.env['PATH']}"
    found = doctor.examine(PATH=path).one("jupyter", "jupyter-fails", "warning")
    assert found["facts"]["python"] == bare
    assert "jupyter_client" in found["text"]


@pytest.mark.parametrize("line", ["#!/bin/sh", "#!/usr/bin/env bash", "", '#!"', "\x7fELF\x00"])
def test_a_script_that_is_no_python_is_left_alone(doctor: Doctor, tmp_path: Path, line: str) -> None:
    path = f"{script(tmp_path / 'a', line)}:{doctor.env['PATH']}"
    assert doctor.examine(PATH=path).codes("jupyter") == ["ok"]


def test_no_jupyter_on_the_path(doctor: Doctor) -> None:
    (doctor.home / "bin").mkdir()
    report = doctor.examine(PATH=str(doctor.home / "bin"))
    assert report["jupyter"][0]["text"] == "none on the PATH"


def test_it_says_more_than_jupyter(doctor: Doctor) -> None:
    """`jupyter kernelspec list` shows a kernelspec whose Python is gone as it shows any other."""
    doctor.kernelspec("mine", ["/nowhere/bin/python", *SAFE[1:]])
    command: list[Any] = [sys.executable, "-m", "jupyter_client.kernelspecapp", "list"]
    listed = subprocess.run(
        command, env=doctor.env, cwd=doctor.folder, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    assert "mine" in listed.stdout
    assert "/nowhere" not in listed.stdout + listed.stderr
    assert doctor.examine("--kernel", "mine").codes("kernelspec") == ["program-missing"]
    assert shutil.which("/nowhere/bin/python") is None
