"""Run modes: cells beside the queue, as tasks and in threads, and many of them at the same time."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from support import Deadline, Run, parent_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import Client, Kernel, Message

#: What a cell says of where it runs.
WHERE = (
    "import threading, callboard\n"
    "print(threading.current_thread().name, callboard.Caller().name, callboard.Caller().backend, sep='|')"
)


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """Whose event loop the main thread runs."""
    return request.param


@pytest.fixture(scope="module")
def options(backend: str) -> tuple[str, ...]:
    return ("--backend", backend)


class Held:
    """A cell in the main shell's queue that goes on until it is released."""

    def __init__(self, client: Client, wait: str) -> None:
        self._client = client
        client.run("import threading, callboard\nheld, gate = threading.Event(), callboard.Pending()")
        self.msg_id = client.start(f"print('started')\n{wait}")

    def is_running(self) -> bool:
        return not self._client.replied(self.msg_id)

    def release(self) -> Run:
        """Lets it end. Returns what came of it."""
        self._client.run("held.set(), gate.set_result(None)", channel="control")
        return self._client.finish(self.msg_id)


WAITS = {
    "await": "await gate",
    "block": "held.wait()",
    "compute": "while not held.is_set(): pass",
}


@pytest.fixture
def hold(client: Client) -> Iterator[Callable[[str], Held]]:
    """Puts a cell into the queue that does not end by itself: ``hold("await")``."""
    cells: list[Held] = []

    def hold(how: str) -> Held:
        cells.append(Held(client, WAITS[how]))
        return cells[-1]

    yield hold
    for cell in cells:
        cell.release()


def finish_all(client: Client, msg_ids: list[str], timeout: float = 100) -> dict[str, Run]:
    """Waits for the ends of many cells, and looks at each message once."""
    left, deadline = set(msg_ids), Deadline(timeout)
    messages: dict[str | None, list[Message]] = defaultdict(list)
    seen = 0
    while True:
        for message in client.log[seen:]:
            messages[parent_id(message)].append(message)
            if message["content"].get("execution_state") == "idle":
                left.discard(parent_id(message) or "")
        seen = len(client.log)
        if not left:
            break
        client._receive("iopub", deadline, f"the idle of {len(left)} cells")
    replies: dict[str | None, Any] = {}
    while not replies.keys() >= set(msg_ids):
        replies = {parent_id(reply): reply["content"] for reply in client.replies()}
        if not replies.keys() >= set(msg_ids):
            client._receive("shell", deadline, "the replies")
    return {msg_id: Run(msg_id, replies[msg_id], messages[msg_id]) for msg_id in msg_ids}


# -- how a mode is named ------------------------------------------------------------------------------------


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
        # What comes first counts.
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
    # One that wants to wait says so.
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


# -- many at the same time ----------------------------------------------------------------------------------


def check_each(runs: dict[str, Run], expected: dict[str, Callable[[int], tuple[str, str]]] | Any) -> None:
    """Each cell has its own number, its own output and nothing of another one."""
    numbers = set()
    for n, run in enumerate(runs.values()):
        stdout, result = expected(n)
        assert run.status == "ok"
        assert run.stdout == stdout
        assert run.result == result
        (given,) = run.contents("execute_input")
        (shown,) = run.contents("execute_result")
        assert given["execution_count"] == shown["execution_count"] == run.reply["execution_count"]
        numbers.add(run.reply["execution_count"])
    assert len(numbers) == len(runs)


def test_two_thousand_tasks_wait_at_once(client: Client, hold: Callable[[str], Held]) -> None:
    cell = hold("await")
    client.run("# task\nwaiting, start = 0, callboard.Pending()")
    code = "# task\nwaiting += 1\nawait start.wait(protect=True)\nprint('task', {n})\n{n} * 3"
    # A ZMQ socket holds a thousand messages a client: more go out as they are read.
    ids = []
    for n in range(2000):
        ids.append(client.execute(code.format(n=n)))
        if n % 200 == 199:
            client.wait(lambda m, last=ids[-1]: parent_id(m) == last and m["msg_type"] == "execute_input")
    assert client.run("# task\nwaiting").result == "2000"
    client.run("# task\nstart.set_result(None)")
    check_each(finish_all(client, ids), lambda n: (f"task {n}\n", str(n * 3)))
    assert cell.is_running()
    assert (
        client.run("# task\nlen([t for t in callboard.Caller('MainThread').running.values() if t.is_cell])").result
        == "2"
    )


def test_five_hundred_threads_sleep_at_once(client: Client, hold: Callable[[str], Held]) -> None:
    cell = hold("block")
    client.run("# thread\nlatch = threading.Barrier(501)")
    ids = [client.execute(f"# thread\nplace = latch.wait()\nprint('thread', {n})\n{n} * 3") for n in range(500)]
    for msg_id in ids:
        client.wait(lambda m, msg_id=msg_id: parent_id(m) == msg_id and m["msg_type"] == "execute_input")
    last = client.run("# thread\nlatch.wait() < 501")
    assert last.result == "True"
    check_each(finish_all(client, ids), lambda n: (f"thread {n}\n", str(n * 3)))
    assert cell.is_running()
    cell.release()
    # Ten workers are kept.
    left = (
        "from callboard import Caller\nworkers = [c for c in Caller.all_callers() if c.name == 'callboard_caller']\n"
        "for worker in workers:\n    if worker.stopping.done(): worker.stopped.wait_sync(timeout=30)\n"
        "sum(not w.stopped.done() for w in workers)"
    )
    assert int(client.run(left).result or "") <= 11


# -- what each cell has for itself --------------------------------------------------------------------------

MODES = ["task", "thread"]


def start_together(client: Client, mode: str, bodies: list[str]) -> list[Run]:
    """Runs cells that all have begun before the first of them goes on."""
    client.run("import callboard, threading\ngates = [callboard.Pending() for _ in range(100)]\nbegun = []")
    ids = [
        client.start(f"# {mode}\nprint('started')\nawait gates[{n}].wait(protect=True)\n{body}")
        for n, body in enumerate(bodies)
    ]
    # The last to begin is the first to go on.
    client.run("for gate in reversed(gates): gate.set_result(None)")
    return list(finish_all(client, ids).values())


@pytest.mark.parametrize("mode", MODES)
def test_out_and_in_belong_to_each_cell(client: Client, mode: str) -> None:
    bodies = [f"'value {n}'" for n in range(20)]
    runs = start_together(client, mode, bodies)
    numbers = [run.reply["execution_count"] for run in runs]
    assert len(set(numbers)) == len(runs)
    for n, (run, number) in enumerate(zip(runs, numbers, strict=True)):
        assert run.result == repr(f"'value {n}'")[1:-1]
        (given,) = run.contents("execute_input")
        assert given["execution_count"] == number
        assert given["code"].endswith(f"'value {n}'")
    found = client.run(f"[(Out[n], In[n].splitlines()[-1], eval(f'_{{n}}')) for n in {numbers}]").result
    assert eval(found or "") == [(f"value {n}", body, f"value {n}") for n, body in enumerate(bodies)]
    history = client.ask(
        "history_request",
        {
            "hist_access_type": "range",
            "session": 0,
            "start": numbers[0],
            "stop": numbers[-1] + 1,
            "raw": True,
            "output": False,
        },
    )
    assert [(line, text.splitlines()[-1]) for _, line, text in history["history"]] == list(
        zip(numbers, bodies, strict=True)
    )


@pytest.mark.parametrize("mode", MODES)
def test_history_of_cells_that_ran_at_once_is_written_once_each(client: Client, mode: str) -> None:
    bodies = [f"'{mode} kept {n}'" for n in range(30)]
    runs = start_together(client, mode, bodies)
    numbers = [run.reply["execution_count"] for run in runs]
    read = (
        "_hm = get_ipython().history_manager\n_hm.writeout_cache()\n"
        f"[(line, text.splitlines()[-1]) for _, line, text in _hm._run_sql("
        f"'WHERE session == ? AND line >= {numbers[0]} AND line <= {numbers[-1]}', (_hm.session_number,))]"
    )
    assert eval(client.run(read).result or "") == list(zip(numbers, bodies, strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_a_semicolon_silences_its_own_cell(client: Client, mode: str) -> None:
    runs = start_together(client, mode, ["'loud'", "'quiet';", "'loud too'", "'quiet too';  # why"])
    assert [run.result for run in runs] == ["'loud'", None, "'loud too'", None]


@pytest.mark.parametrize("mode", MODES)
def test_a_traceback_belongs_to_its_cell(client: Client, mode: str) -> None:
    errors = [f"def fail_{n}():\n    raise ValueError('error {n}')\nfail_{n}()" for n in range(10)]
    errors += ["x = = 1", "import nothing_of_this_name", "raise KeyboardInterrupt('mine')"]
    bodies = [body if n < 10 else f"get_ipython().run_cell({body!r}).raise_error()" for n, body in enumerate(errors)]
    runs = start_together(client, mode, bodies)
    for n, run in enumerate(runs[:10]):
        assert run.error["ename"] == run.reply["ename"] == "ValueError"
        assert run.error["evalue"] == f"error {n}"
        text = "\n".join(run.error["traceback"])
        assert f"fail_{n}" in text.replace("\x1b[39m", "")
        assert f"In[{run.reply['execution_count']}]" in text
    assert [run.reply["ename"] for run in runs[10:]] == ["SyntaxError", "ModuleNotFoundError", "KeyboardInterrupt"]


@pytest.mark.parametrize("mode", MODES)
def test_payloads_go_into_the_reply_of_their_cell(client: Client, mode: str) -> None:
    runs = start_together(
        client,
        mode,
        ["get_ipython().set_next_input('next 0')", "1", "?len", "get_ipython().set_next_input('next 3', replace=True)"],
    )
    payloads = [run.reply["payload"] for run in runs]
    assert payloads[0] == [{"source": "set_next_input", "text": "next 0", "replace": False}]
    assert payloads[1] == []
    assert [payload["source"] for payload in payloads[2]] == ["page"]
    assert "Return the number of items" in payloads[2][0]["data"]["text/plain"]
    assert payloads[3] == [{"source": "set_next_input", "text": "next 3", "replace": True}]


@pytest.mark.parametrize("mode", MODES)
def test_events_are_told_about_their_own_cell(client: Client, mode: str) -> None:
    client.run(
        "seen = []\n"
        "def before(info): seen.append(('pre', info.raw_cell.splitlines()[-1], get_ipython().get_parent()['msg_id']))\n"
        "def after(result):\n    code = result.info.raw_cell.splitlines()[-1]\n"
        "    parent = get_ipython().get_parent()['msg_id']\n"
        "    seen.append(('post', code, result.result, result.execution_count, parent))\n"
        "ip = get_ipython()\nip.events.register('pre_run_cell', before), ip.events.register('post_run_cell', after)"
    )
    runs = start_together(client, mode, [f"{n} + 100" for n in range(10)])
    client.run("ip.events.unregister('pre_run_cell', before), ip.events.unregister('post_run_cell', after)")
    seen = eval(client.run("seen").result or "")
    for n, run in enumerate(runs):
        code, parent = f"{n} + 100", run.msg_id
        assert seen.count(("pre", code, parent)) == 1
        assert seen.count(("post", code, n + 100, run.reply["execution_count"], parent)) == 1
        assert run.result == str(n + 100)


@pytest.mark.parametrize("mode", MODES)
def test_user_expressions_and_what_a_cell_knows_of_itself(client: Client, mode: str) -> None:
    know = (
        "ip = get_ipython()\n"
        "(ip.execution_count, ip.displayhook.prompt_count, ip.get_parent()['header']['msg_id'], "
        "ip.parent_header['msg_id'])"
    )
    runs = start_together(client, mode, [know] * 5)
    for run in runs:
        number = run.reply["execution_count"]
        assert eval(run.result or "") == (number + 1, number, run.msg_id, run.msg_id)


@pytest.mark.parametrize("mode", MODES)
def test_nested_cells_do_not_turn_the_count_back(client: Client, mode: str) -> None:
    client.run("import callboard\ngate = callboard.Pending()")
    early = client.start(
        f"# {mode}\nprint('started')\nawait gate\nget_ipython().run_cell('nested = 1', store_history=True)"
    )
    count = [client.run("1").reply["execution_count"] for _ in range(5)][-1]
    client.run("gate.set_result(None)")
    client.finish(early)
    assert client.run("1").reply["execution_count"] > count + 1


def test_the_count_can_be_set_by_the_user(client: Client) -> None:
    client.run("get_ipython().execution_count = 5000")
    assert client.run("1").reply["execution_count"] == 5000
    assert client.run("# task\n1").reply["execution_count"] == 5001


def test_threads_and_tasks_that_print_display_and_raise_keep_apart(client: Client) -> None:
    client.run(
        "import callboard, random, sys, threading\nfrom IPython.display import display, update_display\n"
        "class Shown:\n"
        "    def __init__(self, text): self.text = text\n"
        "    def _repr_mimebundle_(self, **_): return {'text/plain': self.text}\n"
        "turn = callboard.Caller().call_soon\n"
        "async def work(name, count):\n"
        "    handle = display(Shown(f'{name} begins'), display_id=name)\n"
        "    for n in range(count):\n"
        "        print(name, n)\n"
        "        print(name, n, file=sys.stderr)\n"
        "        if n % 5 == 0: display(Shown(f'{name} {n}'))\n"
        "        if n % 3 == 0: await callboard.Caller().call_soon(lambda: print(name, n, 'called'))\n"
        "    handle.update(Shown(f'{name} ends'))\n"
    )
    count = 30
    ids = {}
    for n in range(8):
        for mode in ("thread", f"thread name=mixed{n % 3}", "task"):
            name = f"{mode.split('=')[-1]}_{n}"
            end = f"raise ValueError('{name}')" if n % 2 else f"'{name}'"
            ids[client.execute(f"# {mode}\nawait work('{name}', {count})\n{end}")] = name, n
    runs = finish_all(client, list(ids))
    for msg_id, (name, n) in ids.items():
        run = runs[msg_id]
        stdout = "".join(f"{name} {i}\n" + (f"{name} {i} called\n" if i % 3 == 0 else "") for i in range(count))
        assert run.stdout == stdout
        assert run.stderr == "".join(f"{name} {i}\n" for i in range(count))
        shown = [content["data"]["text/plain"] for content in run.contents("display_data")]
        assert shown == [f"{name} begins", *(f"{name} {i}" for i in range(0, count, 5))]
        (update,) = run.contents("update_display_data")
        assert update["data"]["text/plain"] == f"{name} ends"
        assert update["transient"] == {"display_id": name}
        # Displays have their place among the lines.
        lines = ""
        for message in run.messages:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                lines += content["text"]
            elif message["msg_type"] == "display_data":
                lines += f"*{content['data']['text/plain']}\n"
        expected = f"*{name} begins\n"
        for i in range(count):
            expected += f"{name} {i}\n" + (f"*{name} {i}\n" if i % 5 == 0 else "")
            expected += f"{name} {i} called\n" if i % 3 == 0 else ""
        assert lines == expected
        if n % 2:
            assert (run.error["ename"], run.error["evalue"]) == ("ValueError", name)
        else:
            assert run.result == repr(name)


def test_many_threads_compile_and_fail_at_the_same_time(client: Client) -> None:
    client.run("import threading\ntogether = threading.Barrier(8)")
    for _ in range(5):
        ids = [
            client.execute(
                f"# thread\n_ = together.wait()\nfor i in range(50):\n"
                f"    r = await get_ipython().run_cell_async('await callboard.Caller().call_soon(int, 5)', "
                f"transformed_cell='await callboard.Caller().call_soon(int, 5)')\n    assert r.success, r\n"
                f"def f_{n}(x):\n    return x / 0\nf_{n}({n})"
            )
            for n in range(8)
        ]
        for n, run in enumerate(finish_all(client, ids).values()):
            assert run.error["ename"] == "ZeroDivisionError"
            text = "\n".join(run.error["traceback"])
            assert f"f_{n}" in text.replace("\x1b[39m", "")
            assert "getting" not in text, "the traceback could be made"


@pytest.mark.parametrize("mode", MODES)
def test_hooks_of_the_interpreter_are_what_they_were(client: Client, mode: str) -> None:
    look = (
        "import builtins, sys\nhooks = sys.excepthook, sys.displayhook, builtins.print, sys.stdout.write\n"
        "[(hook.__module__, hook.__qualname__) for hook in hooks]"
    )
    before = client.run(look).result
    start_together(client, mode, ["await callboard.Caller().call_soon(int, 1)"] * 5 + ["%time 1+1"] * 5)
    assert client.run(look).result == before
