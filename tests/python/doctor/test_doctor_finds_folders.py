"""Where it looks for kernelspecs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from support import TIMEOUT

if TYPE_CHECKING:
    from doctor_tools import Doctor


def test_it_looks_where_jupyter_looks(doctor: Doctor) -> None:
    """In the same folders, in the same order."""
    code = "from jupyter_client.kernelspec import *; import json; print(json.dumps(KernelSpecManager().kernel_dirs))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=doctor.env, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    found = doctor.examine("--kernel", "nowhere").one("kernelspec", "kernelspec-missing", "error")
    assert found["facts"]["folders"] == json.loads(done.stdout)
