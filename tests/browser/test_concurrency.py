"""Cells that run at the same time in JupyterLab, finished by clicks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from page import Page

    Open = Callable[..., Page]

NOTEBOOK = Path(__file__).parents[2] / "examples" / "concurrency.ipynb"

#: The demonstration of the pure-Python async-kernel: a cell that ends when its button is clicked.
DEMO = """
import threading
import ipywidgets as ipw
from aiologic import Event

async def demo():
    print(f"Thread name: '{threading.current_thread().name}'")
    button = ipw.Button(description="Finish")
    event = Event()
    button.on_click(lambda _: event.set())
    display(button)
    await event
    button.close()
    print(f"Finished ... thread name: '{threading.current_thread().name}'")
    return "Finished"
"""

BUTTON = ".widget-button"


def click_finish(page: Page, index: int) -> None:
    """Clicks the button of a cell."""
    button = page.find(BUTTON, page.cell(index))
    page.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    page.wait_for_text(index, "'Finished'")
    page.wait(lambda: not page.find_now(BUTTON, page.cell(index)), "the button to go")


def test_buttons_finish_cells_that_run_at_the_same_time(open_notebook: Open) -> None:
    thread = '# thread name="My thread"\nawait demo()'
    page = open_notebook(DEMO, "await demo()", "# task\nawait demo()", "# thread\nawait demo()", thread)
    page.run(0)
    page.wait_for_prompt(0, "1")
    for cell in (1, 2, 3, 4):
        page.run(cell)
        page.find(BUTTON, page.cell(cell))
    assert [page.prompt(cell) for cell in (1, 2, 3, 4)] == ["*"] * 4
    for cell, name in ((3, "callboard_caller"), (1, "MainThread"), (4, "My thread"), (2, "MainThread")):
        click_finish(page, cell)
        assert f"Finished ... thread name: '{name}'" in page.text(cell)
        page.wait_for_prompt(cell, str(cell + 1))


def test_the_concurrency_notebook(open_notebook: Open) -> None:
    page = open_notebook(file=NOTEBOOK)
    page.hide_the_files()
    page.run_all()
    last = [int(cell.get_attribute("data-windowed-list-index")) for cell in page.find_now(".jp-CodeCell")][-1]
    page.wait_for_text(last, "the main shell")
