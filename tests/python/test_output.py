"""Output: complete, in order, and in the cell that caused it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client

LATER = "import asyncio, threading, time\nloop = asyncio.get_running_loop()\n"


def test_a_flood_of_lines_is_complete_and_in_order(client: Client) -> None:
    run = client.run("for i in range(100_000): print(i)")
    assert run.stdout == "".join(f"{i}\n" for i in range(100_000))
    assert len(run.contents("stream")) < 10_000, "a flood comes in few messages"


def test_a_flood_through_the_binary_side_and_the_descriptor_is_complete(client: Client) -> None:
    run = client.run("import sys\nfor i in range(20_000): sys.stdout.buffer.write(b'%d\\n' % i)")
    assert run.stdout == "".join(f"{i}\n" for i in range(20_000))
    run = client.run("import os\nfor i in range(20_000): _ = os.write(1, b'%d\\n' % i)")
    assert run.stdout == "".join(f"{i}\n" for i in range(20_000))


def test_stdout_and_stderr_keep_their_order(client: Client) -> None:
    run = client.run("import sys\nfor i in range(50):\n    print('out', i)\n    print('err', i, file=sys.stderr)\n")
    assert [(c["name"], c["text"]) for c in _joined(run.contents("stream"))] == [
        (f"std{kind}", f"{kind} {i}\n") for i in range(50) for kind in ("out", "err")
    ]


def test_printed_text_keeps_its_order_with_displays_and_results(client: Client) -> None:
    run = client.run("for i in range(20):\n    print('text', i)\n    display(i)\nprint('last')\n'result'")
    assert run.types == ["busy", "execute_input", *["stream", "display_data"] * 20, "stream", "execute_result", "idle"]


def test_output_comes_before_the_error_and_before_idle(client: Client) -> None:
    run = client.run("import sys\nprint('a' * 100_000)\nprint('b', file=sys.stderr)\n1/0")
    assert run.types == ["busy", "execute_input", "stream", "error", "idle"]
    assert (len(run.stdout), run.stderr) == (100_001, "b\n")


def test_the_first_output_comes_while_the_cell_runs(client: Client) -> None:
    msg_id = client.start("import asyncio\nbarrier = asyncio.Event()\nprint('started')\nawait barrier.wait()")
    assert not client.replied(msg_id)
    client.send("comm_msg", {"comm_id": "unknown", "data": {}})
    client.send("interrupt_request", channel="control")
    assert client.finish(msg_id).status == "error"


def test_a_partial_line_comes_without_a_flush(client: Client) -> None:
    msg_id = client.execute("import time\nprint('no newline', end='')\ntime.sleep(30)")
    client.wait_text("no newline", msg_id)
    assert not client.replied(msg_id)
    client.send("interrupt_request", channel="control")
    client.finish(msg_id)


def test_a_line_that_is_printed_is_one_message(client: Client) -> None:
    """`print` writes the text and the end of the line one by one. Frontends that store what they get, such as
    nbconvert, would store them as two outputs."""
    client.run("import asyncio")
    runs = [client.run(f"print('line {n}')\nawait asyncio.sleep(0.01)") for n in range(100)]
    assert all(run.stdout == f"line {n}\n" for n, run in enumerate(runs))
    split = [run for run in runs if len(run.contents("stream")) != 1]
    # On a machine that is busy with other things, some are.
    assert len(split) < 50


def test_stdout_is_a_file_as_programs_expect(client: Client) -> None:
    run = client.run(
        "import sys\n"
        "assert sys.stdout.fileno() != sys.stderr.fileno()\n"
        "assert not sys.stdout.isatty()\n"
        "assert sys.stdout.encoding.lower() == 'utf-8'\n"
        "assert sys.stdout.writable() and not sys.stdout.readable() and not sys.stdout.closed\n"
        "assert sys.stdout.write('12345') == 5\n"
        "sys.stdout.writelines(['6', '7'])\n"
        "sys.stdout.flush()\n"
        "sys.stdout.buffer.write('é'.encode()[:1]); sys.stdout.buffer.write('é'.encode()[1:])\n"
        "sys.stdout.buffer.flush()\n"
        "sys.stdout.reconfigure(line_buffering=True)\n"
        "print(sys.stdout.name, sys.stderr.name)\n"
        "try:\n    sys.stdout.write(b'bytes')\nexcept TypeError as error:\n    print('refused')\n"
    )
    assert run.status == "ok", run.reply
    assert run.stdout == "1234567éstdout stderr\nrefused\n"


def test_stdout_can_be_redirected(client: Client) -> None:
    run = client.run(
        "import contextlib, io\ntext = io.StringIO()\n"
        "with contextlib.redirect_stdout(text): print('caught')\nprint('not caught')"
    )
    assert run.stdout == "not caught\n"
    assert client.run("text.getvalue()").result == r"'caught\n'"


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess, sys\nsubprocess.run(['echo', 'child'], check=True)",
        "import subprocess, sys\nsubprocess.Popen(['echo', 'child'], stdout=sys.stdout).wait()",
        "import subprocess, sys\nsubprocess.run('echo child >&2', shell=True, stderr=sys.stdout, check=True)",
        "import os\nos.system('echo child')",
        "import os\nos.write(1, b'child\\n');",
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.printf(b'%s\\n', b'child')\nlibc.fflush(None);",
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.puts(b'child')\nlibc.fflush(None);",
        "import ctypes\nlibc = ctypes.PyDLL(None)\nlibc.puts(b'child')\nlibc.fflush(None);",
        "import multiprocessing\np = multiprocessing.get_context('fork').Process(target=print, args=('child',))\n"
        "p.start(); p.join()",
        "import os, sys\nif os.fork() == 0:\n    print('child')\n    sys.stdout.flush()\n    os._exit(0)\nos.wait();",
    ],
    ids=["run", "Popen", "shell", "system", "write", "printf", "puts", "puts-with-gil", "multiprocessing", "fork"],
)
def test_output_of_children_and_c_code_is_in_the_cell(client: Client, code: str) -> None:
    run = client.run("print('before')\n" + code + "\nprint('after')")
    assert run.status == "ok", run.reply
    assert run.stdout == "before\nchild\nafter\n"


def test_c_code_that_holds_the_gil_and_prints_a_lot_does_not_deadlock(client: Client) -> None:
    run = client.run(
        "import ctypes\nlibc = ctypes.PyDLL(None)\ntext = b'x' * 1_000_000\n"
        "for _ in range(3): libc.puts(text)\nlibc.fflush(None);"
    )
    assert run.stdout == ("x" * 1_000_000 + "\n") * 3


def test_a_child_that_prints_a_lot_is_shown_completely(client: Client) -> None:
    run = client.run("import subprocess\nsubprocess.run(['seq', '200000'], check=True);")
    assert run.stdout == "".join(f"{i}\n" for i in range(1, 200_001))


def test_stderr_of_children_is_stderr_of_the_cell(client: Client) -> None:
    run = client.run("import os\nos.system('echo problem >&2');")
    assert (run.stdout, run.stderr) == ("", "problem\n")


def test_the_real_stderr_is_not_lost(client: Client) -> None:
    """It must appear; the kernel chooses where."""
    run = client.run("import sys\nprint('to the real one', file=sys.__stderr__, flush=True)\n'done'")
    assert run.result == "'done'"
    assert run.stderr in ("", "to the real one\n")


def test_logging_appears_in_the_cell(client: Client) -> None:
    run = client.run("import logging\nlogging.warning('careful')")
    assert "careful" in run.stderr
    run = client.run(
        "log = logging.getLogger('mine')\nlog.setLevel('INFO')\nlog.propagate = False\n"
        "log.addHandler(logging.StreamHandler())\nlog.info('now')"
    )
    assert run.stderr == "now\n"


def test_warnings_appear_in_the_cell(client: Client) -> None:
    assert "UserWarning: careful" in client.run("import warnings\nwarnings.warn('careful')").stderr


def test_a_large_output_arrives_whole(client: Client) -> None:
    size = 20_000_000
    run = client.run(f"print('x' * {size}, end='')")
    assert len(run.stdout) == size
    run = client.run(f"display({{'text/plain': 'y' * {size}}}, raw=True)")
    assert len(run.contents("display_data")[0]["data"]["text/plain"]) == size
    client.log.clear()


@pytest.mark.parametrize(
    "start",
    [
        "async def work():\n    await gate.wait()\n    print('late output')\ntask = asyncio.create_task(work())",
        "def work():\n    print('late output')\nasync def wait():\n    await gate.wait()\n    loop.call_soon(work)\n"
        "task = asyncio.create_task(wait())",
        "def poll():\n    if gate.is_set(): print('late output')\n    else: loop.call_later(0.01, poll)\npoll()",
        "def work():\n    threads_gate.wait()\n    print('late output')\nthreading.Thread(target=work).start()",
        "def work():\n    threads_gate.wait()\n    loop.call_soon_threadsafe(print, 'late output')\n"
        "threading.Thread(target=work).start()",
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\n"
        "def work():\n    threads_gate.wait()\n    print('late output')\npool.submit(work);",
        "def work():\n    threads_gate.wait()\n    print('late output')\nloop.run_in_executor(None, work);",
        "def work():\n    threads_gate.wait()\n    print('late output')\n"
        "task = asyncio.create_task(asyncio.to_thread(work))",
        "def work():\n    threading.Thread(target=lambda: (threads_gate.wait(), print('late output'))).start()\n"
        "threading.Thread(target=work).start()",
        "timer = threading.Timer(0, lambda: (threads_gate.wait(), print('late output')))\ntimer.start()",
    ],
    ids=[
        "task",
        "call_soon",
        "call_later",
        "thread",
        "call_soon_threadsafe",
        "pool",
        "run_in_executor",
        "to_thread",
        "thread of a thread",
        "timer",
    ],
)
def test_late_output_reaches_the_cell_that_started_it(client: Client, start: str) -> None:
    origin = client.run(LATER + "gate = asyncio.Event(); threads_gate = threading.Event()\n" + start)
    assert origin.status == "ok", origin.reply
    other = client.run("print('other')\ngate.set(); threads_gate.set()\nawait asyncio.sleep(0.05)\nprint('other')")
    assert other.stdout == "other\nother\n"
    assert client.wait_text("late output\n", origin.msg_id) == "late output\n"


def test_a_pool_kept_from_an_earlier_cell_prints_into_the_cell_that_submits(client: Client) -> None:
    client.run(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "kept = ThreadPoolExecutor(1)\nkept.submit(print, 'a').result()"
    )
    assert client.run("kept.submit(print, 'b').result()").stdout == "b\n"
    assert client.run("list(kept.map(print, 'cd'));").stdout == "c\nd\n"


def test_displays_of_threads_and_tasks_reach_their_cell(client: Client) -> None:
    origin = client.run(
        LATER + "gate = threading.Event()\n"
        "def work():\n    gate.wait()\n    display('late display')\nthreading.Thread(target=work).start()"
    )
    client.run("gate.set()")
    shown = client.wait(lambda m: m["msg_type"] == "display_data" and "late display" in str(m["content"]))
    assert shown["parent_header"]["msg_id"] == origin.msg_id


def test_an_error_in_a_thread_or_callback_is_shown_in_its_cell(client: Client) -> None:
    run = client.run("import threading\nt = threading.Thread(target=lambda: 1/0)\nt.start(); t.join()")
    assert "ZeroDivisionError" in run.stderr
    run = client.run("import asyncio\nasyncio.get_running_loop().call_soon(lambda: 1/0)\nawait asyncio.sleep(0)")
    assert "ZeroDivisionError" in client.wait_text("ZeroDivisionError", run.msg_id, "stderr")


def test_many_threads_printing_in_one_cell_lose_nothing(client: Client) -> None:
    run = client.run(
        "import threading\n"
        "def work(n):\n    for i in range(2000): print(f'{n} {i}\\n', end='')\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n"
        "for t in threads: t.start()\nfor t in threads: t.join()"
    )
    lines = run.stdout.splitlines()
    assert sorted(lines) == sorted(f"{n} {i}" for n in range(8) for i in range(2000))
    for n in range(8):
        assert [int(line.split()[1]) for line in lines if line.startswith(f"{n} ")] == list(range(2000))


def test_display_id_is_updated_in_place(client: Client) -> None:
    run = client.run("handle = display('first', display_id='mine')\nhandle.update('second')")
    first, second = run.contents("display_data", "update_display_data")
    assert run.types == ["busy", "execute_input", "display_data", "update_display_data", "idle"]
    assert first["transient"] == second["transient"] == {"display_id": "mine"}
    assert (first["data"]["text/plain"], second["data"]["text/plain"]) == ("'first'", "'second'")
    run = client.run("handle.update('third')")
    assert run.types == ["busy", "execute_input", "update_display_data", "idle"]
    (shown,) = client.run("h = display('x', display_id=True)").contents("display_data")
    assert shown["transient"]["display_id"]


def test_clear_output_keeps_its_place(client: Client) -> None:
    run = client.run(
        "from IPython.display import clear_output\n"
        "print('a')\nclear_output()\nprint('b')\nclear_output(wait=True)\nprint('c')"
    )
    assert run.types == ["busy", "execute_input", "stream", "clear_output", "stream", "clear_output", "stream", "idle"]
    assert run.contents("clear_output") == [{"wait": False}, {"wait": True}]
    assert run.stdout == "a\nb\nc\n"


def test_display_hooks_of_libraries_are_called(client: Client) -> None:
    """`register_hook` is how ipywidgets' Output and others catch what is displayed."""
    run = client.run(
        "caught = []\npub = get_ipython().display_pub\n"
        "def hook(msg):\n    caught.append(msg['content']['data']); return None\n"
        "pub.register_hook(hook)\ndisplay('swallowed')\npub.unregister_hook(hook)\ndisplay('shown')"
    )
    assert [c["data"]["text/plain"] for c in run.contents("display_data")] == ["'shown'"]
    assert client.run("caught").result == "[{'text/plain': \"'swallowed'\"}]"


def test_every_status_names_its_request(client: Client) -> None:
    ids = [client.execute(f"print({n})") for n in range(20)]
    for n, msg_id in enumerate(ids):
        run = client.finish(msg_id)
        assert run.types == ["busy", "execute_input", "stream", "idle"]
        assert run.stdout == f"{n}\n"


def _joined(contents: list[dict[str, str]]) -> list[dict[str, str]]:
    """The stream messages with neighbours of the same stream put together."""
    joined: list[dict[str, str]] = []
    for content in contents:
        if joined and joined[-1]["name"] == content["name"]:
            joined[-1]["text"] += content["text"]
        else:
            joined.append(dict(content))
    return joined
