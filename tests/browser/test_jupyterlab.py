"""callboard in JupyterLab, in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from page import Page

    Open = Callable[..., Page]

TOUR = Path(__file__).parents[2] / "examples" / "tour.ipynb"

PLOT = "import matplotlib.pyplot as plt\nplt.plot([3, 1, 2]);"

SLIDER = """
import ipywidgets

slider, seen = ipywidgets.IntSlider(value=5), ipywidgets.Output()

def show(change):
    with seen:
        print("moved to", change["new"])

slider.observe(show, "value")
display(slider, seen)
"""


def is_drawn(page: Page, index: int) -> bool:
    """Whether a cell shows an image with something in it."""
    (image,) = page.find_now(".jp-RenderedImage img", page.cell(index)) or [None]
    return image is not None and page.browser.execute_script("return arguments[0].naturalWidth", image) > 100


def test_run_all_shows_text_a_plot_and_a_widget(open_notebook: Open) -> None:
    page = open_notebook("print('printed'); 6 * 7", PLOT, SLIDER)
    page.run_all()
    page.wait_for_prompt(2, "3")
    page.wait_for_text(0, "printed")
    page.wait_for_text(0, "42")
    page.wait(lambda: is_drawn(page, 1), "the plot")
    assert page.find(".widget-slider .noUi-handle", page.cell(2)).is_displayed()


def test_a_moved_slider_calls_back(open_notebook: Open) -> None:
    page = open_notebook(SLIDER, "slider.value")
    page.run(0)
    handle = page.find(".widget-slider .noUi-handle", page.cell(0))
    handle.click()
    handle.send_keys(Keys.ARROW_RIGHT)
    page.wait_for_text(0, "moved to 6")
    handle.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    page.wait_for_text(0, "moved to 4")
    page.run(1)
    page.wait_for_text(1, "4")


@pytest.mark.parametrize("forever", ["while True: pass", "import asyncio; await asyncio.sleep(100)"])
def test_interrupt(open_notebook: Open, forever: str) -> None:
    page = open_notebook(f"print('started')\n{forever}", "'alive'")
    page.run(0)
    page.wait_for_text(0, "started")
    assert page.prompt(0) == "*"
    page.interrupt()
    page.wait_for_text(0, "KeyboardInterrupt")
    page.wait_for_prompt(0, "1")
    page.run(1)
    page.wait_for_text(1, "alive")
    page.wait_for_prompt(1, "2")


def test_restart_begins_anew(open_notebook: Open) -> None:
    page = open_notebook("print('seen before:', 'x' in globals())\nx = 1")
    page.run(0)
    page.wait_for_prompt(0, "1")
    page.run(0)
    page.wait_for_prompt(0, "2")
    page.wait_for_text(0, "seen before: True")
    page.restart()
    page.wait_until_idle()
    page.run(0)
    page.wait_for_prompt(0, "1")
    page.wait_for_text(0, "seen before: False")


def test_tab_completes_while_a_cell_runs(open_notebook: Open) -> None:
    page = open_notebook("import os\nprint('started')\nwhile True: pass", "")
    page.run(0)
    page.wait_for_text(0, "started")
    page.edit(1).send_keys("os.getcw", Keys.TAB)
    popup = page.find(".jp-Completer:not(.lm-mod-hidden)")
    page.wait(lambda: "getcwdb" in popup.text, "getcwdb among the completions")
    assert page.prompt(0) == "*"
    page.interrupt()
    page.wait_for_text(0, "KeyboardInterrupt")


def test_the_tour(open_notebook: Open) -> None:
    page = open_notebook(file=TOUR)
    page.hide_the_files()
    page.run_all()
    cells = [int(cell.get_attribute("data-windowed-list-index")) for cell in page.find_now(".jp-CodeCell")]
    page.wait_for_text(cells[-1], "ZeroDivisionError: division by zero")
    page.wait_for_prompt(cells[-1], str(len(cells)))
    assert not any("Traceback" in page.text(cell) for cell in cells[:-1])
    plot = next(cell for cell in cells if page.find_now(".jp-RenderedImage", page.cell(cell)))
    page.wait(lambda: is_drawn(page, plot), "the plot")
    page.find(".widget-slider .noUi-handle")
    picture = os.environ.get("CALLBOARD_SCREENSHOT")
    if picture:
        # From the plot on: what the README shows.
        page.tool("save")
        page.wait(lambda: not page.find_now(".jp-mod-dirty"), "the notebook to be saved")
        page.resize(1200, 1345)
        page.browser.execute_script("arguments[0].scrollIntoView()", page.cell(plot - 1))
        assert page.browser.save_screenshot(picture)
