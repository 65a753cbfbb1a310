"""Runs a notebook on callboard, shows its outputs as they come, and writes the executed notebook.

Exit codes: 0 all cells ran, 1 a cell raised an error or the kernel died, 2 the notebook cannot be read or the
result not be written, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellExecutionError, DeadKernelError

KERNEL = "callboard"
# Text forms of an output, the most telling first; text/plain comes after them.
TEXTS = ("text/markdown", "text/latex")
# Reprs that say nothing: "<IPython.core.display.HTML object>", "<Figure size 640x480 with 1 Axes>".
EMPTY_REPR = re.compile(r"<(IPython\.core\.display\.|Figure size ).*>$")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
INDENT = "    "


class Screen:
    """Writes to the terminal: outputs are indented, and a cell is named before its output if another was shown last."""

    def __init__(self) -> None:
        self.colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._at_line_start = True
        self._shown: int | None = None

    def paint(self, text: str, code: str) -> str:
        """Text in a colour, where colours are wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text

    def line(self, text: str) -> None:
        """Writes a line of its own."""
        self._end_line()
        print(text, flush=True)

    def begin(self, index: int, source: str) -> None:
        """Shows which cell begins: its first line that does something."""
        lines = [line for line in source.splitlines() if line.strip()]
        # Imports say little about a cell.
        telling = next((line for line in lines if not line.startswith(("import ", "from ", "#"))), lines[0])
        more = self.paint("  …", "2") if len(lines) > 1 else ""
        self._end_line()
        print(f"\n{self.paint(f'[{index + 1}]', '34')} {self.paint(telling, '1')}{more}", flush=True)
        self._shown = index

    def write(self, index: int, text: str) -> None:
        """Writes output of a cell, which may be a part of a line."""
        if not self.colours:
            text = ANSI.sub("", text)
        if index != self._shown:
            self.line(self.paint(f"  from [{index + 1}]:", "2"))
            self._shown = index
        for part in text.replace("\r\n", "\n").splitlines(keepends=True):
            # A carriage return (a progress bar) goes back to the indentation.
            sys.stdout.write(INDENT + part if self._at_line_start else part)
            self._at_line_start = part.endswith(("\n", "\r"))
        sys.stdout.flush()

    def _end_line(self) -> None:
        if not self._at_line_start:
            print()
        self._at_line_start = True


def size(data: str | dict[str, Any]) -> str:
    """The size of an output's data, with a unit. Images come as base64."""
    count = len(str(data))
    return f"{count} B" if count < 1000 else f"{count / 1000:.0f} kB"


def describe(data: dict[str, Any]) -> str:
    """A mime bundle as text: its own text, or what it is and how large."""
    plain = str(data.get("text/plain", ""))
    if "application/vnd.jupyter.widget-view+json" in data:
        return f"[widget: {plain.partition('(')[0] or 'without a name'}]"
    for mime, content in data.items():
        if mime.startswith("image/"):
            binary = len(content) * 3 // 4 * "x" if mime != "image/svg+xml" else content
            return f"[{mime}, {size(binary)}]"
    for mime in TEXTS:
        if mime in data:
            return str(data[mime])
    if plain and not EMPTY_REPR.match(plain):
        return plain
    return ", ".join(f"[{mime}, {size(content)}]" for mime, content in data.items() if mime != "text/plain") or plain


class Runner(NotebookClient):
    """Executes a notebook and shows each output when it comes."""

    def __init__(self, nb: nbformat.NotebookNode, screen: Screen, **options: Any) -> None:
        super().__init__(nb, **options)
        self.screen = screen
        #: Whether Ctrl-C has been pressed.
        self.stopped = False
        self._cells: dict[str, tuple[nbformat.NotebookNode, int]] = {}
        self._interrupt: asyncio.Future[None] | None = None

    def take_signals(self) -> None:
        """Lets Ctrl-C interrupt the cell, and a second one end the kernel. Call it while a notebook runs: by itself,
        nbclient kills the kernel at the first Ctrl-C while it still waits for the cell, and fails."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._stop)

    def _stop(self) -> None:
        end = self.km.shutdown_kernel(now=True) if self.stopped else self.km.interrupt_kernel()
        self.stopped = True
        self._interrupt = asyncio.ensure_future(end)

    async def _async_poll_output_msg(self, parent_msg_id: str, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """As nbclient's, which drops what tasks and threads of earlier cells print: that goes to its cell, as in
        JupyterLab."""
        self._cells[parent_msg_id] = cell, cell_index
        while True:
            msg = await self.kc.iopub_channel.get_msg(timeout=None)
            parent = msg["parent_header"].get("msg_id")
            if parent not in self._cells:
                continue
            try:
                self.process_message(msg, *self._cells[parent])
            except CellExecutionComplete:
                if parent == parent_msg_id:
                    return

    def process_message(
        self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int
    ) -> nbformat.NotebookNode | None:
        """Shows and records one message of the kernel."""
        if msg["msg_type"] == "update_display_data":
            self.screen.write(cell_index, describe(msg["content"]["data"]) + "\n")
        return super().process_message(msg, cell, cell_index)

    def output(
        self, outs: list[nbformat.NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> nbformat.NotebookNode | None:
        """Shows and records one output; streams are joined as a frontend does."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream":
            self.screen.write(cell_index, content["text"])
        elif kind == "error":
            self.screen.write(cell_index, "\n".join(content["traceback"]) + "\n")
        elif kind in {"display_data", "execute_result"}:
            self.screen.write(cell_index, describe(content["data"]) + "\n")
        out = super().output(outs, msg, display_id, cell_index)
        if out is not None and kind == "stream" and len(outs) > 1 and outs[-2].get("name") == out.name:
            outs[-2].text += outs.pop().text
            return outs[-1]
        return out


def run(notebook: nbformat.NotebookNode, folder: Path, screen: Screen) -> int:
    """Executes the notebook; returns the exit code."""
    begun = time.monotonic()
    started: list[int] = []
    problem: str | None = None

    def on_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        runner.take_signals()
        started.append(cell_index)
        screen.begin(cell_index, cell.source)

    runner = Runner(
        notebook,
        screen,
        kernel_name=KERNEL,
        timeout=None,
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=on_start,
    )
    try:
        runner.execute()
    except CellExecutionError as error:
        problem = f"Cell [{started[-1] + 1}] failed: {error.ename}" + (f": {error.evalue}" if error.evalue else "")
    except DeadKernelError:
        problem = f"The kernel died in cell [{started[-1] + 1}]"
    except (KeyboardInterrupt, RuntimeError) as error:
        problem = f"The kernel did not start: {error!r}"
    if problem is not None:
        screen.line(screen.paint(f"\n{problem}", "31"))
        return 130 if runner.stopped else 1
    took = time.monotonic() - begun
    screen.line(screen.paint(f"\n{len(started)} cells ran in {took:.1f} s", "32"))
    return 0


def main() -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Runs a notebook on callboard.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="where the executed notebook goes")
    options = parser.parse_args()
    source, target = options.notebook.resolve(), options.output
    try:
        notebook = nbformat.read(source, as_version=4)
        target.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 2
    notebook.metadata.kernelspec = {"name": KERNEL, "display_name": "Python 3 (callboard)", "language": "python"}
    screen = Screen()
    code = run(notebook, source.parent, screen)
    nbformat.write(notebook, target)
    screen.line(f"The executed notebook: {target.resolve()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
