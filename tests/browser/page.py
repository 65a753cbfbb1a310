"""A notebook in the browser, as its user sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from lab import PATIENCE
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")


class Page:
    """A notebook that is open in JupyterLab. Cells are counted from 0, text cells included."""

    def __init__(self, browser: Chrome, url: str, *, from_launcher: str | None = None) -> None:
        """Opens the page; with `from_launcher`, it is JupyterLab's launcher, and this the title of the card to click."""
        self.browser = browser
        self.resize(1200, 1000)
        browser.get(url)
        if from_launcher is not None:
            self.click(f'.jp-LauncherCard[data-category="Notebook"][title="{from_launcher}"]')
        self.wait_until_idle()
        self.find(".jp-Notebook .jp-mod-active")

    # -- waiting and looking ----------------------------------------------------------------------------

    def wait(self, condition: Callable[[], T], what: str) -> T:
        """Waits until the condition holds; returns its value."""
        ignored = (NoSuchElementException, StaleElementReferenceException)
        wait = WebDriverWait(self.browser, PATIENCE, poll_frequency=0.1, ignored_exceptions=ignored)
        return wait.until(lambda _browser: condition(), f"waited {PATIENCE} s for: {what}")

    def find(self, selector: str, within: WebElement | None = None) -> WebElement:
        """Waits for an element."""
        place = within or self.browser
        return self.wait(lambda: place.find_element(By.CSS_SELECTOR, selector), selector)

    def find_now(self, selector: str, within: WebElement | None = None) -> list[WebElement]:
        """The elements that are there now."""
        return (within or self.browser).find_elements(By.CSS_SELECTOR, selector)

    def cell(self, index: int) -> WebElement:
        """A cell."""
        return self.find(f'.jp-Notebook-cell[data-windowed-list-index="{index}"]')

    def text(self, index: int) -> str:
        """The output of a cell."""
        script = "return [...arguments[0].querySelectorAll('.jp-OutputArea-output')].map(o => o.innerText).join('\\n')"
        return self.browser.execute_script(script, self.cell(index))

    def prompt(self, index: int) -> str:
        """The text in the brackets before a cell: its execution count, or ``*`` while it runs or waits."""
        return self.find(".jp-InputPrompt", self.cell(index)).text.strip("[]: ")

    def wait_for_text(self, index: int, text: str) -> None:
        """Waits until a cell shows a text."""
        self.wait(lambda: text in self.text(index), f"{text!r} in the output of cell {index}")

    def wait_for_prompt(self, index: int, prompt: str) -> None:
        """Waits until a cell has an execution count."""
        self.wait(lambda: self.prompt(index) == prompt, f"[{prompt}] before cell {index}")

    def wait_until_idle(self) -> None:
        """Waits until the kernel is idle."""
        self.wait(lambda: "(callboard) | Idle" in self.find("#jp-main-statusbar").text, "an idle kernel")

    # -- doing ------------------------------------------------------------------------------------------

    def click(self, selector: str) -> None:
        """Clicks on something as soon as that is possible."""
        self.wait(lambda: self.find(selector).is_enabled() and self.find(selector).is_displayed(), selector)
        self.find(selector).click()

    def menu(self, menu: str, command: str) -> None:
        """Selects a command in the menu bar."""
        labels = self.find_now(".lm-MenuBar-item")
        next(label for label in labels if label.text == menu).click()
        self.click(f'.lm-Menu-item[data-command="{command}"]')

    def run_all(self) -> None:
        """Runs all cells."""
        self.menu("Run", "runmenu:run-all")

    def resize(self, width: int, height: int) -> None:
        """Makes the window this large, in pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def hide_the_files(self) -> None:
        """Closes the left sidebar."""
        self.find("body").send_keys(Keys.CONTROL, "b")
        self.wait(lambda: not self.find("#jp-left-stack").is_displayed(), "the sidebar to close")

    def tool(self, name: str) -> None:
        """Clicks a button of the notebook's toolbar."""
        self.click(f'.jp-NotebookPanel-toolbar [data-jp-item-name="{name}"] jp-button')

    def interrupt(self) -> None:
        """Interrupts the kernel."""
        self.tool("interrupt")

    def restart(self) -> None:
        """Restarts the kernel and confirms the dialog."""
        self.tool("restart")
        self.click(".jp-Dialog .jp-Dialog-button.jp-mod-accept")
        self.wait(lambda: not self.find_now(".jp-Dialog"), "the dialog to close")

    def edit(self, index: int) -> WebElement:
        """Puts the cursor into a cell; returns the editor."""
        editor = self.find(".cm-content", self.cell(index))
        editor.click()
        self.wait(lambda: self.browser.switch_to.active_element == editor, f"the cursor in cell {index}")
        return editor

    def run(self, index: int) -> None:
        """Runs a cell."""
        self.edit(index).send_keys(Keys.CONTROL, Keys.ENTER)
