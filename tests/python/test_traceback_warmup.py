"""Warms up the libraries of tracebacks while a cell runs for long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client

LOADED = "import sys\ndef loaded(): return 'pygments.lexers.python' in sys.modules and 'stack_data' in sys.modules"


@pytest.mark.parametrize("wait", ["pass", "time.sleep(0.01)", "await asyncio.sleep(0.01)"])
def test_what_tracebacks_need_is_loaded_while_a_cell_runs_and_shows_nothing(fresh_client: Client, wait: str) -> None:
    assert fresh_client.run(f"{LOADED}\nloaded()").result == "False"
    run = fresh_client.run(f"import asyncio, time\nwhile not loaded():\n    {wait}")
    assert run.types == ["busy", "execute_input", "idle"]
    assert fresh_client.run("hasattr(sys, 'last_value')").result == "False"


def test_files_that_a_waiting_cell_would_show_are_read_before_it_is_interrupted(fresh_client: Client) -> None:
    code = """
        import asyncio, sys, threading
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        def files():
            sources = getattr(sys.modules.get("stack_data"), "Source", None)
            return list(sources.__dict__.get("__source_cache_with_lines", ())) if sources else []
        def watch():
            while not any(file[0].endswith("asyncio/locks.py") for file in files()):
                pass
            loop.call_soon_threadsafe(event.set)
        threading.Thread(target=watch, daemon=True).start()
        await event.wait()
        """
    assert fresh_client.run(code).status == "ok"


@pytest.mark.parametrize("moment", [0.08, 0.12, 0.2, 0.3])
def test_an_interrupt_during_the_warmup_is_shown_as_usual(fresh_client: Client, moment: float) -> None:
    code = f"""
        import os, signal, threading
        threading.Timer({moment}, os.kill, (os.getpid(), signal.SIGINT)).start()
        while True: pass
        """
    run = fresh_client.run(code)
    assert run.error["ename"] == "KeyboardInterrupt"
    assert any("while" in line for line in run.error["traceback"])
