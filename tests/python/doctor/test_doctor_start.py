"""Kernels that do not start, hang, or do not do what they should: it says where, and ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from doctor_tools import OPTIONS
from support import TIMEOUT, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor_tools import Doctor, Report

SAFE = [sys.executable, "-P", "-m", "callboard", *OPTIONS]


@pytest.fixture(autouse=True)
def _nothing_is_left(doctor: Doctor) -> Iterator[None]:
    """Neither a process nor a file, whatever the kernel does."""
    with tempfile.TemporaryDirectory() as folder:
        doctor.env |= {"TMPDIR": folder, "OF_THE_TEST": str(doctor.home)}
        yield
        assert processes(doctor) == []
        assert list(Path(folder).iterdir()) == []
    assert not (doctor.home / "runtime").exists()


def processes(doctor: Doctor) -> list[psutil.Process]:
    """Those that the command has started and left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("OF_THE_TEST") == str(doctor.home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass
    return found


def start(doctor: Doctor, *options: str) -> Report:
    """Examines a kernel with these options."""
    doctor.kernelspec("mine", [*SAFE, *options])
    return doctor.examine("--kernel", "mine", start=True)


def test_a_kernel_that_works(doctor: Doctor) -> None:
    assert start(doctor).codes("start") == ["ok"]


@pytest.mark.skipif(sys.platform != "linux", reason="the other transport has another limit")
def test_a_kernel_on_ipc(doctor: Doctor) -> None:
    doctor.config("c.KernelManager.transport = 'ipc'")
    assert start(doctor).codes("start") == ["ok"]


def test_it_ends_at_once(doctor: Doctor) -> None:
    report = start(doctor, "--shutdown-deadline", "soon")
    found = report.one("start", "kernel-ended", "error")
    assert "it was not ready: the kernel ended with code 2" in found["text"]
    assert any("--shutdown-deadline" in line for line in found["facts"]["terminal"])
    assert found["mend"].endswith(f"{sys.executable} -P -m callboard --shutdown-deadline soon")
    assert found["facts"]["seconds"] == {}
    lines = doctor.run("--kernel", "mine").stdout.splitlines()
    assert any(line.strip().startswith("| ") and "--shutdown-deadline" in line for line in lines)


def test_it_ends_when_ipython_cannot_be_imported(doctor: Doctor) -> None:
    """It may have answered that it is ready before that."""
    doctor.env |= doctor.replace("import sys\nif 'callboard' in sys.orig_argv: sys.modules['IPython'] = None\n")
    found = start(doctor).one("start", "kernel-ended", "error")
    assert "the kernel ended with code 1" in found["text"]
    assert any("callboard needs IPython" in line for line in found["facts"]["terminal"])


def test_it_is_killed(doctor: Doctor) -> None:
    found = start(doctor, "-c", "import os; os.kill(os.getpid(), 9)").one("start", "kernel-ended", "error")
    assert "by signal 9" in found["text"]


def test_it_hangs_before_it_listens(doctor: Doctor) -> None:
    """Also if it lets no signal end it, and has started a process of its own."""
    code = (
        "import signal, subprocess, sys, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)];"
        "subprocess.Popen(['sleep', '1000']); print('I wait', flush=True); time.sleep(1000)"
    )
    doctor.kernelspec("mine", [sys.executable, "-P", "-c", code, "callboard", *OPTIONS])
    found = doctor.examine("--kernel", "mine", start=True).one("start", "not-ready", "error")
    assert "was not ready within 20 s, and was ended" in found["text"]
    assert found["facts"]["terminal"] == ["I wait"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_command_is_ended_meanwhile(doctor: Doctor, number: int) -> None:
    code = "import time; print('started', file=open('started', 'w')); time.sleep(1000)"
    doctor.kernelspec("mine", [sys.executable, "-P", "-c", code, "callboard", *OPTIONS])
    run = [sys.executable, "-P", "-m", "callboard.doctor", "--kernel", "mine"]

    def listen() -> None:
        # A shell lets commands in the background ignore it, and so these tests where they run there.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(run, env=doctor.env, cwd=doctor.folder, stdout=-1, stderr=-1, preexec_fn=listen) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # The check before it has been made; then the kernel is there.
        assert any(line.split()[1:2] == [b"server"] for line in process.stdout)
        wait_for_kernel(doctor, process.pid)
        process.send_signal(number)
        assert process.wait(TIMEOUT) == 128 + number
        assert process.stderr.read() == b""


def wait_for_kernel(doctor: Doctor, own: int) -> None:
    started = doctor.folder / "started"
    with psutil.Popen(["bash", "-c", f"until [ -s {started} ]; do sleep 0.05; done"]) as waiting:
        assert waiting.wait(TIMEOUT) == 0
    started.unlink()
    assert [process.pid for process in processes(doctor) if process.pid != own]


def test_the_first_cell_fails(doctor: Doctor) -> None:
    code = "def fail(*args, **options): raise ValueError('broken')\nget_ipython().compile.ast_parse = fail"
    found = start(doctor, "-c", code).one("start", "cell-failed", "error")
    assert "ValueError: broken" in found["text"]


def test_the_first_cell_hangs(doctor: Doctor) -> None:
    code = "get_ipython().events.register('pre_run_cell', lambda info: __import__('time').sleep(1000))"
    found = start(doctor, "-c", code).one("start", "cell-unanswered", "error")
    assert "the first cell was not answered within 8 s" in found["text"]


def test_output_does_not_arrive(doctor: Doctor) -> None:
    code = "import io, sys\nsys.stdout = io.StringIO()"
    start(doctor, "-c", code).one("start", "no-output", "error")


def test_an_interrupt_has_no_effect(doctor: Doctor) -> None:
    code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.signal = lambda *_: None"
    start(doctor, "-c", code).one("start", "not-interrupted", "error")


def test_it_does_not_shut_down(doctor: Doctor) -> None:
    code = "import atexit, time\natexit.register(time.sleep, 1000)"
    found = start(doctor, "--shutdown-deadline", "1000", "-c", code).one("start", "not-shut-down", "error")
    assert list(found["facts"]["seconds"]) == ["ready", "first_cell", "interrupt"]


def test_a_slow_start(doctor: Doctor) -> None:
    found = start(doctor, "-c", "import time\ntime.sleep(5.5)").one("start", "slow-start", "warning")
    assert found["facts"]["seconds"]["first_cell"] > 5


def test_its_environment_and_folder(doctor: Doctor) -> None:
    """The kernel runs where the notebook is, and with the profile of the user."""
    startup = doctor.home / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "first.py").write_text("import os\nopen('of_startup', 'w').write(os.getcwd())")
    assert start(doctor).codes("start") == ["ok"]
    assert (doctor.folder / "of_startup").read_text() == os.path.realpath(doctor.folder)


def test_a_profile_that_does_not_exist(doctor: Doctor) -> None:
    (doctor.home / "ipython" / "profile_default").mkdir(parents=True)
    found = start(doctor, "--profile", "work").one("start", "kernel-ended", "error")
    assert any("Profile 'work' not found" in line for line in found["facts"]["terminal"])
    assert [file.name for file in (doctor.home / "ipython").iterdir()] == ["profile_default"]


def test_the_binary(doctor: Doctor) -> None:
    doctor.kernelspec("mine", [*command("binary"), *OPTIONS])
    report = doctor.examine("--kernel", "mine", start=True)
    assert report.codes("kernelspec") == report.codes("start") == ["ok"]
