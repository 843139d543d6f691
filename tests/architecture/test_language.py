"""The language of the repository: no retired name or word, unique class names, clear summary lines, small folders."""

from __future__ import annotations

import pytest

from . import language
from .language import (
    CHECKS,
    File,
    Retired,
    constants_without_unit,
    duplicate_classes,
    help_files,
    large_folders,
    long_test_names,
    retired,
    retired_definitions,
    retired_names,
    retired_paths,
    retired_strings,
    retired_words,
    summary_lines,
)

RULES = Retired(
    packages={"truecaller_async/old": "new/"},
    modules={"gone": "here.py", "tokens/memory": "memory_store.py"},
    names={"Ring": "SlidingWindow", "give_way": "yield_turn"},
    definitions={"tokens|pools": {"take": "acquire"}, ".": {"look": "view"}},
    sql={"owes": "open_rows"},
    strings={"old.event": "new.event"},
    words={r"\bwhoever\b": "the caller", r"\brooms?\b": "package"},
    first_words={"What": "Return ...", "The same": "name the thing"},
    allowed=({"path": "docs/*.md", "pattern": "[Rr]oom", "reason": "a planted exception"},),
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_repository_has_no_finding(check: str) -> None:
    found = CHECKS[check]()
    if found:  # no assertion: to explain it, pytest would print the list a second time
        pytest.fail("\n".join([f"{len(found)} findings of {check}:", *map(str, found)]), pytrace=False)


def module(text: str, path: str = "truecaller_async/x.py") -> File:
    return File(path, text)


def test_a_retired_package_and_module_are_found() -> None:
    paths = ["truecaller_async/old/a.py", "truecaller_async/x/gone.py", "truecaller_async/tokens/memory.py"]
    assert [finding.place for finding in retired_paths(paths, RULES)] == ["truecaller_async/old", *paths[1:]]
    others = ["truecaller_async/journal/memory.py", "truecaller_async/bygone.py", "tests/gone.py"]
    assert retired_paths(others, RULES) == []


@pytest.mark.parametrize(
    "text",
    [
        "class Ring: ...",
        "from x import Ring",
        "from x import y as _Ring",
        "import x\nx.Ring()",
        "def give_way(): ...",
        "def f(give_way): ...",
        "f(give_way=1)",
        "self.give_way = 1",
        "give_way = 1",
        "x: Ring",
        "# see `Ring.add`",
        '"""Wrap a `Ring`."""',
    ],
)
def test_a_retired_name_is_found(text: str) -> None:
    (finding,) = retired_names(module(text), RULES)
    assert str(finding).startswith("truecaller_async/x.py:")
    assert "is retired: use" in str(finding)


@pytest.mark.parametrize("text", ["class Rings: ...", "'Ring'", "# a Ring", "give_ways = 1", "# `RING`"])
def test_another_name_is_not_found(text: str) -> None:
    assert retired_names(module(text), RULES) == []


def test_a_retired_name_between_backticks_in_a_document_is_found() -> None:
    (finding,) = retired_names(File("docs/a.md", "# Title\n\nA `Ring(5)` holds times.\n"), RULES)
    assert finding.place == "docs/a.md:3"


@pytest.mark.parametrize(
    "text",
    [
        "def take(): ...",
        "def _take(): ...",
        "class A:\n    take: int",
        "class A:\n    take = 1",
        "class A:\n    def take(self): ...",
        "class A:\n    def f(self):\n        self.take = 1",
        "def f(take): ...",
        "take = 1",
        "def look(): ...",
    ],
)
def test_a_retired_definition_is_found_in_its_folder(text: str) -> None:
    assert len(retired_definitions(module(text, "truecaller_async/tokens/pool.py"), RULES)) == 1
    elsewhere = retired_definitions(module(text, "truecaller_async/journal/x.py"), RULES)
    assert len(elsewhere) == ("look" in text)


@pytest.mark.parametrize("text", ["x.take()", "def f():\n    take = 1", "def take_all(): ...", "from x import take"])
def test_a_use_is_no_definition(text: str) -> None:
    assert retired_definitions(module(text, "truecaller_async/tokens/pool.py"), RULES) == []


def test_a_retired_string_and_column_are_found() -> None:
    text = 'f("old.event")\nsql = "SELECT owes FROM batch"\n'
    places = {(finding.kind, finding.place) for finding in retired_strings(module(text), RULES)}
    assert places == {("retired_string", "truecaller_async/x.py:1"), ("retired_sql", "truecaller_async/x.py:2")}
    assert retired_strings(module('"""SELECT owes"""\nf("new.event", "owes")'), RULES) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('"""Serve whoever comes."""', 1),
        ("x = 1  # Whoever comes", 1),
        ("def f():\n    '''Text.\n\n    Of the room.'''", 4),
        ("raise ValueError('whoever comes')", 1),
        ("f(f'whoever {x} is')", 1),
        ("class A:\n    x: int\n    '''Two rooms.'''", 3),
    ],
)
def test_a_retired_word_is_found(text: str, line: int) -> None:
    (finding,) = retired_words(module(text), RULES)
    assert finding.place == f"truecaller_async/x.py:{line}"


@pytest.mark.parametrize("text", ["whoever = 1", "f('whoever')", "# `whoever` is a name", "# mushrooms"])
def test_a_name_or_another_word_is_not_found(text: str) -> None:
    assert retired_words(module(text), RULES) == []


def test_a_retired_word_in_a_document_is_found_unless_allowed() -> None:
    assert retired_words(File("docs/a.md", "A room."), RULES) == []
    (finding,) = retired_words(File("README.md", "One\ntwo rooms."), RULES)
    assert finding.place == "README.md:2"


def test_two_public_classes_with_one_name_are_found_except_in_the_mirror() -> None:
    files = [
        module("class A: ...\nclass _B: ...", "truecaller_async/x.py"),
        module("class A: ...\nclass _B: ...\nclass C: ...", "truecaller_async/y/z.py"),
        module("class C: ...", "truecaller_async/blocking/client.py"),
        module("class C: ...", "truecaller_async/blocking.py"),
    ]
    (finding,) = duplicate_classes(files)
    assert str(finding) == (
        "truecaller_async/x.py:1 A is defined in 2 modules: truecaller_async/x.py:1, truecaller_async/y/z.py:1"
    )


@pytest.mark.parametrize(
    ("summary", "kind"),
    [
        ("Return the next batch.", None),
        ("`status_info` of a row.", None),
        (f"Return {'x' * 93}.", "summary_too_long"),
        ("Return the next batch", "summary_without_period"),
        ("return the next batch.", "summary_without_capital"),
        ("What comes next.", "summary_first_word"),
        ("The same for batches.", "summary_first_word"),
        ("Next the batch of it.", "summary_repeats_name"),
        ("Next batch.", "summary_repeats_name"),
        ("Whatever is next.", None),
    ],
)
def test_a_summary_line_that_breaks_a_rule_is_found(summary: str, kind: str | None) -> None:
    text = f'class A:\n    def next_batch(self):\n        """{summary}\n\n        More.\n        """'
    found = [(finding.kind, finding.place) for finding in summary_lines(module(text), RULES)]
    assert found == ([(kind, "truecaller_async/x.py:3")] if kind else [])


def test_a_summary_that_repeats_the_name_of_a_class_is_found() -> None:
    (finding,) = summary_lines(module('class BatchPlan:\n    """The batch plan."""'), RULES)
    assert finding.kind == "summary_repeats_name"


def test_a_long_test_name_is_found() -> None:
    text = f"def test_{'x' * 65}(): ...\nasync def test_{'x' * 66}(): ...\ndef {'x' * 80}(): ..."
    (finding,) = long_test_names(module(text, "tests/test_x.py"))
    assert finding.place == "tests/test_x.py:2"


def test_a_large_folder_is_found() -> None:
    names = [*(f"m{number}" for number in range(13)), "__init__", "__main__"]
    cli = [f"truecaller_async/cli/report/{name}.py" for name in names]
    journal = [f"truecaller_async/journal/{name}.py" for name in names]
    (finding,) = large_folders(cli + journal)
    assert str(finding) == "truecaller_async/cli/report has 13 modules, 12 are allowed"
    assert large_folders([*journal, "truecaller_async/journal/n.py"]) == []
    assert len(large_folders([*journal, "truecaller_async/journal/n.py", "truecaller_async/journal/o.py"])) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("GRACE = 30.0", 1),
        ("_CALM: int = 2 * 60", 1),
        ("GRACE_SECONDS = 30.0", 0),
        ("TRIES_MAX = -3", 0),
        ("BYTES_PER_ROW = 3", 0),
        ("FLAG = True", 0),
        ("NAME = 'x'", 0),
        ("def f():\n    GRACE = 1", 0),
    ],
)
def test_a_numeric_constant_without_unit_is_found(text: str, count: int) -> None:
    assert len(constants_without_unit(module(text))) == count


def test_the_help_of_each_command_is_read() -> None:
    texts = {file.path: file.text for file in help_files()}
    assert {"<truecaller --help>", "<truecaller push --help>", "<truecaller campaign run --help>"} <= texts.keys()
    assert all("Usage:" in text for text in texts.values())


def test_each_folder_of_a_rule_exists() -> None:
    folders = [folders.split("|") for folders in retired().definitions if folders != "."]
    paths = [file.path for file in language.package_files()]
    assert [one for one in folders if not any(language._is_below(path, name) for path in paths for name in one)] == []


def test_each_exception_has_a_reason() -> None:
    assert [one for one in retired().allowed if not one.get("reason")] == []


def test_the_command_prints_the_counts_and_the_findings_of_a_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(language, "CHECKS", {"x": lambda: [language.Finding("odd", "tests/a.py:1", "is odd")]})
    monkeypatch.setattr(language, "REPORTED", {})
    language.main(["odd"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["odd", "1", "of", "these", "in", "tests:", "1"],
        ["total", "1"],
        ["tests/a.py:1", "is", "odd"],
    ]
