"""Check which modules an import loads. The tests count modules and measure no time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .sources import REPOSITORY

BASE = {"truecaller_async", "truecaller_async._version"}
HEAVY = {
    "aiolimiter",
    "cattrs",
    "msgspec",
    "sqlite3",
    "truecaller_async.campaign.stream",
    "truecaller_async.journal",
    "truecaller_async.limits",
    "truecaller_async.protocol",
    "truecaller_async.resources",
    "truecaller_async.sandbox",
    "truecaller_async.sources",
    "truecaller_async.tokens",
    "truecaller_async.transport",
}
"""Modules that importing the client class must not load."""

CLIENT = (
    "TruecallerClient(client_account_id='00000000-0000-4000-8000-000000000001', key_id='the-key-id', api_key='the-key')"
)


def loaded_by(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after running this code."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603
    return set(done.stdout.split())


def package_modules(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "truecaller_async"}


def test_importing_the_package_loads_no_submodule_and_no_library() -> None:
    modules = loaded_by("import truecaller_async")
    assert package_modules(modules) == BASE
    assert modules & {"aiohttp", "asyncio", "attrs", "attr", "cattrs", "msgspec"} == set()


@pytest.mark.parametrize(
    "code",
    [
        "from truecaller_async import TruecallerClient",
        "import truecaller_async\ntruecaller_async.TruecallerClient",
    ],
)
def test_client_name_is_available_without_its_dependencies(code: str) -> None:
    modules = loaded_by(code)
    assert "aiohttp" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("module", ["truecaller_async", "truecaller_async.blocking"])
def test_creating_a_client_imports_neither_engine_nor_tolerant_parser(module: str) -> None:
    modules = loaded_by(f"from {module} import TruecallerClient\n{CLIENT}")
    assert "truecaller_async.transport" in modules
    assert modules & {"cattrs", "truecaller_async.campaign.stream", "truecaller_async.sources"} == set()


@pytest.mark.parametrize("name", ["ConfigError", "CallRecord", "Limits"])
def test_models_are_available_without_aiohttp(name: str) -> None:
    assert "aiohttp" not in loaded_by(f"from truecaller_async import {name}")


def test_command_line_help_does_not_import_aiohttp() -> None:
    modules = loaded_by("import truecaller_async.cli")
    assert "aiohttp" not in modules
