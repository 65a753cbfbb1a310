"""Settings of Jupyter and JupyterLab that change what kernels do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from callboard import _core
from callboard.doctor.checks.lab import DEFAULT, KEY, PLUGIN
from doctor_tools import OPTIONS

if TYPE_CHECKING:
    from doctor_tools import Doctor

SAFE = [sys.executable, "-P", "-m", "callboard", *OPTIONS]

# -- encryption --------------------------------------------------------------------------------------------------


def require(doctor: Doctor, policy: str = "required") -> Path:
    return doctor.config(f"c.KernelManager.transport_encryption = {policy!r}")


@pytest.mark.skipif(not _core.has_curve, reason="built without encryption")
@pytest.mark.parametrize("policy", ["required", "auto", "disabled"])
def test_encryption_works(doctor: Doctor, policy: str) -> None:
    require(doctor, policy)
    report = doctor.examine(start=True)
    assert report.codes("encryption") == report.codes("start") == ["ok"]
    assert report["encryption"][0]["facts"]["policy"] == policy


@pytest.mark.skipif(not _core.has_curve, reason="built without encryption")
@pytest.mark.parametrize(("policy", "level"), [("required", "error"), ("auto", "warning")])
def test_a_kernelspec_that_does_not_say_that_it_encrypts(doctor: Doctor, policy: str, level: str) -> None:
    require(doctor, policy)
    doctor.kernelspec("mine", SAFE, "data")
    report = doctor.examine("--kernel", "mine", start=True)
    found = report.one("encryption", "kernelspec-without-encryption", level)
    # It tells the truth.
    assert report.codes("start") == (["not-started"] if policy == "required" else ["ok"])
    doctor.mend(found["mend"])
    mended = doctor.examine("--kernel", "mine", start=True)
    assert mended.codes("encryption") == mended.codes("start") == ["ok"]


def test_a_policy_that_does_not_exist(doctor: Doctor) -> None:
    require(doctor, "always")
    assert "'always'" in doctor.examine().one("encryption", "unknown-policy", "error")["text"]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import callboard._core as core\ncore.has_curve = False\n", "core-without-curve"),
        ("import zmq\nhas = zmq.has\nzmq.has = lambda what: what != 'curve' and has(what)\n", "pyzmq-without-curve"),
        (
            "from jupyter_client.manager import KernelManager\n"
            "traits = KernelManager.class_traits\n"
            "def class_traits(**options):\n"
            "    return {name: trait for name, trait in traits(**options).items() if name != 'transport_encryption'}\n"
            "KernelManager.class_traits = class_traits\n",
            "client-without-encryption",
        ),
    ],
)
def test_one_side_cannot_encrypt(doctor: Doctor, code: str, found: str) -> None:
    """Builds and releases without it, as they look to the doctor."""
    file = require(doctor)
    variables = doctor.replace(code)
    assert str(file) in doctor.examine(**variables).one("encryption", found, "error")["text"]
    # Nothing is wrong as long as nobody asks for it.
    file.unlink()
    assert doctor.examine(**variables).codes("encryption") == ["ok"]


# -- JupyterLab --------------------------------------------------------------------------------------------------


def lab_setting(doctor: Doctor, text: str) -> Path:
    extension, _, plugin = PLUGIN.partition(":")
    file = doctor.home / "config/lab/user-settings" / extension / f"{plugin}.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


def test_the_setting_is_that_of_jupyterlab() -> None:
    """Its plugin, key, values and default, from the installed JupyterLab."""
    extension, _, plugin = PLUGIN.partition(":")
    schema = Path(sys.prefix) / "share/jupyter/lab/schemas" / extension / f"{plugin}.json"
    setting = json.loads(schema.read_text())["properties"][KEY]
    assert setting["default"] == DEFAULT
    assert {value["const"] for value in setting["oneOf"]} == {"disabled", "perComm", "perCommTarget"}


@pytest.mark.parametrize("with_json5", [True, False])
@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("", DEFAULT),
        ("{}", DEFAULT),
        ('{\n    // Kernels\n    // ***\n    /* two\n  lines */\n    "commsOverSubshells": "disabled"\n}', "disabled"),
        ('{"commsOverSubshells": "perCommTarget", "showStatusBarItem": false}', "perCommTarget"),
    ],
)
def test_the_users_setting(doctor: Doctor, text: str, setting: str, with_json5: bool) -> None:
    lab_setting(doctor, text)
    variables = {} if with_json5 else doctor.replace("import sys\nsys.modules['json5'] = None\n")
    report = doctor.examine(**variables)
    assert report.codes("lab") == ["ok"]
    assert report["lab"][0]["facts"]["setting"] == setting


def test_a_subshell_for_each_widget(doctor: Doctor) -> None:
    file = lab_setting(doctor, '{"commsOverSubshells": "perComm"}')
    found = doctor.examine().one("lab", "subshell-for-each-comm", "warning")
    assert str(file) in found["text"]
    assert DEFAULT in found["mend"]


def test_a_kernel_that_waits_for_comms_that_do_not_come(doctor: Doctor) -> None:
    lab_setting(doctor, '{"commsOverSubshells": "disabled"}')
    doctor.kernelspec("mine", [*SAFE, "--comms-in-subshells"])
    doctor.examine("--kernel", "mine").one("lab", "comms-not-sent-to-subshells", "warning")
    assert doctor.examine().codes("lab") == ["ok"]


def test_comms_in_subshells(doctor: Doctor) -> None:
    doctor.kernelspec("mine", [*SAFE, "--comms-in-subshells"])
    finding = doctor.examine("--kernel", "mine")["lab"][0]
    assert finding["facts"]["comms_in_subshells"]
    assert "widgets work while a cell computes" in finding["text"]


def test_settings_of_the_administrator(doctor: Doctor) -> None:
    folder = doctor.home / "config/labconfig"
    folder.mkdir(parents=True)
    (folder / "default_setting_overrides.json").write_text(json.dumps({PLUGIN: {KEY: "perComm"}}))
    doctor.examine().one("lab", "subshell-for-each-comm", "warning")
    # The user's count more.
    lab_setting(doctor, '{"commsOverSubshells": "perCommTarget"}')
    assert doctor.examine().codes("lab") == ["ok"]


@pytest.mark.parametrize("text", ["{", "[]", "\x00", '{"commsOverSubshells":'])
def test_settings_that_cannot_be_read(doctor: Doctor, text: str) -> None:
    file = lab_setting(doctor, text)
    assert str(file) in doctor.examine().one("lab", "settings-unreadable", "warning")["text"]


# -- the server --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manager", ["MappingKernelManager", "AsyncMappingKernelManager"])
def test_a_server_that_ends_idle_kernels(doctor: Doctor, manager: str) -> None:
    file = doctor.config(f"c.{manager}.cull_idle_timeout = 600")
    report = doctor.examine()
    assert report.codes("server") == ["ok"]
    assert report["server"][0]["facts"] == {"idle": 600, "file": str(file)}
    assert "kernels idle for 600 s; one that computes is busy" in report["server"][0]["text"]


@pytest.mark.parametrize(("trait", "code"), [("cull_busy", "culls-busy"), ("cull_connected", "culls-connected")])
def test_a_server_that_ends_kernels_in_use(doctor: Doctor, trait: str, code: str) -> None:
    settings = {"MappingKernelManager": {"cull_idle_timeout": 60, trait: True}}
    file = doctor.config(json.dumps(settings), "jupyter_server_config.json")
    found = doctor.examine().one("server", code, "warning")
    assert str(file) in found["text"]
    assert found["facts"]["idle"] == 60
    # Without a time limit it ends none.
    doctor.config(json.dumps({"MappingKernelManager": {trait: True}}), "jupyter_server_config.json")
    assert doctor.examine().codes("server") == ["ok"]


def test_the_file_that_counts_most(doctor: Doctor) -> None:
    """As a server reads them: JSON after Python, the notebook's folder after the user's."""
    doctor.config("c.MappingKernelManager.cull_idle_timeout = 1")
    doctor.config('{"MappingKernelManager": {"cull_idle_timeout": 2}}', "jupyter_server_config.json")
    assert doctor.examine()["server"][0]["facts"]["idle"] == 2
    (doctor.folder / "jupyter_server_config.py").write_text("c.MappingKernelManager.cull_idle_timeout = 3")
    assert doctor.examine()["server"][0]["facts"]["idle"] == 3


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("jupyter_server_config.json", "{", "JSONDecodeError"),
        ("jupyter_server_config.py", "1 / 0", "ZeroDivisionError"),
        ("jupyter_server_config.py", "def", "SyntaxError"),
        ("jupyter_server_config.py", "import sys; sys.exit('no')", "SystemExit: no"),
        ("jupyter_config.py", "import no_such_module", "ModuleNotFoundError"),
    ],
)
def test_configuration_that_cannot_be_read(doctor: Doctor, name: str, text: str, told: str) -> None:
    file = doctor.config(text, name)
    found = doctor.examine().one("server", "config-unreadable", "warning")
    assert f"{file} cannot be read" in found["text"]
    assert told in found["text"]


@pytest.mark.parametrize("text", ["while True: pass", "import os; os._exit(3)"])
def test_configuration_that_ends_or_stops_its_reader(doctor: Doctor, text: str) -> None:
    doctor.config(text)
    report = doctor.examine()
    told = report.one("server", "config-unreadable", "warning")["text"]
    assert "did not answer within 5 s" in told or "it ended with code 3" in told


def test_configuration_that_prints(doctor: Doctor) -> None:
    doctor.config("print('{}')\nimport os\nos.system('echo hello')\nc.MappingKernelManager.cull_idle_timeout = 7")
    assert doctor.examine()["server"][0]["facts"]["idle"] == 7


def test_configuration_that_is_no_number(doctor: Doctor) -> None:
    doctor.config("c.MappingKernelManager.cull_idle_timeout = 'soon'")
    assert doctor.examine().codes("server") == ["ok"]
