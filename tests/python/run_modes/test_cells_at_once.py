"""Cells that run at the same time: each has its own output, count, error and payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cells_at_once import Held, finish_all
from support import Run, parent_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client


# -- many at the same time -----------------------------------------------------------------------------


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
    assert client.run("# task\nlen(callboard.Caller('MainThread').loop_thread.calls.cells())").result == "2"


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
    # Ten idle workers are kept.
    left = (
        "from callboard import Caller\nworkers = [c for c in Caller.all_callers() if c.name == 'callboard_caller']\n"
        "for worker in workers:\n    if worker.stopping.done(): worker.stopped.wait_sync(timeout=30)\n"
        "sum(not w.stopped.done() for w in workers)"
    )
    assert int(client.run(left).result or "") <= 11


# -- what each cell has for itself ---------------------------------------------------------------------


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
        # Displays keep their place among the lines.
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
    client.run("import callboard, threading\ntogether = threading.Barrier(8)")
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
    client.run("import callboard")
    before = client.run(look).result
    start_together(client, mode, ["await callboard.Caller().call_soon(int, 1)"] * 5 + ["%time 1+1"] * 5)
    assert client.run(look).result == before
