"""The event loops that a kernel's main thread can run on, for the tests in `faults`."""

from __future__ import annotations

import pytest

#: Runs a module's tests on each loop: ``pytestmark = ON_EACH_LOOP``.
ON_EACH_LOOP = pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"], indirect=True, scope="module")

#: As `ON_EACH_LOOP`, for what concerns asyncio only.
ON_ASYNCIO_LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"], indirect=True, scope="module")
