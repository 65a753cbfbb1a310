"""Run modes: how a cell names one, and where it then runs beside the queue."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from cells_at_once import WAITS, Held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Client, Kernel, Run


#: What a cell says of where it runs.
WHERE = (
    "import threading, callboard\n"
    "print(threading.current_thread().name, callboard.Caller().name, callboard.Caller().backend, sep='|')"
)


def mode_of(run: Run) -> tuple[str, str]:
    """The mode that a cell with the code `WHERE` has run in, and the name of its Caller."""
    thread, name, _backend = run.stdout.split("|")
    return ("main" if thread == "MainThread" else "thread"), name


@pytest.mark.parametrize(
    "parts",
    [
        {"code": "# task"},
        {"code": "## task"},
        {"code": "\n\n#  task "},
        {"code": "", "metadata": {"tags": ["other", "task"]}},
        {"code": "", "metadata": {"tags": ["# task"]}},
        {"code": "", "metadata": {"run_mode": "task"}},
        {"code": "", "metadata": {"run_mode": "# task"}},
        {"code": "", "header": {"run_mode": "task"}},
        # The first that names a mode counts.
        {"code": "# queue", "metadata": {"tags": ["task"]}},
        {"code": "# queue", "metadata": {"tags": ["queue"], "run_mode": "task"}},
        {"code": "# thread", "metadata": {"tags": ["queue"], "run_mode": "thread"}, "header": {"run_mode": "task"}},
    ],
    ids=str,
)
def test_a_task_runs_beside_the_queue_in_the_shells_thread(
    client: Client, hold: Callable[[str], Held], parts: dict[str, Any]
) -> None:
    cell = hold("await")
    run = client.run(**{**parts, "code": f"{parts['code']}\n{WHERE}"})
    assert mode_of(run) == ("main", "Shell")
    assert cell.is_running()
    assert cell.release().status == "ok"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"code": "# thread"}, "callboard_caller"),
        ({"code": '# thread name="My thread"'}, "My thread"),
        ({"code": "# thread name='My thread' use_uvloop=False"}, "My thread"),
        ({"code": "", "metadata": {"tags": ["thread"]}}, "callboard_caller"),
        ({"code": "", "metadata": {"tags": ["a", 'thread name="My thread"']}}, "My thread"),
        ({"code": "", "metadata": {"run_mode": "# thread name=tagged"}}, "tagged"),
        ({"code": "", "header": {"run_mode": "thread name=header"}}, "header"),
        ({"code": "# task", "metadata": {"tags": ["thread name=tag"]}}, "tag"),
        ({"code": "# task", "metadata": {"tags": ["task"], "run_mode": "thread name=meta"}}, "meta"),
        ({"code": "# task", "metadata": {"run_mode": "task"}, "header": {"run_mode": "thread"}}, "callboard_caller"),
    ],
    ids=str,
)
def test_a_thread_runs_beside_a_cell_that_blocks(
    client: Client, hold: Callable[[str], Held], parts: dict[str, Any], name: str
) -> None:
    cell = hold("block")
    run = client.run(**{**parts, "code": f"{parts['code']}\n{WHERE}"})
    assert mode_of(run) == ("thread", name)
    assert cell.is_running()
    assert cell.release().status == "ok"


@pytest.mark.parametrize("how", WAITS)
def test_threads_start_whatever_the_queued_cell_does(client: Client, hold: Callable[[str], Held], how: str) -> None:
    cell = hold(how)
    runs = [client.run(f"# thread\n{n} * 2") for n in range(3)]
    assert [run.result for run in runs] == ["0", "2", "4"]
    assert cell.is_running()
    # Awaiting works in a thread.
    assert client.run("# thread\nawait callboard.Caller().call_soon(lambda: 'called')").result == "'called'"


def test_queued_cells_keep_their_order_beside_others(client: Client, hold: Callable[[str], Held]) -> None:
    cell = hold("await")
    client.run("# task\norder = []")
    queued = [client.execute(f"order.append({n})") for n in range(3)]
    client.run("# task\norder.append('task')")
    client.run("# thread\norder.append('thread')")
    cell.release()
    for msg_id in queued:
        client.finish(msg_id)
    assert client.run("order").result == "['task', 'thread', 0, 1, 2]"


def test_the_backend_of_a_thread_is_chosen(client: Client, backend: str) -> None:
    for chosen in ("asyncio", "trio"):
        code = f"# thread name=on_{chosen} backend={chosen}\n{WHERE}\nimport sniffio\nsniffio.current_async_library()"
        run = client.run(code)
        assert run.stdout == f"on_{chosen}|on_{chosen}|{chosen}\n"
        assert run.result == repr(chosen)
    other = {"asyncio": "trio", "trio": "asyncio"}[backend]
    assert client.run(f"# thread\n{WHERE}").stdout.endswith(f"|{backend}\n")
    assert client.run(f"# thread backend={other}\n{WHERE}").stdout.endswith(f"|{other}\n")
    sleep = {"asyncio": "import asyncio\nawait asyncio.sleep(0)", "trio": "import trio\nawait trio.sleep(0)"}
    for chosen in ("asyncio", "trio"):
        assert client.run(f"# thread backend={chosen}\n{sleep[chosen]}\n'slept'").result == "'slept'"


def test_uvloop_is_chosen_or_not(client: Client) -> None:
    kind = "import asyncio\ntype(asyncio.get_running_loop()).__module__"
    assert "uvloop" in client.run(f"# thread backend=asyncio use_uvloop=true name=uv\n{kind}").result
    assert "uvloop" not in client.run(f"# thread backend=asyncio use_uvloop=false name=no_uv\n{kind}").result


def test_a_named_thread_is_kept_and_its_cells_run_at_once(client: Client) -> None:
    first = client.start(
        "# thread name=kept\nimport callboard, threading\nkept, ident = callboard.Pending(), threading.get_ident()\n"
        "print('started')\nawait kept\n'released'"
    )
    assert (
        client.run("# thread name=kept\nkept.set_result(None), threading.get_ident() == ident").result == "(None, True)"
    )
    assert client.finish(first).result == "'released'"


def test_a_worker_is_used_again(client: Client) -> None:
    code = "# thread\nimport threading\nthreading.get_ident()"
    assert client.run(code).result == client.run(code).result


@pytest.mark.parametrize(
    "code",
    [
        "# thread nam=x",
        "# thread name=",
        "# thread backend=curio",
        "# thread use_uvloop=perhaps",
        '# thread name="open',
        "# thread name=a b",
    ],
)
def test_bad_options_fail_that_cell_alone_and_name_the_good_ones(
    client: Client, hold: Callable[[str], Held], code: str
) -> None:
    cell = hold("await")
    client.run("# task\nran = []")
    queued = client.execute("ran.append('queued')")
    run = client.run(f"{code}\nran.append('never')")
    assert run.status == "error"
    assert run.types == ["busy", "error", "idle"]
    assert run.error["ename"] == run.reply["ename"] == "RunModeError"
    assert run.error["traceback"]
    if "open" not in code:
        assert 'name="...", backend=asyncio|trio, use_uvloop=true|false' in run.error["evalue"]
    cell.release()
    assert client.finish(queued).status == "ok"
    assert client.run("ran").result == "['queued']"


@pytest.mark.parametrize("parts", [{"metadata": {"run_mode": "later"}}, {"header": {"run_mode": 5}}], ids=str)
def test_a_mode_that_does_not_exist_is_refused(client: Client, parts: dict[str, Any]) -> None:
    run = client.run("1", **parts)
    assert run.error["ename"] == "RunModeError"
    assert "use queue, task, thread" in run.error["evalue"]


def test_comments_and_tags_of_other_kinds_name_no_mode(client: Client) -> None:
    for code in ("# tasks", "# thread safety", "#task", "x = 1 # task"):
        assert client.run(f"{code}\n{WHERE}", metadata={"tags": ["tasks", "hide"]}).stdout.startswith("MainThread")


def test_a_backend_that_differs_from_that_of_a_named_thread_is_an_error(client: Client) -> None:
    client.run("# thread name=fixed backend=asyncio\n1")
    run = client.run("# thread name=fixed backend=trio\n1")
    assert run.status == "error"
    assert "'fixed'" in run.error["evalue"].replace('"', "'")
    assert "asyncio" in run.error["evalue"]
    assert client.run("# thread name=fixed\n'there'").result == "'there'"


def test_an_event_loop_that_is_not_installed_says_how_to_install_it(
    start_kernel: Callable[..., Kernel], tmp_path: Path, backend: str
) -> None:
    for name in ("trio", "uvloop"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('no {name}', name='{name}')")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    kernel = start_kernel(PYTHONPATH=path)
    if backend == "trio":
        assert kernel.wait_end() == 1
        assert "trio is not installed: " in kernel.terminal
        assert "pip install trio" in kernel.terminal
        return
    with kernel.connect() as client:
        for option, name in (("backend=trio", "trio"), ("use_uvloop=true", "uvloop")):
            for named in ("", f"name={name} "):
                run = client.run(f"# thread {named}{option}\n1")
                assert run.status == "error"
                assert f"{name} is not installed" in run.error["evalue"]
                assert f"pip install {name}" in run.error["evalue"]
        assert client.run("# thread\n'still here'").result == "'still here'"
        assert client.run("'still here'").result == "'still here'"


def test_a_thread_that_cannot_be_had_is_told_to_its_cell(start_kernel: Callable[..., Kernel]) -> None:
    with start_kernel().connect() as client:
        # The thread that starts others is there when it answers.
        client.ask("is_complete_request", {"code": "1"})
        client.run("import os, resource\nsoft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)")
        set_limit = "resource.setrlimit(resource.RLIMIT_NOFILE, ({}, hard))"
        found = []
        for spare in range(12):
            client.run(set_limit.format(f"len(os.listdir('/proc/self/fd')) + {spare}"))
            run = client.run(f"# thread name=with_{spare}\n'here'")
            found.append(run.status)
            if run.status == "error":
                assert "Too many open files" in run.error["evalue"]
            else:
                assert run.result == "'here'"
            client.run(set_limit.format("soft"))
        assert "error" in found
        assert found[-1] == "ok"


def test_silent_code_does_not_wait_for_the_queue(client: Client, hold: Callable[[str], Held]) -> None:
    cell = hold("await")
    run = client.run("silent = 1", silent=True, store_history=False, user_expressions={"both": "silent + 1"})
    assert run.types == ["busy", "idle"]
    assert run.reply["user_expressions"]["both"]["data"] == {"text/plain": "2"}
    assert cell.is_running()
    # With `# queue` it waits.
    queued = client.execute("# queue\nsilent = 2", silent=True)
    assert client.run("# task\nsilent").result == "1"
    cell.release()
    client.finish(queued)
    assert client.run("silent").result == "2"


@pytest.mark.parametrize("mode", ["task", "thread"])
def test_a_cell_beside_the_queue_that_fails_aborts_nothing(
    client: Client, hold: Callable[[str], Held], mode: str
) -> None:
    cell = hold("await")
    queued = client.execute("'queued'")
    run = client.run(f"# {mode}\n1/0")
    assert run.status == "error"
    assert run.error["ename"] == "ZeroDivisionError"
    cell.release()
    assert client.finish(queued).result == "'queued'"


@pytest.mark.parametrize("mode", ["task", "thread"])
def test_an_interrupt_reaches_cells_beside_the_queue(client: Client, mode: str) -> None:
    msg_id = client.start(f"# {mode}\nimport callboard\nprint('started')\nawait callboard.Pending()")
    client.ask("interrupt_request", channel="control")
    assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    if mode == "thread":
        msg_id = client.start("# thread\nprint('started')\nwhile True: pass")
        client.ask("interrupt_request", channel="control")
        assert client.finish(msg_id, timeout=20).reply["ename"] == "KeyboardInterrupt"
    assert client.run(f"# {mode}\n'alive'").result == "'alive'"
