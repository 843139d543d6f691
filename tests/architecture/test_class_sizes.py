"""Check that no class of the campaign engine has many public attributes, so that each has one subject."""

from __future__ import annotations

import ast

from .sources import Module, modules

ATTRIBUTES_MAX = 15
RECORDS = {"CampaignBatch"}
"""A batch is a record: the row of a table, with the facts of the run and the attached content."""


def public_attributes(node: ast.ClassDef) -> set[str]:
    """Return the public attributes that the class declares, or sets in `__init__`."""
    names = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    for function in node.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            names |= {
                one.attr
                for one in ast.walk(function)
                if isinstance(one, ast.Attribute)
                and isinstance(one.ctx, ast.Store)
                and isinstance(one.value, ast.Name)
                and one.value.id == "self"
            }
    return {name for name in names if not name.startswith("_")}


def large_classes(module: Module) -> list[str]:
    """Return the classes of a module with too many public attributes."""
    classes = [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    return [
        f"{module.name}.{node.name}"
        for node in classes
        if len(public_attributes(node)) > ATTRIBUTES_MAX and node.name not in RECORDS
    ]


def test_no_class_of_the_engine_has_many_public_attributes() -> None:
    parts = [module for module in modules() if module.package.startswith(("campaign", "journal", "tokens", "limits"))]
    assert len(parts) > 30
    assert [name for module in parts for name in large_classes(module)] == []


def test_a_large_class_is_found() -> None:
    fields = "\n".join(f"    field_{number}: int = 0" for number in range(16))
    assert large_classes(Module.of("truecaller_async.campaign.x", f"class Large:\n{fields}")) != []
