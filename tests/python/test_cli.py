"""The command ``callboard``: install, list, uninstall, start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import callboard
import pytest
from callboard import _core
from support import TIMEOUT, environment

#: The command as `pip` installs it, or, where scripts are not installed, the same function.
COMMAND = [sys.executable, "-c", "import sys; from callboard.cli import main; sys.exit(main())"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has no kernelspec yet."""
    return environment(tmp_path, HOME=str(tmp_path), JUPYTER_DATA_DIR=str(tmp_path / "data"), JUPYTER_PATH="")


def run(env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """Runs the command."""
    return _run([*COMMAND, *args], env)


def jupyter(env: dict[str, str], module: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs one of Jupyter's commands."""
    return _run([sys.executable, "-m", module, *args], env)


def _run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def spec_in(folder: Path) -> dict[str, object]:
    return json.loads((folder / "kernel.json").read_text())


def test_install_for_the_user_makes_a_complete_kernelspec(env: dict[str, str], tmp_path: Path) -> None:
    done = run(env, "install", "--user")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "data" / "kernels" / "callboard"
    assert str(folder) in done.stdout
    spec = spec_in(folder)
    assert spec["argv"] == [sys.executable, "-P", "-m", "callboard", "-f", "{connection_file}"]
    assert spec["display_name"] == "Python 3 (callboard)"
    assert spec["language"] == "python"
    assert spec["interrupt_mode"] in ("message", "signal")
    encrypts = {"supported_encryption": ["curve"]} if _core.has_curve else {}
    assert spec["metadata"] == {"debugger": True, **encrypts}
    logos = {"logo-32x32.png", "logo-64x64.png", "logo-svg.svg"}
    assert logos <= {file.name for file in folder.iterdir()}
    assert (folder / "logo-32x32.png").read_bytes().startswith(b"\x89PNG")


def test_install_takes_a_name_a_display_name_an_environment_and_a_profile(env: dict[str, str], tmp_path: Path) -> None:
    done = run(
        env,
        *("install", "--user", "--name", "mine", "--display-name", "My Python", "--profile=work"),
        *("--env", "FIRST", "1", "--env", "SECOND", "two words"),
    )
    assert done.returncode == 0, done.stderr
    spec = spec_in(tmp_path / "data" / "kernels" / "mine")
    assert spec["display_name"] == "My Python"
    assert spec["env"] == {"FIRST": "1", "SECOND": "two words"}
    assert spec["argv"][-1] == "--profile=work"


def test_install_gives_all_other_options_to_the_kernel(env: dict[str, str], tmp_path: Path) -> None:
    options = [
        *("--comms-in-subshells", "--shutdown-deadline", "5", "--ext", "one", "--ext=two", "--matplotlib"),
        *("--InteractiveShell.colors=nocolor", "-c", "x = 'with a space'", "--log-level", "error"),
    ]
    done = run(env, "install", *options[:3], "--user", *options[3:5], "--name", "mine", *options[5:])
    assert done.returncode == 0, done.stderr
    spec = spec_in(tmp_path / "data" / "kernels" / "mine")
    assert spec["argv"] == [sys.executable, "-P", "-m", "callboard", "-f", "{connection_file}", *options]


def test_a_kernel_runs_with_the_options_it_was_installed_with(env: dict[str, str], tmp_path: Path) -> None:
    done = run(env, "install", "--user", "--name", "mine", "--comms-in-subshells", "-c", "given = 6 * 7")
    assert done.returncode == 0, done.stderr
    script = tmp_path / "script.py"
    script.write_text("print(given)\n%comms\n")
    done = jupyter(env, "jupyter_client.runapp", "--kernel", "mine", str(script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("42\nsubshells: ")


def test_install_with_a_name_alone_can_be_told_from_the_default(env: dict[str, str], tmp_path: Path) -> None:
    run(env, "install", "--user", "--name", "second")
    assert "second" in spec_in(tmp_path / "data" / "kernels" / "second")["display_name"]


def test_install_below_a_prefix(env: dict[str, str], tmp_path: Path) -> None:
    done = run(env, "install", "--prefix", str(tmp_path / "prefix"))
    assert done.returncode == 0, done.stderr
    assert spec_in(tmp_path / "prefix" / "share" / "jupyter" / "kernels" / "callboard")["argv"][0] == sys.executable


def test_install_twice_replaces(env: dict[str, str], tmp_path: Path) -> None:
    run(env, "install", "--user", "--env", "OLD", "1")
    assert run(env, "install", "--user").returncode == 0
    assert "env" not in spec_in(tmp_path / "data" / "kernels" / "callboard")


def test_list_and_uninstall(env: dict[str, str], tmp_path: Path) -> None:
    run(env, "install", "--user", "--name", "mine")
    listed = run(env, "list")
    assert listed.returncode == 0
    assert any(line.split("\t") == ["mine", str(tmp_path / "data/kernels/mine")] for line in listed.stdout.splitlines())
    removed = run(env, "uninstall", "--name", "mine")
    assert removed.returncode == 0
    assert not (tmp_path / "data" / "kernels" / "mine").exists()
    assert "mine" not in run(env, "list").stdout


def test_list_leaves_out_the_kernels_of_others(env: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "data" / "kernels" / "other"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["other"], "display_name": "Other", "language": "x"}')
    assert "other" not in run(env, "list").stdout.replace(str(tmp_path), "")


def test_jupyter_sees_the_kernelspec(env: dict[str, str]) -> None:
    run(env, "install", "--user", "--name", "mine")
    listed = jupyter(env, "jupyter_client.kernelspecapp", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)["kernelspecs"]["mine"]
    assert found["spec"]["argv"][1:4] == ["-P", "-m", "callboard"]
    assert Path(found["resource_dir"]).name == "mine"


def test_jupyter_runs_a_script_on_the_installed_kernel(env: dict[str, str], tmp_path: Path) -> None:
    run(env, "install", "--user", "--name", "mine", "--env", "FROM_SPEC", "given")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nprint('env', os.environ['FROM_SPEC'])\nprint('problem', file=sys.stderr)\n"
        "import asyncio\nawait asyncio.sleep(0)\nprint(type(get_ipython()).__name__)\n"
    )
    done = jupyter(env, "jupyter_client.runapp", "--kernel", "mine", str(script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["env given", "ZMQInteractiveShell"]
    assert "problem" in done.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "COMMAND"),
        (("no-such-command",), "no-such-command"),
        (("install", "--no-such-option"), "--no-such-option"),
        (("install", "--user", "--comms"), "--comms"),
        (("install", "--user", "word"), "'word'"),
        (("install", "--user", "--backend", "qt"), "asyncio and trio"),
        (("install", "--user", "-f", "file.json"), "where to listen"),
        (("install", "--user", "--ip=0.0.0.0"), "where to listen"),
        (("install", "--user", "--shutdown-deadline", "soon"), "--shutdown-deadline"),
        (("list", "--comms-in-subshells"), "--comms-in-subshells"),
        (("install", "--user", "--prefix", "x"), "not allowed with"),
        (("install", "--user", "--name", "no good name!"), "no good name!"),
        (("install", "--env", "ONLY_A_NAME"), "--env"),
        (("uninstall", "--name", "never-installed"), "never-installed"),
        (("install", "--prefix", "/proc/nowhere"), "/proc/nowhere"),
    ],
)
def test_mistakes_are_explained(env: dict[str, str], args: tuple[str, ...], told: str) -> None:
    done = run(env, *args)
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_help_tells_what_there_is(env: dict[str, str]) -> None:
    for args in (("--help",), ("install", "--help")):
        done = run(env, *args)
        assert done.returncode == 0
        assert done.stderr == ""
    # Lines are broken at hyphens as well.
    told = "".join(done.stdout.split())
    for option in ("--user", "--prefix", "--sys-prefix", "--name", "--display-name", "--env"):
        assert option in told
    # Of the kernel.
    assert "--profile" in told
    assert "--comms-in-subshells" in told
    assert sys.prefix in told
    general = run(env, "--help").stdout
    assert all(name in general for name in ("install", "uninstall", "list", "start"))
    assert run(env, "--version").stdout.strip() == callboard.__version__


@pytest.mark.parametrize("how", ["start", "module"])
def test_the_help_of_the_kernel_itself(env: dict[str, str], how: str) -> None:
    done = run(env, "start", "--help") if how == "start" else _run([sys.executable, "-m", "callboard", "--help"], env)
    assert done.returncode == 0
    assert "--connection-file" in done.stdout
    assert "--InteractiveShell.colors" in done.stdout


def test_the_script_is_on_the_path_of_the_environment(env: dict[str, str]) -> None:
    script = Path(sys.executable).parent / "callboard"
    assert script.is_file()
    assert os.access(script, os.X_OK)
    assert _run([str(script), "--version"], env).stdout.strip() == callboard.__version__
