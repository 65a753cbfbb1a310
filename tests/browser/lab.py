"""The JupyterLab server of the tests."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

#: The longest wait for a kernel's start, a plot and so on, seconds. Much more than a slow machine needs.
PATIENCE = 90

# No news, no questions, nothing that changes by itself; and cells out of sight are in the page as well.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
    # A kernel's completions are taken however long they take: the tests are about their coming at all.
    "completer-extension/manager": {"providerTimeout": 60_000},
}


@dataclass
class Lab:
    """A JupyterLab server with files of its own in a folder."""

    folder: Path
    #: The interpreter of the environment that it is installed in.
    python: str = sys.executable
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    url: str = field(init=False)
    process: subprocess.Popen[str] = field(init=False)

    @property
    def notebooks(self) -> Path:
        """The folder of its notebooks."""
        return self.folder / "notebooks"

    @property
    def log(self) -> Path:
        """The terminal output of the server and its kernels."""
        return self.folder / "jupyterlab.log"

    def start(self) -> None:
        """Starts the server; returns when it serves."""
        self.notebooks.mkdir()
        for name, content in SETTINGS.items():
            path = self.folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
        folders = {
            "IPYTHONDIR": "ipython",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [
                *(self.python, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
                *(f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.notebooks}"),
                *("--LabApp.extension_manager=readonly", "--ServerApp.terminals_enabled=False"),
            ],
            cwd=self.folder,
            env=os.environ
            | {"JUPYTER_PREFER_ENV_PATH": "1"}
            | {name: str(self.folder / folder) for name, folder in folders.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        serving = threading.Event()
        threading.Thread(target=self._keep_log, args=(serving,), daemon=True).start()
        if not serving.wait(PATIENCE) or self.process.poll() is not None:
            self.stop()
            raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """Ends the server and its kernels."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def shut_kernels_down(self) -> None:
        """Ends the kernels of all notebooks."""
        for session in self._ask("GET", "sessions"):
            self._ask("DELETE", f"sessions/{session['id']}")

    def _ask(self, method: str, what: str) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{what}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")

    def _keep_log(self, serving: threading.Event) -> None:
        assert self.process.stdout is not None
        with self.log.open("w") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                if "is running at" in line:
                    serving.set()
        serving.set()
