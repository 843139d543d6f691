"""What an import loads, and what it leaves for the moment when it is needed. Modules are counted, never seconds."""

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
    "truecaller_async.engine",
    "truecaller_async.journal",
    "truecaller_async.limits",
    "truecaller_async.protocol",
    "truecaller_async.resources",
    "truecaller_async.sandbox",
    "truecaller_async.sources",
    "truecaller_async.tokens",
    "truecaller_async.transport",
}
"""What the name of the client does without."""

CLIENT = (
    "TruecallerClient(client_account_id='00000000-0000-4000-8000-000000000001', key_id='the-key-id', api_key='the-key')"
)


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after running this."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603
    return set(done.stdout.split())


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "truecaller_async"}


def test_the_package_itself_loads_nothing_of_its_own_and_no_library() -> None:
    modules = loaded_by("import truecaller_async")
    assert ours(modules) == BASE
    assert modules & {"aiohttp", "asyncio", "attrs", "attr", "cattrs", "msgspec"} == set()


@pytest.mark.parametrize(
    "code",
    [
        "from truecaller_async import TruecallerClient",
        "import truecaller_async\ntruecaller_async.TruecallerClient",
    ],
)
def test_the_name_of_the_client_is_had_without_what_is_behind_it(code: str) -> None:
    modules = loaded_by(code)
    assert "aiohttp" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("module", ["truecaller_async", "truecaller_async.blocking"])
def test_a_client_that_is_made_needs_neither_the_engine_nor_the_tolerant_reader(module: str) -> None:
    modules = loaded_by(f"from {module} import TruecallerClient\n{CLIENT}")
    assert "truecaller_async.transport" in modules
    assert modules & {"cattrs", "truecaller_async.engine", "truecaller_async.sources"} == set()


@pytest.mark.parametrize("name", ["ConfigError", "CallRecord", "Limits"])
def test_words_are_had_without_the_http_library(name: str) -> None:
    assert "aiohttp" not in loaded_by(f"from truecaller_async import {name}")


def test_the_help_of_the_command_line_needs_no_http_library() -> None:
    modules = loaded_by("import truecaller_async.cli")
    assert "aiohttp" not in modules
