"""Jupyter's own conformance tests, with every optional sample filled in, for both ways in."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar
from unittest import TestCase

import jupyter_kernel_test
from jupyter_client import KernelManager
from support import TIMEOUT, environment, write_kernelspec


def make_manager(way: str) -> tuple[KernelManager, tempfile.TemporaryDirectory]:
    """A manager for a kernel in a folder of its own."""
    folder = tempfile.TemporaryDirectory(prefix="callboard-test-")
    path = Path(folder.name)
    manager = KernelManager(
        kernel_name="callboard",
        kernel_spec_manager=write_kernelspec(path, way),
        connection_file=str(path / "connection.json"),
    )
    manager.start_kernel(env=environment(path), cwd=str(path))
    return manager, folder


class Samples:
    """The samples that the conformance tests ask for."""

    way: ClassVar[str]

    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = [
        {"text": "zi", "matches": {"zip"}},
        {"text": "from itertools import acc", "matches": {"accumulate"}},
        {"text": "'word'.capit", "matches": {"capitalize"}},
    ]
    complete_code_samples = ["1", "print('hello, world')", "def f(x):\n  return x*2\n\n\n", "await f()", "%matplotlib"]
    incomplete_code_samples = ["print('''hello", "def f(x):\n  x*2", "for i in range(3):", "[1,"]
    invalid_code_samples = ["import = 7q", "x = )"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result = [
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
        {"code": "from IPython.display import HTML; HTML('<b>1</b>')", "mime": "text/html", "result": "<b>1</b>"},
    ]
    code_display_data = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('\\\\frac{1}{2}'))", "mime": "text/latex"},
        {"code": "display({'a': 1})", "mime": "text/plain"},
    ]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"
    support_iopub_welcome = True


class OwnKernel(Samples):
    """Starts a kernel that comes from no installed kernelspec, and a client that is stopped before it."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.km, folder = make_manager(cls.way)
        cls.addClassCleanup(folder.cleanup)
        cls.addClassCleanup(cls.km.shutdown_kernel, now=True)
        cls.kc = cls.km.blocking_client()
        cls.addClassCleanup(cls.kc.stop_channels)

    @classmethod
    def tearDownClass(cls) -> None:
        """Class clean-ups do it, also when the set-up has failed."""


class Conformance(OwnKernel, jupyter_kernel_test.KernelTests):
    """All tests but that of the welcome."""

    __test__ = False

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.kc.start_channels()
        cls.kc.wait_for_ready(timeout=TIMEOUT)


class Welcome(OwnKernel, jupyter_kernel_test.IopubWelcomeTests):
    """A subscriber is told that it is subscribed (JEP 65)."""

    __test__ = False


class TestModule(Conformance):
    __test__ = True
    way = "module"


class TestBinary(Conformance):
    __test__ = True
    way = "binary"


class TestModuleWelcome(Welcome):
    __test__ = True
    way = "module"


class TestBinaryWelcome(Welcome):
    __test__ = True
    way = "binary"


def test_no_sample_is_left_out() -> None:
    def own(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith(("_", "test_"))}

    inherited = vars(TestCase)
    for tests in (jupyter_kernel_test.KernelTests, jupyter_kernel_test.IopubWelcomeTests):
        samples = {name for name in own(tests) - set(inherited) if not callable(getattr(tests, name))}
        assert samples - own(Samples) <= {"kernel_name", "kc", "km"}
