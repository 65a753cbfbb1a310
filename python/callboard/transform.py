"""From what is in a cell to Python code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from IPython.core import inputtransformer2

from .context import current_cell

if TYPE_CHECKING:
    from .compiler import Compiler

#: What IPython might change although it is Python: code that is indented throughout, lines of blanks alone, prompts,
#: ends of lines that are none for Python. What is certainly no Python: magics, shell commands, help. And what the
#: parser warns of, which it would do twice if the code is no Python: escapes, and numbers with letters behind them.
_CURIOUS = re.compile(
    r"\A\s|\A\Z|[\0\r\v\f\x1c-\x1e\x85\u2028\u2029]|^[ \t]+$|>>>|\.\.\.|In \["
    r"|^[ \t]*[!%,;/]|\?|=[\s\\]*[%!]"
    r"|\\[^\n\\'\"abfnrtv0-3xNuU]|\b[0-9][\w.]*[A-Za-z]",
    re.MULTILINE,
)

#: IPython's transformations that this has been written for.
_KNOWN = {
    *("leading_empty_lines", "leading_indent", "classic_prompt", "ipython_prompt", "cell_magic"),
    *("MagicAssign", "SystemAssign", "EscapedCommand", "HelpEnd"),
}


class Transformer(inputtransformer2.TransformerManager):
    """IPython's, which leaves plain Python alone without looking for its own syntax: that takes four times as long as
    parsing, which has to be done anyway and says whether it is plain."""

    def __init__(self, compiler: Compiler) -> None:
        super().__init__()
        self._compiler = compiler
        self._given = self._transforms()
        known = [vars(inputtransformer2).get(name) for name in _KNOWN]
        self._are_known = all(transform in known for transform in self._given)

    def transform_cell(self, cell: str) -> str:
        """The code of a cell without IPython's syntax."""
        running = current_cell.get()
        # Only what is going to be run next: it is parsed in any case. And unless the user has added transformations.
        if (
            running is not None
            and cell is running.code
            and _CURIOUS.search(cell) is None
            and self._are_known
            and self._transforms() == self._given
        ):
            code = cell if cell.endswith("\n") else cell + "\n"
            if self._compiler.parse_ahead(code, cell, running.number):
                return code
        return super().transform_cell(cell)

    def _transforms(self) -> list[object]:
        return [*self.cleanup_transforms, *self.line_transforms, *self.token_transformers]
