"""Magics and calls that cannot do in a notebook what they do in a terminal say so, or do what is possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import interrupt

if TYPE_CHECKING:
    from support import Client, Kernel


@pytest.mark.parametrize("magic", ["conda", "mamba", "micromamba"])
def test_conda_outside_of_conda_shows_no_frame_of_the_kernel(client: Client, magic: str) -> None:
    run = client.run(f"x = 1\n%{magic} list")
    assert run.error["ename"] == "ValueError"
    assert "%pip install" in run.error["evalue"]
    assert f"----> 2 get_ipython().run_line_magic('{magic}', 'list')" in run.traceback
    assert "callboard" not in run.traceback
    assert "skipping hidden" not in run.traceback


def test_the_frames_of_a_magic_of_the_user_are_shown(client: Client) -> None:
    client.run(
        "from IPython.core.magic import register_line_magic\n"
        "@register_line_magic\ndef failing(line):\n    return 1 / 0  # here"
    )
    run = client.run("%failing")
    assert "in failing(line)" in run.traceback
    assert "callboard" not in run.traceback


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("read answer; echo got $answer.", "got ."),
        ("cat", ""),
        ("sort", ""),
        ("sh -c 'printf \"Sure? \"; read a || echo no answer'", "Sure? no answer"),
    ],
)
def test_a_command_that_asks_finds_the_end_of_its_input(client: Client, command: str, said: str) -> None:
    assert client.run(f"!{command}").stdout.strip() == said
    assert client.run(f"lines = !{command}\n' '.join(lines)").result == repr(said)


def test_standard_input_is_at_its_end(client: Client) -> None:
    """As with ipykernel; ``input()`` asks in the frontend."""
    assert client.run("import sys\nsys.stdin.readline(), sys.stdin.read()").result == "('', '')"


ARGPARSE = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--n', type=int);"


@pytest.mark.parametrize(
    "code",
    [
        f"{ARGPARSE}\nparser.parse_args()",
        f"{ARGPARSE}\ndef main(): parser.parse_args()\nmain()",
        "import optparse\noptparse.OptionParser().parse_args()",
    ],
)
def test_a_parser_that_reads_the_arguments_of_the_kernel_is_explained(client: Client, code: str) -> None:
    run = client.run(code)
    assert (run.status, run.reply["ename"]) == ("error", "SystemExit")
    assert "the command line of the kernel" in run.stderr
    assert "parse_args([])" in run.stderr


@pytest.mark.parametrize(
    "code",
    [
        f"{ARGPARSE}\nparser.parse_args(['--m'])",
        f"{ARGPARSE}\nimport sys\nbefore, sys.argv = sys.argv, ['x', '--m']\n"
        "try: parser.parse_args()\nfinally: sys.argv = before",
        "import sys\nsys.exit(2)",
    ],
)
def test_other_exits_are_not(client: Client, code: str) -> None:
    assert "the command line of the kernel" not in client.run(code).stderr


def test_a_parser_that_gets_arguments_works(client: Client) -> None:
    assert client.run(f"{ARGPARSE}\nparser.parse_args(['--n', '3']).n").result == "3"
    assert client.run("parser.parse_known_args()[0].n").result is None


def test_notebook_says_that_it_leaves_text_out(client: Client) -> None:
    client.run("print('text')\n5")
    run = client.run("%notebook saved.ipynb")
    assert (run.status, run.contents("error")) == ("ok", [])
    assert "printed text" in run.stdout
    saved = "import json\n[o['output_type'] for c in json.load(open('saved.ipynb'))['cells'] for o in c['outputs']]"
    assert "'execute_result'" in (client.run(saved).result or "")


class Embedded:
    """Answers the prompts of ``IPython.embed()``."""

    def __init__(self, client: Client, code: str) -> None:
        self.client = client
        self.msg_id = client.execute(f"import IPython\n{code}")
        self.prompts = client.prompts()

    def type(self, *lines: str) -> None:
        for line in lines:
            self.client.answer(line, next(self.prompts))


@pytest.mark.parametrize("leave", ["exit", "quit", "exit()", "quit()", "import sys; sys.exit()", "\x04"])
def test_embed_asks_in_the_frontend(client: Client, leave: str) -> None:
    embedded = Embedded(client, "x = 3\nIPython.embed()\nprint('after')")
    embedded.type("x + 1", "y = 5", "for n in range(2):", "    print('loop', n)", "", "1/0", "%time 7", leave)
    run = client.finish(embedded.msg_id)
    assert run.status == "ok"
    assert [content["data"]["text/plain"] for content in run.contents("execute_result")] == ["4", "7"]
    assert "loop 0\nloop 1\n" in run.stdout
    assert run.stdout.endswith("after\n")
    assert run.error["ename"] == "ZeroDivisionError"
    assert client.run("y").result == "5"


def test_embed_in_a_function_sees_its_variables(client: Client) -> None:
    embedded = Embedded(client, "z = 1\ndef f(a):\n    b = 2\n    IPython.embed(header='Hello')\n    return b\nf(3)")
    embedded.type("a, b, z", "b = 7", "b", "exit")
    run = client.finish(embedded.msg_id)
    assert [content["data"]["text/plain"] for content in run.contents("execute_result")] == ["(3, 2, 1)", "7", "2"]
    assert run.stdout.startswith("Hello\nf, line 5")


def test_an_interrupt_leaves_the_prompt(client: Client, kernel: Kernel, how: str) -> None:
    embedded = Embedded(client, "IPython.embed()\nprint('after')")
    next(embedded.prompts)
    interrupt(client, kernel, how)
    run = client.finish(embedded.msg_id, timeout=20)
    assert run.error["ename"] == run.reply["ename"] == "KeyboardInterrupt"
    assert "after" not in run.stdout
    assert client.run("'alive'").result == "'alive'"


def test_embed_where_nothing_can_be_asked(client: Client) -> None:
    run = client.run("import IPython\nIPython.embed()", allow_stdin=False)
    assert run.error["ename"] == "StdinNotImplementedError"
    assert client.run("IPython.get_ipython() is get_ipython()").result == "True"
