"""Libraries that ask whether they run in ipykernel, and what they do then."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING

import pytest
from support import Kernel, without_colours

if TYPE_CHECKING:
    from pathlib import Path

    from support import Client


def test_tqdm_draws_a_widget(client: Client) -> None:
    run = client.run("from tqdm.auto import tqdm, trange\nfor i in tqdm(range(3)): pass")
    assert run.status == "ok"
    assert "application/vnd.jupyter.widget-view+json" in run.contents("display_data")[0]["data"]
    assert client.run("from tqdm.autonotebook import tqdm as other; other.__module__").result == "'tqdm.notebook'"


@pytest.mark.parametrize("library", ["click", "typer"])
def test_styled_text_keeps_its_colours(client: Client, library: str) -> None:
    run = client.run(f"import {library}\n{library}.echo({library}.style('red', fg={'red'!r}))")
    assert run.stdout == "\x1b[31mred\x1b[0m\n"
    run = client.run(f"{library}.secho('bold', bold=True, err=True)")
    assert run.stderr == "\x1b[1mbold\x1b[0m\n"


def test_loguru_logs_in_colours(client: Client) -> None:
    run = client.run(
        "import sys\nfrom loguru import logger\nlogger.remove()\n"
        "logger.add(sys.stdout, format='<red>{message}</red>')\nlogger.info('hello')"
    )
    assert run.status == "ok", run.traceback
    assert "\x1b[31mhello\x1b[0m" in run.stdout
    client.run("logger.remove()")


def test_plotly_chooses_the_renderer_of_notebooks(client: Client) -> None:
    client.run("import plotly.io as pio, plotly.graph_objects as go")
    assert client.run("pio.renderers.default").result == "'plotly_mimetype'"
    run = client.run("go.Figure(go.Scatter(y=[1, 2])).show()")
    assert list(run.contents("display_data")[-1]["data"]) == ["application/vnd.plotly.v1+json"]


def test_bokeh_updates_a_figure_through_a_comm(client: Client) -> None:
    run = client.run(
        "from bokeh.io import output_notebook, push_notebook, show\nfrom bokeh.plotting import figure\n"
        "output_notebook(hide_banner=True)\nplot = figure()\npoints = plot.scatter([1], [1])\n"
        "handle = show(plot, notebook_handle=True)\npoints.data_source.data['x'] = [2]\npush_notebook(handle=handle)"
    )
    assert run.status == "ok", run.traceback
    assert [types for types in run.types if types.startswith("comm_")] == [
        "comm_open",
        "comm_msg",
        "comm_msg",
        "comm_msg",
    ]


class Sessions(http.server.BaseHTTPRequestHandler):
    """A Jupyter server that has one notebook."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([{"kernel": {"id": "12-34"}, "path": "folder/My notebook.ipynb"}]).encode())

    def log_message(self, *_args: object) -> None:
        """Prints nothing."""


def test_ipynbname_finds_the_notebook(way: str, python: str, tmp_path: Path) -> None:
    """It looks for the kernel among those of running servers, by the name of its connection file."""
    (tmp_path / "runtime").mkdir()
    with http.server.HTTPServer(("127.0.0.1", 0), Sessions) as server:
        info = {"url": f"http://127.0.0.1:{server.server_port}/", "token": "", "root_dir": "/home/me"}
        (tmp_path / "runtime" / "jpserver-1.json").write_text(json.dumps(info))
        settings = {"connection_file": str(tmp_path / "kernel-12-34.json")}
        kernel = Kernel(way, tmp_path, python=python, settings=settings)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            with kernel.connect() as client:
                run = client.run("import ipynbname; ipynbname.name(), str(ipynbname.path())")
            assert run.result == "('My notebook', '/home/me/folder/My notebook.ipynb')"
        finally:
            kernel.close()
            server.shutdown()
            serving.join()


def test_ipytest_runs_tests_of_a_cell(client: Client) -> None:
    run = client.run("import ipytest\nipytest.autoconfig()")
    assert run.status == "ok", run.traceback
    run = client.run("%%ipytest\ndef test_good():\n    assert 1 + 1 == 2\n\ndef test_bad():\n    assert [1] == [2]")
    assert "1 failed, 1 passed" in without_colours(run.stdout)
    assert "assert [1] == [2]" in without_colours(run.stdout)


def test_pyviz_comms_talks_to_the_frontend(client: Client) -> None:
    """The comms of panel and holoviews. Without the name of ipykernel's launcher it takes itself for a server."""
    run = client.run(
        "import os, pyviz_comms\ncomm = pyviz_comms.JupyterComm(id='plot', on_msg=lambda data: None)\n"
        "comm.init()\ncomm.send({'a': 1}, buffers=[b'x'])\n'_PYVIZ_COMMS_INSTALLED' in os.environ"
    )
    assert run.result == "False"
    assert [types for types in run.types if types.startswith("comm_")] == ["comm_open", "comm_msg"]


def test_solara_takes_its_version_for_a_new_one(client: Client) -> None:
    """solara, ipyparallel and others cut it into numbers."""
    run = client.run(
        "import re, ipykernel\nint(ipykernel.__version__.split('.')[0]) >= 6, "
        "tuple(map(int, re.split(r'\\D+', ipykernel.__version__)[:3])) >= (6, 18, 0)"
    )
    assert run.result == "(True, True)"


#: What libraries and users ask `sys.argv` to know that they are in a notebook, or to leave alone its arguments.
ARGV_IDIOMS = (
    "sys.argv[0].endswith('ipykernel_launcher.py')",
    "'ipykernel_launcher' in sys.argv[0]",
    "'ipykernel' in sys.argv[0]",
    "any('ipykernel' in argument for argument in sys.argv)",
    "os.path.basename(sys.argv[0]) == 'ipykernel_launcher.py'",
    "Path(sys.argv[0]).stem == 'ipykernel_launcher'",
    "'-f' in sys.argv and sys.argv[sys.argv.index('-f') + 1] == ipykernel.get_connection_file()",
    "argparse.ArgumentParser().prog == 'ipykernel_launcher.py'",
    # Ray has its workers import from there if it is on the path.
    "os.path.dirname(os.path.realpath(sys.argv[0])) not in sys.path",
)


@pytest.mark.parametrize("idiom", ARGV_IDIOMS)
def test_the_command_line_is_that_of_ipykernel(client: Client, idiom: str) -> None:
    client.run("import argparse, ipykernel, os, sys\nfrom pathlib import Path")
    assert client.run(idiom).result == "True"


def test_a_program_that_starts_itself_again_starts_a_kernel(client: Client) -> None:
    """A user's library may do it; the file that is named has to be there, and must not put its folder on the path."""
    run = client.run(
        "import subprocess\nprint(subprocess.check_output([sys.executable, sys.argv[0], '--version'], text=True))"
    )
    assert "callboard" in run.stdout
