"""Check that the public names are a literal list, and that all of them have complete docstrings.

A docstring must contain the word "second" if a parameter or a field is a duration. The docstring of a coroutine, and of
every call of the blocking client, must say what it raises: with the word itself, or by naming the call that does
("As `publish`").
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import attrs
import pytest

import truecaller_async
from truecaller_async import blocking

from .sources import PACKAGE, Module, Use, modules


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def is_submodule(value: object) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith(PACKAGE + ".")


def literal_all(module: Module) -> list[str]:
    """Return the names of `__all__`, which must be one literal list of strings."""
    for node in module.tree.body:
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


def top_level_module() -> Module:
    return next(module for module in modules() if module.name == PACKAGE)


def documented_constants() -> set[str]:
    """Return the names that are assigned at the top of a module and have a docstring below."""
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


def is_documented(name: str) -> bool:
    value = getattr(truecaller_async, name)
    if inspect.isclass(value):
        return bool(vars(value).get("__doc__"))
    if inspect.isroutine(value):
        return bool(value.__doc__)
    return is_dunder(name) or name in documented_constants()


def listed_for_type_checkers() -> set[str]:
    """Return the names that `__init__` imports for type checkers only."""
    return {use.name.rpartition(".")[2] for use in top_level_module().imports() if use.typing_only}


def test_all_is_a_literal_list_of_the_public_names() -> None:
    names = literal_all(top_level_module())
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(truecaller_async, name)] == []
    public = {name for name in dir(truecaller_async) if not name.startswith("_")}
    submodules = {name for name in public if is_submodule(getattr(truecaller_async, name))}
    assert {name for name in names if not is_dunder(name)} == public - submodules


def test_type_checkers_and_runtime_see_the_same_names() -> None:
    assert listed_for_type_checkers() == {name for name in literal_all(top_level_module()) if not is_dunder(name)}
    for name, module in truecaller_async._MODULE_OF.items():
        assert Use(f"{module}.{name}", 0, typing_only=True) in [
            Use(use.name, 0, use.typing_only) for use in top_level_module().imports()
        ]


def test_star_import_has_everything_and_unknown_name_raises() -> None:
    brought: dict[str, object] = {}
    exec("from truecaller_async import *", brought)  # noqa: S102 - a star import is not possible in a function
    assert set(literal_all(top_level_module())) <= brought.keys()
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = truecaller_async.Nonsense


def test_every_public_name_has_documentation() -> None:
    assert [name for name in literal_all(top_level_module()) if not is_documented(name)] == []


def test_every_module_has_a_docstring() -> None:
    assert [module.name for module in modules() if not ast.get_docstring(module.tree)] == []


CLIENT: dict[str, Any] = {
    "client_account_id": "00000000-0000-4000-8000-000000000001",
    "key_id": "the-key-id",
    "api_key": "the-api-key",
}
DURATIONS = re.compile(r"timeout|deadline|total|initial|cap|connect|read|first|per|linger|expiry_margin|wait|elapsed")
"""Names of floats that are durations. A float with another name is not one, such as a rate."""
RAISES = re.compile(r"\braises\b|\bas `\w+`")


def docstring_of(value: Any) -> str:
    """Return the docstring in one line of lower-case letters."""
    return " ".join((value.__doc__ or "").lower().split())


def reachable_classes() -> dict[str, type]:
    """Return all public classes, and the classes of a client's attributes, by their access path."""
    found = {name: getattr(truecaller_async, name) for name in literal_all(top_level_module())}
    found |= {f"blocking.{name}": getattr(blocking, name) for name in blocking.__all__}
    for prefix, client in (
        ("client", truecaller_async.TruecallerClient(**CLIENT)),
        ("blocking client", blocking.TruecallerClient(**CLIENT)),
    ):
        found |= {f"{prefix}.{name}": type(group) for name, group in vars(client).items() if not name.startswith("_")}
    return {name: value for name, value in found.items() if inspect.isclass(value)}


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield public methods and properties that the class defines itself."""
    for name, value in vars(cls).items():
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not name.startswith("_") and (inspect.isfunction(plain) or isinstance(plain, property)):
            yield name, plain


def callables() -> dict[str, Any]:
    """Return public functions, and methods and properties of reachable classes, by name."""
    found = {name: getattr(truecaller_async, name) for name in literal_all(top_level_module())}
    functions = {name: value for name, value in found.items() if inspect.isfunction(value)}
    return functions | {
        f"{where}.{name}": value for where, cls in reachable_classes().items() for name, value in members(cls)
    }


def durations_of(function: Any) -> list[str]:
    """Return the parameters that are durations."""
    if isinstance(function, property):
        return []
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if "float" in str(one.annotation) and DURATIONS.search(one.name)]


def does_io(where: str, value: Any) -> bool:
    """Return whether the callable does I/O: a coroutine, or a call of the blocking client."""
    if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
        return True
    return where.startswith("blocking") and not isinstance(value, property)


def test_enough_objects_are_checked() -> None:
    assert {"client.calls.push", "client.numbers.wait_listed", "CampaignStream.drain", "Limits.replace"} <= set(
        callables()
    )
    assert {"blocking client.exports.user_feedback", "blocking.Campaign.summary", "read_csv"} <= set(callables())
    assert durations_of(truecaller_async.TruecallerClient(**CLIENT).batches.wait) == ["timeout"]


def test_every_method_property_and_function_has_a_docstring() -> None:
    assert [where for where, value in callables().items() if not value.__doc__] == []


def test_every_resource_group_and_class_has_its_own_docstring() -> None:
    assert [where for where, cls in reachable_classes().items() if not vars(cls).get("__doc__")] == []


def test_duration_parameters_state_their_unit() -> None:
    silent = [
        where for where, value in callables().items() if durations_of(value) and "second" not in docstring_of(value)
    ]
    assert silent == []


def test_duration_fields_state_their_unit() -> None:
    silent = []
    for where, cls in reachable_classes().items():
        fields = attrs.fields(cls) if attrs.has(cls) else ()
        timed = [one.name for one in fields if "float" in str(one.type) and DURATIONS.fullmatch(one.name)]
        if timed and "second" not in docstring_of(cls):
            silent.append(f"{where}: {', '.join(timed)}")
    assert silent == []


def test_functions_with_io_document_what_they_raise() -> None:
    silent = [
        where
        for where, value in callables().items()
        if does_io(where, value) and not RAISES.search(docstring_of(value))
    ]
    assert silent == []
