"""The public face is a literal list that tells the whole truth, and everything on it explains itself."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import truecaller_async

from .sources import PACKAGE, Module, modules


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def is_submodule(value: object) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith(PACKAGE + ".")


def literal_all(face: Module) -> list[str]:
    """The names of `__all__`, as far as it is written as one literal list of strings."""
    for node in face.tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(ast.unparse(target) == "__all__" for target in targets):
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            assert isinstance(value, ast.List), "__all__ is not a literal list"
            assert all(isinstance(item, ast.Constant) for item in value.elts), "__all__ holds more than strings"
            names: list[str] = ast.literal_eval(value)
            return names
    raise AssertionError("there is no __all__")


def face() -> Module:
    return next(module for module in modules() if module.name == PACKAGE)


def documented_constants() -> set[str]:
    """Names given a value at the top of a module, with a string right below."""
    found: set[str] = set()
    for module in modules():
        for node, below in zip(module.tree.body, module.tree.body[1:], strict=False):
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found |= {ast.unparse(target) for target in _targets(node)}
    return found


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def explains_itself(name: str) -> bool:
    value = getattr(truecaller_async, name)
    if inspect.isclass(value):
        return bool(vars(value).get("__doc__"))
    if inspect.isroutine(value):
        return bool(value.__doc__)
    return is_dunder(name) or name in documented_constants()


def test_all_is_a_literal_list_of_exactly_the_public_names() -> None:
    names = literal_all(face())
    public = {name for name, value in vars(truecaller_async).items() if not is_dunder(name) and not is_submodule(value)}
    assert len(names) == len(set(names))
    assert {name for name in names if not is_dunder(name)} == public
    assert [name for name in names if not hasattr(truecaller_async, name)] == []


def test_every_public_name_explains_itself() -> None:
    assert [name for name in literal_all(face()) if not explains_itself(name)] == []


def test_every_module_says_what_it_is() -> None:
    assert [module.name for module in modules() if not ast.get_docstring(module.tree)] == []
