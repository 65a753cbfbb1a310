"""The run modes, and tests that need one backend."""

from __future__ import annotations

import pytest

MODES = pytest.mark.parametrize("mode", ["", "# task\n", "# thread\n"], ids=["queue", "task", "thread"])
ON_ASYNCIO = pytest.mark.parametrize("backend", ["asyncio"], indirect=True)
ON_TRIO = pytest.mark.parametrize("backend", ["trio"], indirect=True)
