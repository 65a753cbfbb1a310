"""Output to file descriptors 1 and 2: complete, in order, without the GIL, without a deadlock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel


def test_one_call_that_holds_the_gil_prints_ten_megabytes(client: Client) -> None:
    run = client.run(
        "import ctypes\nlibc = ctypes.PyDLL(None)\nprint(libc.printf(b'%10000000s\\n', b'end'))\nlibc.fflush(None);"
    )
    assert len(run.stdout) == 10_000_001 + len("10000001\n")
    assert run.stdout.replace("10000001\n", "", 1) == " " * 9_999_997 + "end\n"
    client.log.clear()


def test_children_with_both_streams_are_complete_and_in_order(client: Client) -> None:
    script = "i=0; while [ $i -lt 2000 ]; do echo out $1 $i; echo err $1 $i >&2; i=$((i+1)); done"
    run = client.run(
        "import subprocess\n"
        f"children = [subprocess.Popen(['sh', '-c', {script!r}, 'sh', str(n)]) for n in range(3)]\n"
        "[child.wait() for child in children]"
    )
    for text, kind in ((run.stdout, "out"), (run.stderr, "err")):
        lines = text.splitlines()
        assert len(lines) == 6000
        for n in range(3):
            assert [line for line in lines if line.split()[1] == str(n)] == [f"{kind} {n} {i}" for i in range(2000)]


def test_the_last_output_of_a_cell_comes_before_its_end(client: Client) -> None:
    for n in range(50):
        assert client.run(f"import os\nos.write(1, b'last {n}');").stdout == f"last {n}"


def test_a_child_takes_turns_with_print(client: Client) -> None:
    """The output of a child comes before text printed after its end."""
    run = client.run(
        "import subprocess, sys\nfor n in range(30):\n    print('cell', n)\n"
        "    subprocess.run(['sh', '-c', f'echo child {n}; echo problem {n} >&2'])\n"
    )
    assert run.stdout == "".join(f"cell {n}\nchild {n}\n" for n in range(30))
    assert run.stderr == "".join(f"problem {n}\n" for n in range(30))


def test_a_child_that_never_pauses_does_not_hold_up_what_the_cell_prints(client: Client) -> None:
    run = client.run(
        "import subprocess, sys, time\nchild = subprocess.Popen(['yes', 'flood'])\n"
        "try:\n    for n in range(20):\n        sys.stdout.write(f'<printed {n}>')\n        time.sleep(0.002)\n"
        "finally:\n    child.kill(); child.wait()",
        timeout=40,
    )
    assert run.status == "ok"
    assert [n for n in range(20) if f"<printed {n}>" not in run.stdout] == []
    client.log.clear()


def test_the_child_of_a_fork_prints_from_threads_and_in_pools(client: Client) -> None:
    run = client.run(
        "import multiprocessing, os, sys\n"
        "def write(n): sys.stdout.write(f'{n}\\n')\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: pool.map(write, range(10), chunksize=1)\n"
        "import threading\n"
        "if os.fork() == 0:\n"
        "    t = threading.Thread(target=print, args=('from a thread',)); t.start(); t.join()\n"
        "    print('and from C', flush=True); os.write(1, b'and a descriptor\\n'); os._exit(0)\n"
        "os.wait();"
    )
    assert sorted(run.stdout.split()[:10]) == [str(n) for n in range(10)]
    assert run.stdout.endswith("from a thread\nand from C\nand a descriptor\n")
    assert client.run("'alive'").result == "'alive'"


SWITCHES = ["--no-fd-capture", "--IPKernelApp.capture_fd_output=False"]


@pytest.mark.parametrize("switch", SWITCHES)
def test_capture_can_be_switched_off(start_kernel: Callable[..., Kernel], switch: str) -> None:
    kernel = start_kernel(switch)
    with kernel.connect() as client:
        run = client.run("import os\nos.write(1, b'from C\\n'); os.write(2, b'problem\\n'); print('from the cell')")
        assert (run.stdout, run.stderr) == ("from the cell\n", "")
        assert client.run("!echo command").stdout == "command\r\n"
    assert kernel.terminal == "from C\nproblem\n"


@pytest.mark.parametrize(
    "code",
    ["", "faulthandler.disable(); faulthandler.enable()", "faulthandler.enable(sys.stderr, all_threads=True)"],
    ids=["kernel", "user", "stderr"],
)
def test_a_crash_is_on_the_terminal(start_kernel: Callable[..., Kernel], code: str) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        client.execute(f"import ctypes, faulthandler, sys\n{code}\nctypes.string_at(0)")
        assert kernel.wait_end() == -11
    assert "Fatal Python error: Segmentation fault" in kernel.terminal
    assert "in string_at" in kernel.terminal


def test_a_dump_on_a_signal_is_on_the_terminal(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as client:
        run = client.run(
            "import faulthandler, os, signal\nfaulthandler.register(signal.SIGUSR1)\nos.kill(os.getpid(), signal.SIGUSR1)"
        )
        assert (run.status, run.stderr) == ("ok", "")
    assert "(most recent call first)" in kernel.terminal
