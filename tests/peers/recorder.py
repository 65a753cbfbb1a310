"""Runs pytest and writes the outcome of each test, and each kernel that was started, to a file as they come.

``python recorder.py FILE ARGUMENT...``: one line of JSON each. Line by line, because a suite may end its own process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recorder:
    """A plugin of pytest."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", buffering=1)

    def _write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(test=nodeid, outcome="lost")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._write(test=report.nodeid, outcome=report.outcome)
        elif report.outcome != "passed":
            self._write(test=report.nodeid, outcome="skipped" if report.skipped else "error")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._write(test=report.nodeid, outcome="error" if report.failed else None)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Iterator[None]:
        from jupyter_client.provisioning.local_provisioner import LocalProvisioner

        original = LocalProvisioner.launch_kernel

        async def launch_kernel(provisioner: Any, cmd: list[str], **kwargs: Any) -> Any:
            self._write(kernel=cmd)
            return await original(provisioner, cmd, **kwargs)

        LocalProvisioner.launch_kernel = launch_kernel
        return (yield)


def main() -> int:
    file, *arguments = sys.argv[1:]
    # As `python -m pytest`: the folder of the suite instead of this one.
    sys.path[0] = os.getcwd()
    return int(pytest.main(arguments, plugins=[Recorder(Path(file))]))


if __name__ == "__main__":
    sys.exit(main())
