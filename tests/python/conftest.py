"""Fixtures: running kernels, started both ways, and clients of them."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from callboard.ipython import compiler
from jupyter_client.channels import HBChannel
from support import WAYS, Client, Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds after which a test or its set-up is ended, so that a hang becomes a failure.
LIMIT = 150

# Objects that tests leave may warn when they are collected; pytest then parses while Python is parsing.
compiler.install()

_failed = pytest.StashKey[bool]()


def _limited() -> Iterator[None]:
    def give_up(_signum: int, _frame: object) -> None:
        raise TimeoutError(f"not done after {LIMIT} seconds")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    return (yield from _limited())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    return (yield from _limited())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    return (yield from _limited())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


@pytest.fixture(scope="module", autouse=True)
def _no_heartbeat_goes_on() -> Iterator[None]:
    """Fails when a client was not stopped: its heartbeat would go on to ask the port, and the next kernel on it."""
    yield
    assert not [thread for thread in threading.enumerate() if isinstance(thread, HBChannel)]


class Shared:
    """A kernel for all tests of a module, replaced after a test that fails."""

    def __init__(self, start: Callable[[], Kernel]) -> None:
        self._start = start
        self._kernel: Kernel | None = None

    def get(self) -> Kernel:
        if self._kernel is None or not self._kernel.alive:
            self.drop()
            self._kernel = self._start()
        return self._kernel

    def drop(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """The way a kernel is started: ``python -m callboard``, or the `kernel` binary."""
    return request.param


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop of the main thread, for modules whose `options` name it."""
    return request.param


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    """The command line of the kernels; modules have their own."""
    return ()


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter that runs the kernels; folders have their own."""
    return sys.executable


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """Variables of the environment of the kernels; modules have their own."""
    return {}


@pytest.fixture(scope="module")
def _shared(
    way: str,
    options: tuple[str, ...],
    environment: dict[str, str],
    python: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shared]:
    shared = Shared(lambda: Kernel(way, tmp_path_factory.mktemp("kernel"), *options, python=python, **environment))
    yield shared
    shared.drop()


@pytest.fixture
def kernel(_shared: Shared, request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """A kernel that the tests of a module share."""
    kernel = _shared.get()
    yield kernel
    if request.node.stash.get(_failed, False):
        print(f"--- terminal of the kernel ---\n{kernel.terminal}")
        _shared.drop()


@pytest.fixture
def client(kernel: Kernel) -> Iterator[Client]:
    """A frontend of the shared kernel, with nothing received yet."""
    with kernel.connect() as client:
        yield client


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for Unix sockets, whose paths may have no more than about 100 characters. A test names it before the
    fixtures that start kernels, so that they end before it is removed."""
    path = Path(tempfile.mkdtemp())
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start_kernel(
    way: str, options: tuple[str, ...], environment: dict[str, str], python: str, tmp_path: Path
) -> Iterator[Callable[..., Kernel]]:
    """Starts kernels that the test has for itself: ``start_kernel(*options, wrapper=command, **environment)``; with
    ``folder``, their files are there."""
    started: list[Kernel] = []

    def start(*more: str, folder: Path | None = None, **env: Any) -> Kernel:
        folder = folder or tmp_path / f"kernel{len(started)}"
        folder.mkdir(exist_ok=True)
        started.append(Kernel(way, folder, *options, *more, python=python, **{**environment, **env}))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()
        print(f"--- terminal of a kernel ---\n{kernel.terminal}")


@pytest.fixture
def fresh_kernel(start_kernel: Callable[..., Kernel]) -> Kernel:
    """A kernel that the test has for itself, and may end."""
    return start_kernel()


@pytest.fixture
def fresh_client(fresh_kernel: Kernel) -> Iterator[Client]:
    """A frontend of the fresh kernel."""
    with fresh_kernel.connect() as client:
        yield client


@pytest.fixture(params=["message", "signal"])
def how(request: pytest.FixtureRequest) -> str:
    """The way a test interrupts: see `support.interrupt`."""
    return request.param
