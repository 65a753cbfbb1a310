"""The status of the kernel in JupyterLab while a cell computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from page import Page


def wait_until_busy(page: Page) -> None:
    """Waits until the page shows that the kernel computes."""
    page.wait(lambda: "(callboard) | Busy" in page.find("#jp-main-statusbar").text, "a busy kernel")


def complete(page: Page, index: int, text: str, completion: str) -> None:
    """Types this into a cell, asks for completions, and waits for one."""
    page.edit(index).send_keys(text, Keys.TAB)
    popup = page.find(".jp-Completer:not(.lm-mod-hidden)")
    page.wait(lambda: completion in popup.text, f"{completion} among the completions")
    page.edit(index).send_keys(Keys.ESCAPE)


def test_a_page_that_is_loaded_during_a_cell_shows_busy(open_notebook: Callable[..., Page]) -> None:
    page = open_notebook("import os\nprint('started')\nwhile True: pass", "", "")
    page.run(0)
    page.wait_for_text(0, "started")
    wait_until_busy(page)
    # Or the browser asks whether to leave the page.
    page.tool("save")
    page.wait(lambda: not page.find_now(".jp-mod-dirty"), "the notebook to be saved")
    page.browser.refresh()
    wait_until_busy(page)
    # The status of a completion comes behind it: the second one comes behind that of the first.
    complete(page, 1, "os.getcw", "getcwdb")
    complete(page, 2, "os.getlo", "getlogin")
    wait_until_busy(page)
    page.interrupt()
    page.wait_until_idle()
