"""Users with installations for tests to break, and the command that examines them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import callboard
import jsonschema
from support import TIMEOUT, environment

#: The package that is tested.
PACKAGE = Path(callboard.__file__).parent

#: The keys of `callboard doctor --json` that docs/doctor.md describes.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["format", "callboard", "python", "kernel", "folder", "ok", "findings"],
    "properties": {
        "format": {"const": 1},
        "callboard": {"type": "string"},
        "python": {
            "type": "object",
            "additionalProperties": False,
            "required": ["executable", "version", "prefix"],
            "properties": {name: {"type": "string"} for name in ("executable", "version", "prefix")},
        },
        "kernel": {"type": "string"},
        "folder": {"type": "string"},
        "ok": {"type": "boolean"},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["check", "level", "code", "text", "mend", "facts"],
                "properties": {
                    "check": {"type": "string"},
                    "level": {"enum": ["ok", "skipped", "warning", "error"]},
                    "code": {"type": "string", "pattern": "^[a-z-]+$"},
                    "text": {"type": "string", "minLength": 1},
                    "mend": {"type": ["string", "null"]},
                    "facts": {"type": "object"},
                },
            },
        },
    },
}

CHECKS = [
    *("core", "python", "versions", "ipykernel", "kernelspec", "jupyter", "shadowing", "sockets", "files", "history"),
    *("encryption", "lab", "server", "start"),
]

OPTIONS = ["-f", "{connection_file}"]


@dataclass
class Report:
    """What `callboard doctor --json` has found."""

    code: int
    content: dict[str, Any] = field(repr=False)

    def __getitem__(self, check: str) -> list[dict[str, Any]]:
        return [finding for finding in self.content["findings"] if finding["check"] == check]

    def codes(self, check: str) -> list[str]:
        return [finding["code"] for finding in self[check]]

    def one(self, check: str, code: str, level: str) -> dict[str, Any]:
        """The finding of this check with this code, of which there is one. What it keeps from working shows in the exit
        code, and it says how to mend it."""
        findings = [finding for finding in self[check] if finding["code"] == code]
        assert len(findings) == 1, self[check]
        assert findings[0]["level"] == level
        assert self.code == 1 if level == "error" else True
        assert bool(findings[0]["mend"]) == (level in ("warning", "error"))
        return findings[0]


class Doctor:
    """A user, whose home is a folder of the test, with the environment that runs the tests."""

    def __init__(self, home: Path, python: str = sys.executable) -> None:
        self.home = home
        self.python = python
        self.folder = home / "notebooks"
        self.folder.mkdir(parents=True, exist_ok=True)
        prefix = str(Path(python).parent.parent)
        self.env = environment(
            home,
            HOME=str(home),
            PATH=os.pathsep.join([str(Path(python).parent), "/usr/bin", "/bin"]),
            VIRTUAL_ENV=prefix,
            JUPYTER_DATA_DIR=str(home / "data"),
            JUPYTER_PATH=str(home / "path"),
            IPYTHONDIR=str(home / "ipython"),
        )
        for name in ("CONDA_PREFIX", "PYTHONPATH", "JUPYTER_PREFER_ENV_PATH", "JUPYTER_NO_CONFIG", "JUPYTERLAB_DIR"):
            self.env.pop(name, None)

    def run(self, *args: str, wrapper: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
        """Runs the command in the notebook's folder."""
        done = subprocess.run(
            [*wrapper, self.python, "-P", "-m", "callboard.doctor", *args],
            env={**self.env, **env},
            cwd=self.folder,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def examine(self, *args: str, start: bool = False, wrapper: tuple[str, ...] = (), **env: str) -> Report:
        """Runs it with ``--json``, and checks the form of what it prints."""
        done = self.run("--json", *([] if start else ["--no-start"]), *args, wrapper=wrapper, **env)
        assert done.stderr == ""
        content = json.loads(done.stdout)
        jsonschema.validate(content, SCHEMA)
        assert list(dict.fromkeys(finding["check"] for finding in content["findings"])) == CHECKS
        assert content["ok"] == all(finding["level"] != "error" for finding in content["findings"])
        assert done.returncode == (0 if content["ok"] else 1)
        return Report(done.returncode, content)

    def mend(self, command: str) -> None:
        """Does what a finding says: a command of the shell."""
        main = "import sys; from callboard.cli import main; sys.exit(main())"
        function = f'callboard() {{ "{self.python}" -P -c "{main}" "$@"; }}'
        subprocess.run(
            ["bash", "-c", f"{function}\n{command}"],
            env=self.env,
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=TIMEOUT,
        )

    def kernelspec(self, name: str, content: Any, where: str = "path") -> Path:
        """Writes a kernelspec: its argv, all of its content, or its text. `where`: ``path`` or ``data``."""
        file = self.home / where / "kernels" / name / "kernel.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = {"argv": content, "display_name": name, "language": "python", "interrupt_mode": "message"}
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return file

    def config(self, text: str, name: str = "jupyter_server_config.py") -> Path:
        """Writes a file of Jupyter's configuration."""
        file = self.home / "config" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def replace(self, code: str) -> dict[str, str]:
        """Variables of an environment where this code runs first in each Python."""
        folder = self.home / "first"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(code)
        return {"PYTHONPATH": str(folder)}


def make_environment(folder: Path, *paths: str) -> str:
    """Makes a virtual environment that finds modules in these folders; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=TIMEOUT)
    site = next((folder / "lib").glob("python3*/site-packages"))
    (site / "paths.pth").write_text("".join(f"{path}\n" for path in paths))
    return str(folder / "bin" / "python")
