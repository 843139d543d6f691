"""Imports of the sandbox: only model classes of the package, and no I/O outside of two modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from truecaller_async import sandbox

SANDBOX = Path(sandbox.__file__).parent
SHARED = ("truecaller_async.errors", "truecaller_async.models", "truecaller_async.options", "truecaller_async.sandbox")
IMPURE = {"aiohttp", "asyncio", "time", "os", "socket"}
FILES = sorted(path.relative_to(SANDBOX).as_posix() for path in SANDBOX.rglob("*.py"))


def imports_of(name: str) -> set[str]:
    """Return the full names of the modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((SANDBOX / name).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("name", FILES)
def test_client_and_sandbox_share_only_model_classes(name: str) -> None:
    allowed = (*SHARED, "truecaller_async.clock") if name == "app.py" else SHARED
    own = {module for module in imports_of(name) if module.startswith("truecaller_async")}
    assert {module for module in own if not module.startswith(allowed)} == set()


@pytest.mark.parametrize(
    "name", [name for name in FILES if name not in ("__init__.py", "faults/raw_http.py", "app.py")]
)
def test_only_raw_http_and_app_use_io_and_clock(name: str) -> None:
    assert IMPURE.isdisjoint(module.partition(".")[0] for module in imports_of(name))
