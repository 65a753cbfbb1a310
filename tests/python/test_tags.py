"""Tags that say what happens when a cell fails or takes too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support import Client, Run


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)


def tags(*names: Any) -> dict[str, Any]:
    """The metadata of a cell with these tags."""
    return {"tags": list(names)}


def run_with_another_behind(client: Client, code: str, *names: Any, **options: Any) -> tuple[Run, str]:
    """Runs a cell with these tags. Returns what came of it, and the status of a cell that waited behind it."""
    client.run("import callboard\ngate = callboard.Pending()")
    first = client.start(f"print('started')\nawait gate\n{code}", metadata=tags(*names), **options)
    behind = client.execute("'behind'")
    client.run("# task\ngate.set_result(None)")
    return client.finish(first), client.finish(behind).status


# -- failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "stop_on_error", "behind"),
    [
        ([], True, "aborted"),
        ([], False, "ok"),
        (["stop-on-error=true"], False, "aborted"),
        (["stop_on_error=True"], False, "aborted"),
        (["stop-on-error"], False, "aborted"),
        (["stop-on-error=false"], True, "ok"),
        (["stop_on_error=False"], True, "ok"),
        (["hide-input", "stop-on-error=false", "other=1"], True, "ok"),
        (["stop-on-error=perhaps"], True, "aborted"),
        (["raises-exception"], True, "ok"),
        (["raises_exception"], True, "ok"),
        (["raises-exception", "stop-on-error=true"], False, "aborted"),
        (["timeout=1000"], True, "ok"),
        (["timeout=1000", "stop-on-error=true"], True, "aborted"),
        (["timeout=0"], True, "aborted"),
        ([5, None, {"a": 1}, "=", ""], True, "aborted"),
    ],
    ids=str,
)
def test_what_becomes_of_the_cells_behind_one_that_fails(
    client: Client, names: list[Any], stop_on_error: bool, behind: str
) -> None:
    run, status = run_with_another_behind(client, "1/0", *names, stop_on_error=stop_on_error)
    assert run.status == "error"
    assert run.error["ename"] == run.reply["ename"] == "ZeroDivisionError"
    assert status == behind
    assert client.run("'next'").result == "'next'"


def test_a_cell_that_is_to_fail_and_does_not_fails(client: Client) -> None:
    run, status = run_with_another_behind(client, "'fine'", "raises-exception")
    assert run.status == "error"
    assert run.result == "'fine'"
    assert run.error["ename"] == run.reply["ename"] == "RuntimeError"
    assert "raises-exception" in run.error["evalue"]
    assert status == "ok"


@pytest.mark.parametrize("mode", ["# task", "# thread"])
def test_tags_hold_in_tasks_and_threads(client: Client, mode: str) -> None:
    assert client.run(f"{mode}\n1", metadata=tags("raises-exception")).reply["ename"] == "RuntimeError"
    assert client.run(f"{mode}\n1/0", metadata=tags("raises-exception")).reply["ename"] == "ZeroDivisionError"
    assert client.run(f"{mode}\n1/0", metadata=tags("suppress-error")).status == "ok"


def test_a_suppressed_error_is_not_shown(client: Client) -> None:
    run, status = run_with_another_behind(
        client, "print('before')\n1/0", "suppress-error", user_expressions={"a": "1 + 1"}
    )
    assert run.status == status == "ok"
    assert run.contents("error") == []
    assert run.stdout == "started\nbefore\n\N{WARNING SIGN}\n"
    assert run.stderr == ""
    assert run.reply["user_expressions"]["a"]["data"] == {"text/plain": "2"}
    assert "traceback" not in run.reply


@pytest.mark.parametrize(
    "code", ["x = = 1", "import nothing_of_this_name", "raise KeyboardInterrupt", "raise SystemExit", "%nothing"]
)
def test_any_error_is_suppressed(client: Client, code: str) -> None:
    run = client.run(code, metadata=tags("suppress-error"))
    assert run.status == "ok"
    assert run.contents("error") == []
    assert client.run("'next'").result == "'next'"


def test_both_suppressed_and_expected(client: Client) -> None:
    assert client.run("1/0", metadata=tags("suppress-error", "raises-exception")).status == "ok"
    assert client.run("1", metadata=tags("suppress-error", "raises-exception")).status == "ok"


def test_metadata_without_tags_says_nothing(client: Client) -> None:
    for metadata in ({}, {"tags": None}, {"tags": "raises-exception"}, {"tags": {"raises-exception": 1}}, {"tags": 5}):
        assert client.run("'fine'", metadata=metadata).result == "'fine'"


# -- time ---------------------------------------------------------------------------------------------------

LONG = {
    "await": {"asyncio": "import asyncio\nawait asyncio.sleep(1000)", "trio": "import trio\nawait trio.sleep(1000)"},
    "pending": "import callboard\nawait callboard.Pending()",
    "compute": "n = 0\nwhile True: n += 1",
    "print": "import time\nwhile True: print('.', end='')",
    "busy task": {
        "asyncio": "import asyncio\nwhile True: await asyncio.sleep(0)",
        "trio": "import trio\nwhile True: await trio.sleep(0)",
    },
}

#: Calls that only a signal to the main thread can interrupt.
BLOCKING = {
    "sleep": "import time\ntime.sleep(1000)",
    "event": "import threading\nthreading.Event().wait()",
    "process": "import subprocess\nsubprocess.run(['sleep', '1000'])",
    "call": (
        "import callboard\ncallboard.Caller().get(name='elsewhere').call_soon(callboard.Pending().wait).wait_sync()"
    ),
}


def code_of(kind: str, backend: str) -> str:
    code = {**LONG, **BLOCKING}[kind]
    return code if isinstance(code, str) else code[backend]


def check_timeout(run: Run, seconds: str = "0.3") -> None:
    assert run.status == "error"
    assert run.reply["ename"] == run.error["ename"] == "TimeoutError"
    assert f"longer than {seconds} seconds" in run.error["evalue"]
    assert run.error["traceback"]
    assert isinstance(run.reply["execution_count"], int)


@pytest.mark.parametrize("kind", [*LONG, *BLOCKING])
def test_a_cell_that_takes_too_long_ends(client: Client, backend: str, kind: str) -> None:
    run, status = run_with_another_behind(client, code_of(kind, backend), "timeout=0.3")
    check_timeout(run)
    assert status == "ok"
    assert client.run("'next'").result == "'next'"


@pytest.mark.parametrize("mode", ["# task", "# thread", "# thread name=timed"])
@pytest.mark.parametrize("kind", LONG)
def test_a_cell_beside_the_queue_that_takes_too_long_ends(client: Client, backend: str, mode: str, kind: str) -> None:
    check_timeout(client.run(f"{mode}\n{code_of(kind, backend)}", metadata=tags("timeout=0.3")))
    assert client.run(f"{mode}\n'next'").result == "'next'"


def test_a_thread_that_cannot_be_interrupted_is_left_behind(client: Client) -> None:
    client.run("import threading\nleft_behind = threading.Event()")
    run = client.run("# thread\nleft_behind.wait()\nprint('too late')\n1/0", metadata=tags("timeout=0.3"))
    check_timeout(run)
    assert "goes on" in run.error["evalue"]
    assert client.run("# thread\n'another worker'").result == "'another worker'"
    client.run("left_behind.set()")
    assert client.run("# thread\n'next'").result == "'next'"
    client.ask("kernel_info_request")
    assert len([m for m in client.published(run.msg_id) if m["msg_type"] == "error"]) == 1


def test_a_subshell_that_takes_too_long_goes_on(client: Client, backend: str) -> None:
    header = {"subshell_id": client.ask("create_subshell_request", channel="control")["subshell_id"]}
    for kind in LONG:
        msg_id = client.execute(code_of(kind, backend), header=header, metadata=tags("timeout=0.3"))
        behind = client.execute("'behind'", header=header)
        check_timeout(client.finish(msg_id))
        assert client.finish(behind).result == "'behind'"
    client.run("import threading\nof_sub = threading.Event()")
    msg_id = client.execute("of_sub.wait()", header=header, metadata=tags("timeout=0.3"))
    behind = client.execute("'behind'", header=header)
    check_timeout(client.finish(msg_id))
    client.run("of_sub.set()")
    assert client.finish(behind).result == "'behind'"
    client.ask("delete_subshell_request", header, channel="control")


def test_a_cell_on_the_control_channel_that_takes_too_long_ends(client: Client) -> None:
    run = client.run("import callboard\nawait callboard.Pending()", channel="control", metadata=tags("timeout=0.3"))
    check_timeout(run)
    assert client.run("'next'", channel="control").result == "'next'"


def test_each_cell_has_its_own_time(client: Client) -> None:
    held = client.start(
        "print('started')\nimport callboard\ngate = callboard.Pending()\nawait gate\n'in time'",
        metadata=tags("timeout=1000"),
    )
    short = [client.execute("# task\nawait callboard.Pending()", metadata=tags("timeout=0.3")) for _ in range(20)]
    short += [client.execute("# thread\nawait callboard.Pending()", metadata=tags("timeout=0.3")) for _ in range(5)]
    for msg_id in short:
        check_timeout(client.finish(msg_id))
    client.run("# task\ngate.set_result(None)")
    assert client.finish(held).result == "'in time'"


def test_a_task_whose_time_is_up_does_not_hit_the_cell_that_runs(client: Client) -> None:
    client.run("import callboard, threading\ntask_began = threading.Event()")
    task = client.execute("# task\ntask_began.set()\nawait callboard.Pending()", metadata=tags("timeout=0.3"))
    client.wait(lambda m: m["parent_header"].get("msg_id") == task and m["msg_type"] == "execute_input")
    busy = client.start(
        "print('started')\nimport time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass\n'not hit'"
    )
    assert client.finish(busy).result == "'not hit'"
    check_timeout(client.finish(task))


def test_cells_that_are_quick_enough_are_left_alone(client: Client) -> None:
    for mode in ("", "# task\n", "# thread\n"):
        for n in range(10):
            assert client.run(f"{mode}{n}", metadata=tags("timeout=30")).result == str(n)
    # A timeout between two cells hits neither.
    for n in range(100):
        run = client.run("pass", metadata=tags("timeout=0.002"))
        assert run.status == "ok" or run.reply["ename"] == "TimeoutError"
        assert client.run(f"{n}").result == str(n)


def test_a_cell_may_clean_up_when_its_time_is_up(client: Client, backend: str) -> None:
    for kind in ("pending", "compute"):
        run = client.run(
            f"try:\n    {code_of(kind, backend).replace(chr(10), chr(10) + '    ')}\nfinally:\n    print('cleaned up')",
            metadata=tags("timeout=0.3"),
        )
        check_timeout(run)
        assert run.stdout == "cleaned up\n"


def test_an_interrupt_of_a_cell_with_a_time_is_an_interrupt(client: Client) -> None:
    for mode in ("", "# task\n", "# thread\n"):
        msg_id = client.start(
            f"{mode}print('started')\nimport callboard\nawait callboard.Pending()", metadata=tags("timeout=1000")
        )
        client.ask("interrupt_request", channel="control")
        assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"


def test_a_suppressed_timeout(client: Client, backend: str) -> None:
    for kind in ("pending", "compute"):
        run = client.run(code_of(kind, backend), metadata=tags("timeout=0.3", "suppress-error"))
        assert run.status == "ok"
        assert run.contents("error") == []


@pytest.mark.parametrize("value", ["0", "-1", "soon", "", "inf", "nan"])
def test_times_that_are_none_are_left_out(client: Client, value: str) -> None:
    assert client.run("'fine'", metadata=tags(f"timeout={value}")).result == "'fine'"
