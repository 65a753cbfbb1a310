"""What libraries ask of ``sys.stdout`` and ``sys.stderr`` because ipykernel's have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client


def test_the_streams_have_the_attributes_of_ipykernel_s(client: Client) -> None:
    run = client.run(
        "import io, sys\n"
        "for stream in sys.stdout, sys.stderr:\n"
        "    print(stream.name, stream.encoding, stream.isatty(), stream.topic, stream.echo, stream.closed,\n"
        "          stream.line_buffering, stream.write_through, isinstance(stream, io.TextIOBase))\n"
        "kernel = get_ipython().kernel\n"
        "print(sys.stdout.session is kernel.session, sys.stdout.pub_thread is kernel.iopub_thread,\n"
        "      sys.stdout.pub_socket is kernel.iopub_socket,\n"
        "      sys.stdout.parent_header == kernel.get_parent()['header'])"
    )
    assert run.stdout == (
        "stdout UTF-8 False b'stream.stdout' None False False False True\n"
        "stderr UTF-8 False b'stream.stderr' None False False False True\n"
        "True True True True\n"
    )


def test_an_echo_gets_all_text_as_well(client: Client) -> None:
    run = client.run(
        "import io, sys\n"
        "sys.stdout.echo = io.StringIO()\n"
        "print('both')\n"
        "copy, sys.stdout.echo = sys.stdout.echo.getvalue(), None\n"
        "print(repr(copy))"
    )
    assert run.stdout == "both\n'both\\n'\n"


@pytest.mark.parametrize(("name", "where"), [("omega-logger", "stdout"), ("stderr", "stderr")])
def test_a_library_makes_a_stream_of_its_own(client: Client, name: str, where: str) -> None:
    run = client.run(
        "import sys\n"
        "class Logger(type(sys.stdout)):\n"
        "    def __init__(self, session, pub_thread, name, *outputs, **kwargs):\n"
        "        self.outputs = outputs\n"
        "        super().__init__(session, pub_thread, name, **kwargs)\n"
        "    def write(self, text):\n"
        "        return super().write(text.replace('text', 'logged'))\n"
        f"log = Logger(sys.stdout.session, sys.stdout.pub_thread, {name!r}, sys.__stdout__, isatty=True)\n"
        "log.set_parent(dict(sys.stdout.parent_header))\n"
        "print('text', log.isatty(), file=log)\n"
        "log.flush()"
    )
    assert getattr(run, where) == "logged True\n"


def test_a_stream_knows_the_process_of_the_kernel(client: Client) -> None:
    run = client.run(
        "import multiprocessing, sys\n"
        "def tell(): print(sys.stdout._is_master_process(), sys.stderr._is_master_process())\n"
        "tell()\n"
        "child = multiprocessing.get_context('fork').Process(target=tell)\n"
        "child.start()\n"
        "child.join()"
    )
    assert run.stdout == "True True\nFalse False\n"
