"""Widgets that work while a cell computes: comm messages in subshells."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab import Lab
    from page import Page

BUTTON = """
import time
import ipywidgets
clicks = 0
def on_click(button):
    global clicks
    clicks += 1
    button.description = f"clicked {clicks}"
button = ipywidgets.Button(description="Click")
button.on_click(on_click)
button
"""

LOOP = """
print("started")
clicks = 0
while clicks < 3: time.sleep(0.05)
print("ended by", clicks, "clicks")
"""


@pytest.mark.parametrize("how", ["magic", "install"])
def test_a_button_works_while_a_loop_sleeps(open_notebook: Callable[..., Page], lab: Lab, how: str) -> None:
    if how == "install":
        command = "import sys; from callboard.cli import main; sys.exit(main())"
        subprocess.run(
            [
                *(sys.executable, "-c", command, "install", "--user", "--name", "comms-in-subshells"),
                *("--display-name", "Comms (callboard)", "--comms-in-subshells"),
            ],
            env=os.environ | {"JUPYTER_DATA_DIR": str(lab.folder / "data")},
            check=True,
        )
        page = open_notebook("%comms", BUTTON, LOOP, kernel="comms-in-subshells")
    else:
        page = open_notebook("%comms subshells\n%comms", BUTTON, LOOP)
    page.run(0)
    page.wait_for_text(0, "subshells")
    page.run(1)
    button = page.find(".widget-button", page.cell(1))
    page.run(2)
    page.wait_for_text(2, "started")
    for count in (1, 2, 3):
        button.click()
        page.wait(lambda said=f"clicked {count}": button.text == said, f"click {count} to be handled")
    page.wait_for_text(2, "ended by 3 clicks")
