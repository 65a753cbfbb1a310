"""Plain Python skips IPython's input transformers, with the result that they would give."""

from __future__ import annotations

import ast
import itertools
import random
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from callboard.context import current_cell
from callboard.ipython.compiler import Compiler
from callboard.ipython.input_transform import Transformer
from IPython.core.inputtransformer2 import TransformerManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel

PLAIN = [
    "pass",
    "x = 1",
    "x = 1\n",
    "def f(a, *, b=2):\n    return a % b\n",
    "if x:\n    y = [1,\n         2]\nelse:\n    z = {\n        'a': 1,\n    }\n",
    "@decorated\nclass A(B):\n    '''Text.'''\n\n    x: int = 1\n",
    "async def f():\n    await g()\nawait f()",
    "'''\nseveral\n  lines\n'''",
    "f'{x!r:>{width}} {y:%d}'",
    "a = b if c else d; e = 1; f",
    "x = (1 +\n     2)\n\n\ny = 3\n\n",
    "# a comment\nx = 1  # another",
    "try:\n    x\nexcept* E as e:\n    raise\nfinally:\n    pass",
    "match x:\n    case [1, *_] | {'a': 2}: y\n    case _: pass",
    "x = \\\n    1",
    "lambda: (yield)",
]

SPECIAL = [
    "",
    " ",
    "\n",
    "\n\nx = 1",
    "    x = 1\n    y = 2",
    "  # indented\nx = 1",
    "x = 1\n   \ny = 2",
    "%time x = 1",
    "%%time\nx = 1",
    "%%bash\necho",
    "!ls",
    "if x:\n    !ls\n    %cd ..",
    "a = !ls",
    "a = %who_ls",
    "a, b = %who_ls",
    "a = \\\n  %who_ls",
    "x?",
    "x.y??",
    "?x",
    "x = 1\ny?",
    "/f 1 2",
    ",f a b",
    ";f a b",
    ">>> x = 1\n>>> y",
    "In [1]: x = 1\n   ...: y = 2",
    "'''\n>>> x\n'''",
    "x = 1\n...\n",
    "x = (1,\n,2)",
    "'''\n%cd\n'''",
    "x = '=%d'",
    "x = 1\r\ny = 2",
    "x = '\x0c'\x0cy = 2",
    "x = '\u2028'",
    "ls",
    "cd ..",
    "def",
    "x = (",
    "x = '",
    "    x\n  y\n z",
    "if x:\n\ty\n        z",
    "x = 1\n  y = 2",
    "0x",
    "1__0",
    "x = \\",
    "\\",
    "x\x00y",
    "x = $",
    "é = 1",
]

#: Pieces of code that tests join at random.
PIECES = [
    *(
        "x",
        " = ",
        "1",
        "\n",
        "    ",
        "%",
        "!",
        "?",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ";",
        "/",
        ":",
        "'",
        '"""',
        "\\",
        "#",
    ),
    *(
        ">>> ",
        "...",
        "In [1]: ",
        "if x:",
        "def f():",
        "return ",
        "pass",
        "\t",
        "\r",
        "%%",
        "!!",
        "??",
        "f'",
        "==",
        "\x0c",
    ),
]


def texts() -> list[str]:
    """Code of all sorts."""
    chance = random.Random(1)
    made = ["".join(chance.choices(PIECES, k=chance.randint(1, 9))) for _ in range(4000)]
    both = ["\n".join(pair) for pair in itertools.permutations([*PLAIN, *SPECIAL], 2)]
    return [*PLAIN, *SPECIAL, *both, *made]


def outcome(transform: Callable[[str], str], text: str) -> Any:
    """The result of a transformation: code, or an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return transform(text)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the same for both
            return type(error), str(error)


@pytest.fixture
def cell() -> Any:
    """The cell that runs, as far as a `Transformer` looks at it."""
    cell = SimpleNamespace(code="", number=1)
    token = current_cell.set(cell)  # type: ignore[arg-type]
    yield cell
    current_cell.reset(token)


def test_all_code_is_transformed_as_by_ipython(cell: Any) -> None:
    ours, theirs = Transformer(Compiler()), TransformerManager()
    for text in texts():
        cell.code = text
        assert outcome(ours.transform_cell, text) == outcome(theirs.transform_cell, text), repr(text)


def test_plain_code_is_parsed_once(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler()
    parsed: list[str] = []
    parse = compiler._parse
    monkeypatch.setattr(compiler, "_parse", lambda source, *args: parsed.append(source) or parse(source, *args))
    transformer = Transformer(compiler)
    for text in PLAIN:
        cell.code = text
        code = transformer.transform_cell(text)
        tree = compiler.ast_parse(code, compiler.cache(code, 1, text))
        assert ast.dump(tree) == ast.dump(ast.parse(text)), text
        assert len(parsed) == 1, text
        # Who asked for the tree may have changed it.
        assert compiler.ast_parse(code, compiler.cache(code, 1, text)) is not tree
        parsed.clear()


def test_other_code_than_that_of_the_cell_is_not_parsed(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler()
    monkeypatch.setattr(compiler, "parse_ahead", lambda *_args: pytest.fail("parsed"))
    cell.code = "x = 1"
    assert Transformer(compiler).transform_cell("y = 1") == "y = 1\n"


def test_transformers_of_users_are_called(cell: Any) -> None:
    transformer = Transformer(Compiler())
    transformer.cleanup_transforms.insert(0, lambda lines: [line.replace("1", "2") for line in lines])
    cell.code = "x = 1"
    assert transformer.transform_cell(cell.code) == "x = 2\n"


LINES = """
    from IPython.core.autocall import IPyAutocall
    from IPython.core.macro import Macro
    from IPython.core.prefilter import PrefilterChecker, PrefilterManager, PrefilterTransformer
    shell = get_ipython()
    theirs, ours = PrefilterManager(shell=shell), shell.prefilter_manager
    words = ["pass", "x", "x.y", "ls", "time", "own_magic", "own_cell_magic", "macro", "auto", "print", "%time", "f'", "é"]
    rests = ["", "()", " = 1", "=1", ", y = 2", " y", " 1 2", ".z", " + 1", "?", "  # PYTHON-MODE", "[0]", " is x", "'"]
    lines = [before + word + rest for before in ("", " ", "%", "!", "/", ",") for word in words for rest in rests]
    def compare():
        results = [(line, one.prefilter_lines(line)) for one in (theirs, ours) for line in lines]
        half = len(lines)
        wrong = [pair for pair in zip(results[:half], results[half:]) if pair[0] != pair[1]]
        changed = sum(line != result for line, result in results[:half])
        print(wrong[:3], changed > 0)
    class Auto(IPyAutocall):
        def __call__(self, *args): pass
    x = 1
    """


@pytest.mark.parametrize("where", ["main", "subshell"])
def test_lines_that_are_alone_are_left_to_ipython_if_it_may_want_them(
    start_kernel: Callable[..., Kernel], where: str
) -> None:
    with start_kernel().connect() as client:
        header = {}
        client.run("%alias_magic own_magic time")
        if where == "subshell":
            header["subshell_id"] = client.ask("create_subshell_request", channel="control")["subshell_id"]
        assert client.run(LINES + "compare()", header=header).stdout == "[] True\n"
        for change in (
            "macro = Macro('y = 1')",
            "auto = Auto()",
            "shell.register_magic_function(print, 'cell', 'own_cell_magic')",
            "shell.autocall = 2",
            "shell.autocall = 0; theirs.checkers[0].enabled = ours.checkers[0].enabled = True; x = Macro('z')",
        ):
            # IPython prints the calls that it makes of a line.
            run = client.run(f"{change}\ncompare()", header=header)
            assert run.stdout.endswith("[] True\n"), change
        # What the user adds is asked.
        code = """
            class Shout(PrefilterTransformer):
                def transform(self, line, continue_prompt): return line.replace("x", "X")
            for one in (theirs, ours): Shout(shell=shell, prefilter_manager=one)
            compare()
            print(ours.prefilter_lines("x + 1"))
            """
        assert client.run(code, header=header).stdout.endswith("[] True\nX + 1\n")
        code = """
            class Own(PrefilterChecker):
                def check(self, line_info): return self.prefilter_manager.get_handler_by_name("magic")
            ours._transformers.clear()
            Own(shell=shell, prefilter_manager=ours, priority=1)
            print(ours.prefilter_lines("x + 1"))
            """
        assert client.run(code, header=header).stdout.endswith("get_ipython().run_line_magic('x', '+ 1')\n")


@pytest.mark.parametrize("end", ["", "\ny = (", "\n!true", "\nz = f'{x}'"], ids=["plain", "error", "command", "long"])
@pytest.mark.parametrize(
    ("code", "warning"), [("'\\d'", "invalid escape sequence"), ("1or 2", "invalid decimal literal")]
)
def test_a_warning_of_the_parser_is_shown_once_with_its_line(client: Client, code: str, warning: str, end: str) -> None:
    client.run("import warnings; warnings.simplefilter('always')")
    text = client.run(f"y = 2\nx = {code}{end}").text("stderr")
    assert text.count(warning) == 1
    assert f"x = {code}" in text
