"""Checks of the language of the repository: names, words, summary lines, unique classes, sizes.

`retired.toml` beside this file lists what is retired and what replaces it. Each check returns a list of `Finding`; the
tests require that the lists are empty. The number of findings of each kind is printed by
running this module with `python -m`; with kinds as arguments it also prints each finding of these kinds.
"""

from __future__ import annotations

import ast
import importlib
import io
import pkgutil
import re
import sys
import tokenize
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .sources import PACKAGE, REPOSITORY

if TYPE_CHECKING:
    import click

SUMMARY_MAX_CHARS = 100
TEST_NAME_MAX_CHARS = 70
FOLDER_MAX_FILES = 14
SMALL_FOLDER_MAX_FILES = 12
SMALL_FOLDERS = ("truecaller_async/cli", "truecaller_async/sandbox")
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")

SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|FROM|WHERE|VALUES|JOIN|SET)\b")
QUOTED = re.compile(r"`([^`\n]+)`")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
FILLERS = frozenset({"a", "an", "the", "it", "its", "of", "this", "that", "them", "their"})

UNIT = re.compile(
    r"(?:.*_)?(?:SECONDS|MINUTES|HOURS|DAYS|MS|NS|BYTES|CHARS|DIGITS|BITS|PERCENT|ROWS|RECORDS|BATCHES|TOKENS|REQUESTS|PAGES"
    r"|LINES|COLUMNS|TASKS|EVENTS|ATTEMPTS|MAX|MIN|INITIAL|FACTOR|RATIO|FRACTION|EXPONENT|COUNT|SIZE|WIDTH|HEIGHT|PORT"
    r"|VERSION|INDEX|THRESHOLD|LIMIT|STATUS|LEVEL|ID|CODE|MASK|SEED|PER_.+)"
)
"""Names of numeric constants that end with a unit or a role."""


@attrs.frozen
class Finding:
    """One violation: its kind, its place as `file:line`, and a text that says what to do."""

    kind: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place} {self.text}"


@attrs.frozen
class Retired:
    """The content of `retired.toml`."""

    packages: Mapping[str, str]
    modules: Mapping[str, str]
    names: Mapping[str, str]
    definitions: Mapping[str, Mapping[str, str]]
    sql: Mapping[str, str]
    strings: Mapping[str, str]
    words: Mapping[str, str]
    first_words: Mapping[str, str]
    allowed: tuple[Mapping[str, str], ...] = ()

    def allows(self, path: str, matched: str) -> bool:
        """Return whether an exception covers this match."""
        return any(fnmatch(path, one["path"]) and re.fullmatch(one["pattern"], matched) for one in self.allowed)


@cache
def retired() -> Retired:
    """Read `retired.toml`."""
    data: dict[str, Any] = tomllib.loads(Path(__file__).with_name("retired.toml").read_text("utf-8"))
    return Retired(**(data | {"allowed": tuple(data.get("allowed", ()))}))


@attrs.frozen
class File:
    """One text: its path below the repository, with `/`, and its content."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.text)

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")


@lru_cache(maxsize=4)  # kept trees would slow down each garbage collection of later tests
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _file(path: Path) -> File:
    return File(path.relative_to(REPOSITORY).as_posix(), path.read_text("utf-8"))


@cache
def package_files() -> tuple[File, ...]:
    """Return the modules of the package."""
    return tuple(_file(path) for path in sorted((REPOSITORY / PACKAGE).rglob("*.py")))


@cache
def support_files() -> tuple[File, ...]:
    """Return the Python files below `tests` that contain no tests."""
    paths = sorted((REPOSITORY / "tests").rglob("*.py"))
    return tuple(_file(path) for path in paths if not path.name.startswith("test_"))


@cache
def test_files() -> tuple[File, ...]:
    """Return the Python files that contain tests."""
    return tuple(_file(path) for path in sorted((REPOSITORY / "tests").rglob("test_*.py")))


@cache
def document_files() -> tuple[File, ...]:
    """Return the documentation, as far as it exists."""
    paths = [REPOSITORY / name for name in DOCUMENTS] + sorted((REPOSITORY / "docs").rglob("*.md"))
    return tuple(_file(path) for path in paths if path.exists())


@cache
def help_files() -> tuple[File, ...]:
    """Return the `--help` of each command of the command line, as files named after the command."""
    return tuple(File(f"<{path} --help>", text) for path, text in _helps(root_command(), None, "truecaller"))


def root_command() -> click.Command:
    """Return the command `truecaller`: the `app` of a module of the folder `cli`."""
    import click

    folder = importlib.import_module(f"{PACKAGE}.cli")
    for module in pkgutil.iter_modules(folder.__path__, folder.__name__ + "."):
        if module.name.rpartition(".")[2] in ("app", "main"):
            app = getattr(importlib.import_module(module.name), "app", None)
            if isinstance(app, click.Command):
                return app
    raise AssertionError("no module cli/app.py or cli/main.py with a click command `app`")


def _helps(command: click.Command, parent: click.Context | None, name: str) -> Iterator[tuple[str, str]]:
    import click

    context = click.Context(command, parent, name, terminal_width=100, max_content_width=100)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _helps(found, context, child)


# --- texts: docstrings, comments, string literals, lines of documents ---


def docstring_nodes(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.Constant]]:
    """Yield each docstring, and each string below an attribute, with the node that it documents."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for number, statement in enumerate(body):
            match statement:
                case ast.Expr(value=ast.Constant(value=str()) as text):
                    yield (body[number - 1] if number else node), text
                case _:
                    pass


def prose(file: File) -> Iterator[tuple[int, str]]:
    """Yield docstrings, comments, literals with spaces, or a whole document, each with its first line."""
    if not file.is_python:
        yield 1, file.text
        return
    yield from comments(file.text)
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield each comment with its line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _matches(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    for found in pattern.finditer(text):
        yield text.count("\n", 0, found.start()), " ".join(found[0].split())


# --- retired names ---


def retired_paths(paths: Iterable[str], rules: Retired) -> list[Finding]:
    """Find folders and modules with a retired name."""
    found: dict[str, Finding] = {}
    for path in paths:
        for folder, instead in rules.packages.items():
            if path.startswith(folder + "/"):
                found.setdefault(folder, Finding("retired_package", folder, f"is retired: use {instead}"))
        if not path.startswith(PACKAGE + "/"):
            continue
        for old, instead in rules.modules.items():
            if f"/{path.removesuffix('.py')}".endswith(f"/{old}"):
                found[path] = Finding("retired_module", path, f"is retired: use {instead}")
    return list(found.values())


def used_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each identifier of the code, definitions and uses, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.keyword(arg=str(name)):
                yield node.value.lineno, name
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                for alias in aliases:
                    yield node.lineno, alias.asname or alias.name.rpartition(".")[2]
            case _:
                pass


def quoted_names(file: File) -> Iterator[tuple[int, str]]:
    """Yield each name with a first capital letter between backticks in the prose."""
    for first, text in prose(file):
        for line, quoted in _matches(text, QUOTED):
            for name in IDENTIFIER.findall(quoted):
                if name[0].isupper() and not name.isupper():
                    yield first + line, name


def retired_names(file: File, rules: Retired) -> list[Finding]:
    """Find identifiers that are retired everywhere."""
    names = [*used_names(file.tree)] if file.is_python else []
    found = {
        (line, name)
        for line, name in [*names, *quoted_names(file)]
        if name.lstrip("_") in rules.names and not rules.allows(file.path, name)
    }
    return [
        Finding("retired_name", f"{file.path}:{line}", f"{name!r} is retired: use {rules.names[name.lstrip('_')]}")
        for line, name in sorted(found)
    ]


def defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what a module defines: everything but local variables."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name):
                yield node.lineno, name
                yield from _assigned(node.body)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Attribute(attr=name, value=ast.Name(id="self"), ctx=ast.Store()):
                yield node.lineno, name
            case ast.Module():
                yield from _assigned(node.body)
            case _:
                pass


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                yield statement.lineno, target.id


def retired_definitions(file: File, rules: Retired) -> list[Finding]:
    """Find definitions whose name is retired in the folder of the file."""
    here = {
        name: instead
        for folders, names in rules.definitions.items()
        if any(_is_below(file.path, folder) for folder in folders.split("|"))
        for name, instead in names.items()
    }
    return [
        Finding("retired_definition", f"{file.path}:{line}", f"defines {name!r}: use {here[name.lstrip('_')]}")
        for line, name in sorted(set(defined_names(file.tree)))
        if name.lstrip("_") in here and not rules.allows(file.path, name)
    ]


def _is_below(path: str, folder: str) -> bool:
    top = f"{PACKAGE}/" if folder == "." else f"{PACKAGE}/{folder}"
    return path.startswith(top) if folder == "." else path.startswith((top + "/", top + ".py"))


def retired_strings(file: File, rules: Retired) -> list[Finding]:
    """Find retired string literals, and retired tables and columns in SQL."""
    documentation = {id(node) for _, node in docstring_nodes(file.tree)}
    found = []
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in documentation:
            continue
        place = f"{file.path}:{node.lineno}"
        if node.value in rules.strings:
            instead = rules.strings[node.value]
            found.append(Finding("retired_string", place, f"{node.value!r} is retired: use {instead}"))
        if SQL.search(node.value):
            names = set(IDENTIFIER.findall(node.value)) & rules.sql.keys()
            found += [
                Finding("retired_sql", place, f"{name!r} in SQL: use {rules.sql[name]}") for name in sorted(names)
            ]
    return found


# --- retired words ---


def retired_words(file: File, rules: Retired) -> list[Finding]:
    """Find retired words in the prose of a file. Names between backticks are not prose."""
    patterns = [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in rules.words.items()]
    found = set()
    for first, text in prose(file):
        plain = QUOTED.sub("``", text)
        for pattern, instead in patterns:
            for line, matched in _matches(plain, pattern):
                if not rules.allows(file.path, matched):
                    found.add((first + line, f"says {matched[:60]!r}: say {instead}"))
    return [Finding("retired_word", f"{file.path}:{line}", text) for line, text in sorted(found)]


# --- classes, summary lines, sizes, constants ---


def public_classes(files: Iterable[File]) -> dict[str, list[str]]:
    """Return the places of the public classes of all modules, except those of `blocking`."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        if file.path.removeprefix(f"{PACKAGE}/").startswith("blocking"):
            continue
        for node in file.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{file.path}:{node.lineno}")
    return dict(places)


def duplicate_classes(files: Iterable[File]) -> list[Finding]:
    """Find public class names that two modules define."""
    return [
        Finding("duplicate_class", places[0], f"{name} is defined in {len(places)} modules: {', '.join(places)}")
        for name, places in sorted(public_classes(files).items())
        if len(places) > 1
    ]


def summary_lines(file: File, rules: Retired) -> list[Finding]:
    """Find summary lines that break a rule: length, period, first letter, first words, repeated name."""
    found = []
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if text is None:
            continue
        line = node.body[0].lineno
        summary = text.partition("\n")[0].rstrip()
        name = getattr(node, "name", "")
        found += [Finding(kind, f"{file.path}:{line}", said) for kind, said in _summary_faults(summary, name, rules)]
    return found


def _summary_faults(summary: str, name: str, rules: Retired) -> Iterator[tuple[str, str]]:
    if len(summary) > SUMMARY_MAX_CHARS:
        yield "summary_too_long", f"the summary has {len(summary)} characters, {SUMMARY_MAX_CHARS} are allowed"
    if not summary.endswith("."):
        yield "summary_without_period", f"the summary does not end with a period: {summary!r}"
    if not re.match(r"[A-Z0-9`]", summary):
        yield "summary_without_capital", f"the summary does not begin with a capital letter: {summary!r}"
    for words, instead in rules.first_words.items():
        if re.match(rf"{re.escape(words)}\b", summary):
            yield "summary_first_word", f"the summary begins with {words!r}: {instead}: {summary!r}"
    if name and _normal(summary) == _normal(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)):
        yield "summary_repeats_name", f"the summary repeats the name {name!r}: {summary!r}"


def _normal(text: str) -> list[str]:
    words = re.findall(r"[a-z0-9]+", text.lower().replace("_", " "))
    return [word for word in words if word not in FILLERS]


def long_test_names(file: File) -> list[Finding]:
    """Find test functions with a long name."""
    return [
        Finding("test_name_too_long", f"{file.path}:{node.lineno}", f"{node.name} has {len(node.name)} characters")
        for node in ast.walk(file.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name) > TEST_NAME_MAX_CHARS
    ]


def large_folders(paths: Iterable[str]) -> list[Finding]:
    """Find folders with too many modules. `__init__.py` and `__main__.py` are not counted."""
    counts = Counter(path.rpartition("/")[0] for path in paths if not path.rpartition("/")[2].startswith("__"))
    found = []
    for folder, count in sorted(counts.items()):
        small = any(folder == one or folder.startswith(one + "/") for one in SMALL_FOLDERS)
        most = SMALL_FOLDER_MAX_FILES if small else FOLDER_MAX_FILES
        if count > most:
            found.append(Finding("folder_too_large", folder, f"has {count} modules, {most} are allowed"))
    return found


def constants_without_unit(file: File) -> list[Finding]:
    """Find numeric constants of a module whose name says neither a unit nor a role."""
    return [
        Finding("constant_without_unit", f"{file.path}:{statement.lineno}", f"{name} says no unit and no role")
        for statement in file.tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
        for _, name in _assigned([statement])
        if name.isupper() and _is_number(statement.value)
        if not UNIT.fullmatch(name)
    ]


def _is_number(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.BinOp(left=left, right=right):
            return _is_number(left) and _is_number(right)
        case ast.UnaryOp(operand=operand):
            return _is_number(operand)
        case _:
            return False


# --- all checks ---


def _paths() -> list[str]:
    return [file.path for file in (*package_files(), *support_files(), *test_files())]


def _code(check: Callable[[File, Retired], list[Finding]], files: Iterable[File]) -> list[Finding]:
    return [finding for file in files for finding in check(file, retired())]


def _texts() -> tuple[File, ...]:
    return (*package_files(), *support_files(), *document_files(), *help_files())


CHECKS: Mapping[str, Callable[[], list[Finding]]] = {
    "retired packages and modules": lambda: retired_paths(_paths(), retired()),
    "retired names": lambda: _code(retired_names, _texts()),
    "retired definitions": lambda: _code(retired_definitions, package_files()),
    "retired strings and SQL": lambda: _code(retired_strings, (*package_files(), *support_files())),
    "retired words": lambda: _code(retired_words, _texts()),
    "duplicate classes": lambda: duplicate_classes(package_files()),
    "summary lines": lambda: _code(summary_lines, (*package_files(), *support_files())),
    "long test names": lambda: [finding for file in test_files() for finding in long_test_names(file)],
    "large folders": lambda: large_folders(file.path for file in package_files()),
}
"""The checks that the tests require to find nothing."""

REPORTED: Mapping[str, Callable[[], list[Finding]]] = {
    "constants without unit": lambda: [one for file in package_files() for one in constants_without_unit(file)],
}
"""Checks that are counted but not required."""


def main(kinds: list[str]) -> None:
    """Print the number of findings of each kind, then the findings of the given kinds."""
    write = sys.stdout.write
    findings = [finding for check in (*CHECKS.values(), *REPORTED.values()) for finding in check()]
    in_tests = Counter(finding.kind for finding in findings if finding.place.startswith("tests/"))
    for kind, count in sorted(Counter(finding.kind for finding in findings).items()):
        write(f"{kind:26} {count:6}   of these in tests: {in_tests[kind]}\n")
    write(f"{'total':26} {len(findings):6}\n")
    for finding in findings:
        if finding.kind in kinds:
            write(f"{finding}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
