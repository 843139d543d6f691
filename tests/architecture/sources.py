"""The package as text: its modules, what they import and which names they use. Nothing is imported to find out."""

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
    """One dotted name as it would be written in full, such as `aiohttp.ClientSession`, and where."""

    name: str
    line: int
    typing_only: bool = False

    def is_about(self, name: str) -> bool:
        """Whether this is that module or name, or something inside it."""
        return self.name == name or self.name.startswith(name + ".")


@attrs.frozen
class Module:
    """One file. `package` is the part after the name of the package, and empty for the package itself."""

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
        """Every import, wherever it stands; a `from` import names what it brings."""
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
        """Every import, and every dotted name in the code that begins with something imported, written in full."""
        names = self._names()
        return self.imports() + [
            Use(names[first] + rest, node.lineno)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Name | ast.Attribute)
            for first, rest in _dotted(node)
            if first in names
        ]

    def calls(self) -> list[Use]:
        """Every dotted name that is called, written in full; what was not imported is written as it stands."""
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
    """The first name of a dotted expression and the rest with its dots; nothing where it is no such expression."""
    rest = ""
    while isinstance(node, ast.Attribute):
        rest = f".{node.attr}{rest}"
        node = node.value
    return [(node.id, rest)] if isinstance(node, ast.Name) else []


def package_of(module: str) -> str:
    """The package of a module's full name."""
    return module.partition(".")[2].partition(".")[0]


@cache
def modules() -> tuple[Module, ...]:
    """All modules of the package."""
    root = REPOSITORY / PACKAGE
    return tuple(_read(path) for path in sorted(root.rglob("*.py")))


def _read(path: Path) -> Module:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module.of(name, path.read_text("utf-8"), is_package=is_package)
