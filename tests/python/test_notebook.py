"""Whole notebooks, executed by `nbclient` as nbconvert, papermill and others do."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import TYPE_CHECKING

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from support import REPOSITORY, TIMEOUT, environment, write_kernelspec

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.ipynb"))


def execute(notebook: nbformat.NotebookNode, way: str, folder: Path, **options: object) -> nbformat.NotebookNode:
    """Executes all cells on a new kernel."""
    manager = AsyncKernelManager(
        kernel_name="callboard",
        kernel_spec_manager=write_kernelspec(folder, way),
        connection_file=str(folder / "connection.json"),
    )
    client = NotebookClient(notebook, km=manager, timeout=int(TIMEOUT), **options)
    try:
        # A client's heartbeat would go on, and reach the next kernel on this port.
        return client.execute(cleanup_kc=True, env=environment(folder), cwd=str(folder))
    finally:
        if manager.has_kernel:
            asyncio.run(manager.shutdown_kernel(now=True))


def stream_of(output: nbformat.NotebookNode) -> str:
    return output.get("name", "")


def notebook_of(*cells: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_notebooks_run_without_an_error(example: Path, way: str, tmp_path: Path) -> None:
    notebook = nbformat.read(example, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    execute(notebook, way, tmp_path)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in cells)
    for cell in cells:
        failed = [output for output in cell.outputs if output.output_type == "error"]
        if "raises-exception" not in cell.metadata.get("tags", []):
            assert cell.execution_count, cell.source
            assert not failed, cell.source


def test_the_examples_are_there() -> None:
    assert {path.stem for path in EXAMPLES} >= {"tour", "concurrency"}


def test_a_plot_is_shown_inline(way: str, tmp_path: Path) -> None:
    notebook = notebook_of(
        "import matplotlib.pyplot as plt",
        "plt.plot([1, 2, 3]);",
        "plt.plot([3, 2, 1])\nplt.show()\nprint('after')",
        "plt.get_backend()",
    )
    execute(notebook, way, tmp_path)
    nbformat.validate(notebook)
    for cell in notebook.cells[1:3]:
        plots = [output for output in cell.outputs if output.output_type == "display_data"]
        assert len(plots) == 1
        assert plots[0].data["image/png"].startswith("iVBORw0KGgo")
        assert "Figure" in plots[0].data["text/plain"]
    assert notebook.cells[2].outputs[-1].text == "after\n"
    assert "inline" in notebook.cells[3].outputs[0].data["text/plain"]


def test_the_format_of_plots_can_be_chosen_before_and_after_matplotlib_is_there(way: str, tmp_path: Path) -> None:
    notebook = notebook_of(
        "%config InlineBackend.figure_formats = ['svg']",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "%matplotlib inline\n%config InlineBackend.figure_formats = ['png']\nplt.plot([2, 1]);",
    )
    execute(notebook, way, tmp_path)
    assert "image/svg+xml" in notebook.cells[1].outputs[-1].data
    assert "image/png" in notebook.cells[2].outputs[-1].data


def test_widgets_are_stored_with_their_state(way: str, tmp_path: Path) -> None:
    notebook = notebook_of(
        "import ipywidgets\nslider = ipywidgets.IntSlider(value=3, max=20)\nslider",
        "slider.value = 11",
        "out = ipywidgets.Output()\nwith out:\n    print('inside the widget')\nout",
    )
    execute(notebook, way, tmp_path)
    nbformat.validate(notebook)
    view = notebook.cells[0].outputs[0].data["application/vnd.jupyter.widget-view+json"]
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert state[view["model_id"]]["state"]["value"] == 11
    caught = state[notebook.cells[2].outputs[-1].data["application/vnd.jupyter.widget-view+json"]["model_id"]]
    assert caught["state"]["outputs"][0]["text"] == "inside the widget\n"


def test_outputs_are_stored_as_frontends_show_them(way: str, tmp_path: Path) -> None:
    notebook = notebook_of(
        "import sys\nfor n in range(3): print(n)\nprint('problem', file=sys.stderr)\n'result'",
        "from IPython.display import HTML, clear_output\nprint('gone')\nclear_output()\nprint('stays')",
        "handle = display('first', display_id=True)",
        "handle.update('second')",
        "import asyncio\nawait asyncio.sleep(0, 'awaited')",
    )
    execute(notebook, way, tmp_path)
    nbformat.validate(notebook)
    first, cleared, updated, _, awaited = (cell.outputs for cell in notebook.cells)
    # How many messages a text comes in is a matter of time.
    texts = [(name, "".join(o.get("text", "") for o in outputs)) for name, outputs in groupby(first, stream_of)]
    assert texts == [("stdout", "0\n1\n2\n"), ("stderr", "problem\n"), ("", "")]
    assert first[-1].output_type == "execute_result"
    assert "".join(o.text for o in cleared) == "stays\n"
    assert updated[0].data["text/plain"] == "'second'"
    assert awaited[0].data["text/plain"] == "'awaited'"
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4, 5]
    assert notebook.metadata.language_info["name"] == "python"
    assert notebook.metadata.language_info["pygments_lexer"] == "ipython3"


def test_an_error_ends_the_execution_with_its_traceback(way: str, tmp_path: Path) -> None:
    notebook = notebook_of("before = 1", "1/0", "after = 1")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(notebook, way, tmp_path)
    assert notebook.cells[1].outputs[0].ename == "ZeroDivisionError"
    assert notebook.cells[2].execution_count is None


def test_errors_may_be_allowed(way: str, tmp_path: Path) -> None:
    notebook = notebook_of("1/0", "'went on'")
    execute(notebook, way, tmp_path, allow_errors=True)
    assert notebook.cells[1].outputs[0].data["text/plain"] == "'went on'"


def test_a_cell_that_takes_too_long_is_interrupted(way: str, tmp_path: Path) -> None:
    notebook = notebook_of("import time\ntime.sleep(100)", "'went on'")
    execute(notebook, way, tmp_path, interrupt_on_timeout=True, allow_errors=True, timeout_func=_second_for_sleep)
    assert notebook.cells[0].outputs[0].ename == "KeyboardInterrupt"
    assert notebook.cells[1].outputs[0].data["text/plain"] == "'went on'"


def _second_for_sleep(cell: nbformat.NotebookNode | None) -> int:
    return 1 if cell is not None and "sleep" in cell.source else int(TIMEOUT)
