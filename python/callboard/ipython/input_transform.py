"""Transforms the source of a cell to Python code, and skips IPython's transformations for plain Python."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from IPython.core import inputtransformer2, prefilter
from IPython.core.autocall import IPyAutocall
from IPython.core.macro import Macro
from IPython.core.splitinput import split_user_input

from ..context import current_cell

if TYPE_CHECKING:
    from typing import Protocol

    from .compiler import Compiler

    class Shell(Protocol):
        """What a prefilter asks of the shell."""

        user_ns: dict[str, Any]
        _last_input_line: str

        @property
        def autocall(self) -> Any: ...

        def may_be_magic(self, name: str) -> bool: ...


#: Matches code that goes through IPython's transformations. Python that IPython may change: code that is indented
#: throughout, lines of blanks, prompts, line ends that Python does not know. Code that is no Python: magics, shell
#: commands, help. Code that the parser may warn of, which it would do twice for code that is no Python: escapes,
#: numbers followed by letters.
_CURIOUS = re.compile(
    r"\A\s|\A\Z|[\0\r\v\f\x1c-\x1e\x85\u2028\u2029]|^[ \t]+$|>>>|\.\.\.|In \["
    r"|^[ \t]*[!%,;/]|\?|=[\s\\]*[%!]"
    r"|\\[^\n\\'\"abfnrtv0-3xNuU]|\b[0-9][\w.]*[A-Za-z]",
    re.MULTILINE,
)

#: The transformations of IPython that `_CURIOUS` covers.
_KNOWN = {
    *("leading_empty_lines", "leading_indent", "classic_prompt", "ipython_prompt", "cell_magic"),
    *("MagicAssign", "SystemAssign", "EscapedCommand", "HelpEnd"),
}


class Transformer(inputtransformer2.TransformerManager):
    """IPython's transformer, which returns plain Python without its transformations. These take four times as long as
    parsing, which is done anyway and tells whether code is plain Python."""

    def __init__(self, compiler: Compiler) -> None:
        super().__init__()
        self._compiler = compiler
        self._given = self._transforms()
        known = [vars(inputtransformer2).get(name) for name in _KNOWN]
        self._are_known = all(transform in known for transform in self._given)

    def transform_cell(self, cell: str) -> str:
        """Returns the code of a cell as Python."""
        running = current_cell.get()
        # Only the code that runs next, which is parsed anyway, and only without transformations of the user's.
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


#: IPython's checkers of a single line. They look for macros, for objects that are called when they are named, for
#: magics, and, with autocall, for callables.
_CHECKERS = {
    *(prefilter.EmacsChecker, prefilter.MacroChecker, prefilter.IPyAutocallChecker, prefilter.AssignmentChecker),
    *(prefilter.AutoMagicChecker, prefilter.PythonOpsChecker, prefilter.AutocallChecker),
}


class Prefilter(prefilter.PrefilterManager):
    """IPython's prefilter, which returns a single line unchanged if none of IPython's checkers can match it. Asking the
    checkers takes twice as long as parsing the line."""

    def __init__(self, shell: Shell, **kwargs: Any) -> None:
        super().__init__(shell=shell, **kwargs)
        self._shell = shell
        self._given = list(self._checkers)
        self._are_known = {type(checker) for checker in self._given} <= _CHECKERS

    def prefilter_line(self, line: str, continue_prompt: bool = False) -> str:
        """Returns a line as Python code."""
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
        code: str = super().prefilter_line(line, continue_prompt)
        return code
