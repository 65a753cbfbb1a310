"""From what is in a cell to Python code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from IPython.core import inputtransformer2, prefilter
from IPython.core.autocall import IPyAutocall
from IPython.core.macro import Macro
from IPython.core.splitinput import split_user_input

from ..context import current_cell

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .compiler import Compiler

    class Shell(InteractiveShell):
        """What a prefilter asks of the shell."""

        def may_be_magic(self, name: str) -> bool: ...


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


#: What IPython looks for in a line alone: names of macros, of objects that are called where they are named, of magics;
#: and of what can be called, if the user wants that.
_CHECKERS = {
    *(prefilter.EmacsChecker, prefilter.MacroChecker, prefilter.IPyAutocallChecker, prefilter.AssignmentChecker),
    *(prefilter.AutoMagicChecker, prefilter.PythonOpsChecker, prefilter.AutocallChecker),
}


class Prefilter(prefilter.PrefilterManager):
    """IPython's, which leaves a line alone as soon as it is known that none of its checkers would want it: asking one
    after the other takes twice as long as parsing the line."""

    def __init__(self, shell: Shell, **kwargs: Any) -> None:
        super().__init__(shell=shell, **kwargs)
        self._shell = shell
        self._given = list(self._checkers)
        self._are_known = {type(checker) for checker in self._given} <= _CHECKERS

    def prefilter_line(self, line: str, continue_prompt: bool = False) -> str:
        """A line as Python code."""
        shell = self._shell
        if (
            line
            and not continue_prompt
            and not self._transformers
            and self._are_known
            and self._checkers == self._given
            and type(self._handlers.get("normal")) is prefilter.PrefilterHandler
            and not line.endswith("# PYTHON-MODE")
            and not shell.autocall
        ):
            name = split_user_input(line)[2]
            if not isinstance(shell.user_ns.get(name), (Macro, IPyAutocall)) and not shell.may_be_magic(name):
                shell._last_input_line = line
                return line
        return super().prefilter_line(line, continue_prompt)
