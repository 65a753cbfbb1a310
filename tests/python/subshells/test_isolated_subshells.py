"""`--isolated-subshells`: subshells with variables of their own, which read those of the main shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from subshell_tools import Subshell
    from support import Client


@pytest.fixture(scope="module")
def isolated(way: str, options: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel whose subshells have variables of their own."""
    kernel = Kernel(way, tmp_path_factory.mktemp("isolated"), *options, "--isolated-subshells")
    yield kernel
    kernel.close()


class TestIsolated:
    @pytest.fixture
    def client(self, isolated: Kernel) -> Iterator[Client]:
        with isolated.connect() as client:
            yield client

    def test_writes_stay_and_reads_fall_through(self, client: Client, make: Callable[[], Subshell]) -> None:
        one, two = make(), make()
        client.run("base = [1]\nname = 'main'")
        assert one.run("name").result == "'main'"
        assert one.run("name = 'one'\nname").result == "'one'"
        assert client.run("name").result == two.run("name").result == "'main'"
        one.run("base.append(2)")
        assert client.run("base").result == "[1, 2]"
        one.run("only_one = 1\nimport fractions")
        for other in (client, two):
            assert other.run("only_one").error["ename"] == "NameError"
            assert other.run("fractions").error["ename"] == "NameError"
        client.run("later = 'later'")
        assert one.run("later").result == "'later'"
        assert one.run("del name\nname").result == "'main'"
        assert one.run("del base").error["ename"] == "NameError"
        assert client.run("base").result == "[1, 2]"
        assert one.run("no_such_name").error["ename"] == "NameError"
        assert one.run("globals() is get_ipython().user_ns, __name__").result == "(True, '__main__')"

    def test_reads_fall_through_everywhere(self, client: Client, sub: Subshell) -> None:
        client.run("a, b = 1, [2, 3]\ndef of_main(x): return x + a")
        code = (
            "def function(): return a + 1\n"
            "def outer():\n    def inner(): return [a + x for x in b]\n    return inner()\n"
            "class Klass:\n    attribute = a\n    listed = [x * a for x in b]\n"
            "    def method(self): return (lambda: a)()\n"
            "async def coroutine(): return a\n"
            "def generator(): yield from (x + a for x in b)\n"
            "(function(), outer(), Klass.attribute, Klass.listed, Klass().method(), await coroutine(), "
            "list(generator()),"
            " {x: a for x in b}, of_main(1), eval('a'), [eval('a') for _ in b], f'{a}')"
        )
        expected = (2, [3, 4], 1, [2, 3], 1, 1, [3, 4], {2: 1, 3: 1}, 2, 1, [1, 1], "1")
        assert eval(sub.run(code).result or "") == expected
        # What the subshell defines is what its functions see; those of the main shell see theirs.
        assert sub.run("a = 100\nfunction(), of_main(1), Klass().method()").result == "(101, 2, 100)"
        assert (
            sub.run("import threading\nt = threading.Thread(target=lambda: print(b)); t.start(); t.join()").stdout
            == "[2, 3]\n"
        )
        assert sub.run("# thread\nb").result == "[2, 3]"
        assert sub.run("# task\na").result == "100"

    def test_builtins_are_there_and_the_main_shells_names_go_before_them(self, client: Client, sub: Subshell) -> None:
        assert (
            sub.run(
                "import builtins\n(len([1]), max(1, 2), print is builtins.print, "
                "__build_class__ is builtins.__build_class__)"
            ).result
            == "(1, 2, True, True)"
        )
        client.run("import builtins\nbuiltins.made_later = 'builtin'\nlist = 'shadow'")
        assert sub.run("made_later, list").result == "('builtin', 'shadow')"
        client.run("del list, builtins.made_later")
        assert sub.run("list").result == "list"
        assert sub.run("made_later").error["ename"] == "NameError"
        assert sub.run("class A:\n    def f(self): return super().__repr__()\n'A' in A().f()").result == "True"
        assert sub.run("__import__('json').dumps(1), exec('z = 5'), z").result == "('1', None, 5)"

    def test_counts_results_and_history_are_its_own(self, client: Client, sub: Subshell) -> None:
        client.run("'of main'")
        assert sub.run("'of sub'").reply["execution_count"] == 1
        assert sub.run("_, Out, In[1]").result == "('of sub', {1: 'of sub'}, \"'of sub'\")"
        assert client.run("_").result == "'of main'"

    def test_magics_complete_and_inspect(self, client: Client, sub: Subshell, tmp_path: Path) -> None:
        client.run("known_to_main = 1\ndef documented():\n    'Says what it does.'")
        sub.run("known_to_sub = 2")
        assert sub.run("%who").stdout.split() == ["known_to_sub"]
        assert sub.run("%time known_to_main").result == "1"
        assert "loop" in sub.run("%timeit -n 1 -r 1 known_to_main + known_to_sub").stdout
        assert sub.run("%%capture out\nprint(known_to_main)").status == "ok"
        assert sub.run("out.stdout").result == "'1\\n'"
        assert client.run("out").error["ename"] == "NameError"
        assert sub.run("!echo {known_to_main} $known_to_sub").stdout.split() == ["1", "2"]
        (tmp_path / "script.py").write_text("from_script = 1\n")
        assert sub.run(f"%run {tmp_path / 'script.py'}").status == "ok"
        assert sub.run("from_script").result == "1"
        assert client.run("'from_script' in globals()").result == "False"
        matches = sub.ask("complete_request", {"code": "known_to", "cursor_pos": 8})["matches"]
        assert set(matches) == {"known_to_main", "known_to_sub"}
        assert "Says what it does." in str(sub.ask("inspect_request", {"code": "documented", "cursor_pos": 3})["data"])
        assert "known_to_sub" not in str(
            client.ask("complete_request", {"code": "known_to", "cursor_pos": 8})["matches"]
        )
