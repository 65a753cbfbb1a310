"""The debugger in JupyterLab, in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from page import Page
    from selenium.webdriver.remote.webelement import WebElement

    Open = Callable[..., Page]

CODE = """\
def total(prices, tax):
    subtotal = sum(prices.values())
    whole = subtotal * (1 + tax)
    return round(whole, 2)

total({"apples": 3.2, "pears": 4.1}, 0.19)"""

BUG = ".jp-DebuggerBugButton"
STOP = ".jp-DebuggerEditor-highlight"


class Debugged:
    """A notebook whose debugger is switched on."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.resize(1500, 900)

    def switch(self) -> None:
        """Clicks the bug."""
        self.page.click(BUG)

    def wait_switched(self, on: bool) -> None:
        pressed = "true" if on else "false"
        self.page.wait(lambda: self.page.find(BUG).get_attribute("aria-pressed") == pressed, f"the bug to be {pressed}")

    def break_at(self, index: int, line: int) -> None:
        """Clicks in the gutter of a cell."""
        page = self.page

        def gutter() -> list[WebElement]:
            return page.cell(index).find_elements(By.CSS_SELECTOR, ".cm-breakpoint-gutter .cm-gutterElement")

        # The first element is a spacer.
        page.wait(lambda: len(gutter()) > line, "the gutter")
        gutter()[line].click()
        page.find(".cm-breakpoint-icon", page.cell(index))

    def stopped_at(self, text: str) -> None:
        """Waits until the line with this text is marked as the one where it stands."""
        self.page.wait(lambda: text in self.page.find(STOP).text, f"a stop at {text!r}")

    def command(self, name: str) -> None:
        """Clicks a button above the call stack."""
        self.page.click(f'#jp-debugger-sidebar [data-command="debugger:{name}"]')

    def variable(self, name: str) -> WebElement:
        """The item of a variable in the tree."""

        def found() -> WebElement | None:
            items = self.page.find_now(".jp-DebuggerVariables jp-tree-item")
            return next((item for item in items if item.text.startswith(name)), None)

        return self.page.wait(found, f"the variable {name}")

    def evaluate(self, code: str) -> None:
        """Runs code in the debugger's console."""
        editor = self.page.find(".jp-CodeConsole-input .cm-content")
        editor.click()
        editor.send_keys(code, Keys.SHIFT, Keys.ENTER)

    def stands(self) -> bool:
        """Whether the call stack has a frame."""
        return bool(self.page.find_now(".jp-DebuggerCallstackFrame"))

    def go_on(self) -> None:
        """Continues. A page that was loaded anew shows the stack before its buttons do something."""

        def has_gone_on() -> bool:
            if self.stands():
                self.command("continue")
            return not self.stands()

        self.page.wait(has_gone_on, "the cell to go on")

    def picture(self) -> None:
        """Takes the picture of the documentation, if `CALLBOARD_PICTURES` names a folder for it."""
        if folder := os.environ.get("CALLBOARD_PICTURES"):
            self.page.browser.save_screenshot(str(Path(folder) / "debugging.png"))

    def shows(self, panel: str, *texts: str) -> None:
        """Waits until a panel shows these texts."""
        page = self.page
        page.wait(lambda: all(text in page.find(f".jp-Debugger{panel}").text for text in texts), f"{texts} in {panel}")


@pytest.fixture
def debugged(open_notebook: Open) -> Debugged:
    debugged = Debugged(open_notebook(CODE, "'the next cell'"))
    debugged.switch()
    debugged.wait_switched(True)
    return debugged


def test_a_breakpoint_steps_and_variables(debugged: Debugged) -> None:
    page = debugged.page
    debugged.break_at(0, 2)
    page.run(0)
    debugged.stopped_at("subtotal = sum")
    debugged.shows("Callstack", "total", "<module>")
    debugged.shows("Variables", "prices", "tax", "0.19")
    debugged.shows("Breakpoints", "2")
    debugged.picture()
    debugged.command("next")
    debugged.stopped_at("whole = subtotal")
    debugged.shows("Variables", "subtotal")
    page.click(".jp-TableView-Button")
    page.find(".jp-DebuggerVariables canvas")
    debugged.command("next")
    debugged.stopped_at("return round")
    debugged.command("stepOut")
    debugged.stopped_at('total({"apples"')
    debugged.command("continue")
    page.wait_for_text(0, "8.69")
    page.wait(lambda: not page.find_now(STOP), "no stop")
    page.run(1)
    page.wait_for_text(1, "'the next cell'")
    debugged.switch()
    debugged.wait_switched(False)
    page.run(0)
    page.wait_for_prompt(0, "3")
    assert not page.find_now(STOP)


def test_a_variable_is_changed_and_shown_as_it_is_displayed(debugged: Debugged) -> None:
    page = debugged.page
    debugged.break_at(0, 6)
    page.run(0)
    debugged.stopped_at('total({"apples"')
    debugged.command("stepIn")
    debugged.stopped_at("subtotal = sum")
    # The magnifying glass beside a variable appears with the mouse.
    prices = debugged.variable("prices")
    ActionChains(page.browser).move_to_element(prices).perform()
    page.wait(lambda: prices.find_element(By.CSS_SELECTOR, ".jp-DebuggerVariables-renderVariable"), "the glass").click()
    page.wait(lambda: "apples" in page.find(".jp-VariableRendererPanel").text, "the displayed variable")
    debugged.command("evaluate")
    debugged.evaluate("tax = 1")
    debugged.evaluate("tax * 1000")
    page.wait(lambda: "1000" in page.find(".jp-CodeConsole-content").text, "the result in the console")
    debugged.command("continue")
    page.wait(lambda: not debugged.stands(), "no stop")
    page.wait_for_text(0, "14.6")


def test_a_page_that_is_reloaded_while_a_cell_stands(debugged: Debugged) -> None:
    page = debugged.page
    debugged.break_at(0, 3)
    page.run(0)
    debugged.stopped_at("whole = subtotal")
    page.tool("save")
    page.browser.refresh()
    page.find(".jp-Notebook .jp-mod-active")
    debugged.shows("Callstack", "total", "<module>")
    debugged.shows("Variables", "subtotal")
    debugged.go_on()
    page.wait_until_idle()
    page.edit(1).send_keys(Keys.CONTROL, Keys.ENTER)
    page.wait_for_text(1, "'the next cell'")
