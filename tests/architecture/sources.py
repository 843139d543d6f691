"""Modules of the package as syntax trees: their imports, names and calls. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs

PACKAGE = "truecaller_async"
REPOSITORY = Path(__file__).parents[2]


@attrs.frozen
class Use:
    """One dotted name in full, such as `aiohttp.ClientSession`, with its line."""

    name: str
    line: int
    typing_only: bool = False

    def is_within(self, name: str) -> bool:
        """Return whether this is the module or name, or part of it."""
        return self.name == name or self.name.startswith(name + ".")


@attrs.frozen
class Module:
    """One file of the package.

    `package` is the first part of the name below the top level; it is empty for the top level. The pure parts of
    `campaign` are packages of their own.
    """

    name: str
    tree: ast.Module
    is_package: bool = False

    @classmethod
    def of(cls, name: str, text: str, *, is_package: bool = False) -> Module:
        return cls(name, ast.parse(text), is_package)

    @property
    def package(self) -> str:
        return package_of(self.name)

    def imports(self) -> list[Use]:
        """Return all imports at any level; a `from` import yields each imported name."""
        deferred = set(self._typing_only())
        found: list[Use] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [Use(alias.name, node.lineno, node in deferred) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(node)
                found += [Use(f"{source}.{alias.name}", node.lineno, node in deferred) for alias in node.names]
        return found

    def uses(self) -> list[Use]:
        """Return all imports, and all dotted names that begin with an imported name, in full."""
        names = self._names()
        return self.imports() + [
            Use(names[first] + rest, node.lineno)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Name | ast.Attribute)
            for first, rest in _dotted(node)
            if first in names
        ]

    def calls(self) -> list[Use]:
        """Return all called dotted names, in full if they were imported."""
        names = self._names()
        return [
            Use(names.get(first, first) + rest, node.lineno)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Call)
            for first, rest in _dotted(node.func)
        ]

    def _names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                tops = [alias.name.partition(".")[0] for alias in node.names]
                names |= {a.asname or top: a.name if a.asname else top for a, top in zip(node.names, tops, strict=True)}
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(node)
                names |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in node.names}
        return names

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        climb = node.level - 1 if self.is_package else node.level
        parts = self.name.split(".")
        return ".".join([*parts[: len(parts) - climb], *filter(None, [node.module])])

    def _typing_only(self) -> Iterator[ast.AST]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                for statement in node.body:
                    yield from ast.walk(statement)


def _dotted(node: ast.expr) -> list[tuple[str, str]]:
    """Return the first name of a dotted expression and the rest; an empty list for other expressions."""
    rest = ""
    while isinstance(node, ast.Attribute):
        rest = f".{node.attr}{rest}"
        node = node.value
    return [(node.id, rest)] if isinstance(node, ast.Name) else []


def package_of(module: str) -> str:
    """Return the package of a full module name. The pure parts of `campaign` are packages of their own."""
    parts = module.split(".")[1:]
    is_pure_part = parts[:2] in (["campaign", "core"], ["campaign", "rows"])
    return ".".join(parts[: 2 if is_pure_part else 1])


@cache
def modules() -> tuple[Module, ...]:
    """Return all modules of the package."""
    root = REPOSITORY / PACKAGE
    return tuple(_read(path) for path in sorted(root.rglob("*.py")))


def _read(path: Path) -> Module:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module.of(name, path.read_text("utf-8"), is_package=is_package)
