"""Check that decision code is pure, and that each library is used in its packages only."""

from __future__ import annotations

import pytest

from .sources import Module, modules

PURE = {
    "models",
    "errors",
    "options",
    "ports",
    "protocol",
    "campaign.core",
    "campaign.rows",
    "validation",
    "resilience",
    "redaction",
}

IMPURE = (
    "asyncio",
    "time",
    "random",
    "os",
    "aiohttp",
    "sqlite3",
    "redis",
    "socket",
    "secrets",
    "subprocess",
    "threading",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
)

PACKAGES_OF = {
    "aiohttp.ClientSession": {"transport", "client", "wiring", "trustcaller"},
    "aiohttp.TCPConnector": {"transport"},
    "aiohttp.web": {"sandbox", "webhooks"},
    "aiolimiter": {"limits"},
    "sqlite3": {"storage", "tokens", "journal", "verification", "webhooks"},
    "redis": {"limits", "tokens"},
    "click": {"cli"},
    "rich": {"cli"},
}
"""Packages that may use a library, or a part of it."""

TYPE_ONLY_IN = {"aiohttp.ClientSession": {"client", "wiring", "trustcaller"}}
"""Packages that may use it as a type, but not call it."""


def impurities(module: Module) -> list[str]:
    """Return the uses in a module that are forbidden in a pure package; two types are allowed."""
    typed = {use.name for use in module.imports() if use.typing_only} & {"random.Random", "asyncio.Future"}
    found = [use for use in module.uses() if any(use.is_within(impure) for impure in IMPURE) and use.name not in typed]
    found += [use for use in module.calls() if use.name == "open"]
    return [f"{module.name}:{use.line} {use.name}" for use in found]


def intrusions(module: Module, name: str) -> list[str]:
    """Return the uses of a library outside its packages, and calls if only the type is allowed."""
    where = module.calls() if module.package in TYPE_ONLY_IN.get(name, ()) else module.uses()
    if module.package in PACKAGES_OF[name] - TYPE_ONLY_IN.get(name, set()):
        return []
    return [f"{module.name}:{use.line} {use.name}" for use in where if use.is_within(name)]


def test_pure_packages_use_no_clock_no_randomness_and_no_io() -> None:
    assert [use for module in modules() if module.package in PURE for use in impurities(module)] == []


@pytest.mark.parametrize("name", PACKAGES_OF)
def test_third_party_library_is_imported_only_in_its_packages(name: str) -> None:
    assert [use for module in modules() for use in intrusions(module, name)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from os import path",
        "from random import Random",
        "def f():\n    import asyncio",
        "if TYPE_CHECKING:\n    import random",
        "from datetime import datetime\nx = datetime.now()",
        "from datetime import datetime as dt\nx = dt.utcnow()",
        "import datetime\nx = datetime.date.today()",
        "import datetime as d\nx = [d.datetime.now]",
        "x = open('f')",
    ],
)
def test_each_impurity_is_detected(text: str) -> None:
    assert impurities(Module.of("truecaller_async.campaign.core.x", text))


@pytest.mark.parametrize(
    "text",
    [
        "if TYPE_CHECKING:\n    from random import Random\ndef f(rng: Random) -> float:\n    return rng.random()",
        "from datetime import datetime\ndef f(now: datetime) -> datetime:\n    return datetime.fromtimestamp(0)",
        "def f(timer: object) -> object:\n    return timer.time",
        "def f(time: float, subprocess: str) -> float:\n    return time",
    ],
)
def test_allowed_code_of_a_pure_package_passes(text: str) -> None:
    assert impurities(Module.of("truecaller_async.campaign.core.x", text)) == []


def test_session_outside_its_package_is_detected_and_type_import_is_not() -> None:
    alias = "import aiohttp as http\nsession = http.ClientSession()"
    called = "from aiohttp import ClientSession\nsession = ClientSession()"
    typed = "import aiohttp\nsession: aiohttp.ClientSession"
    assert intrusions(Module.of("truecaller_async.campaign.x", alias), "aiohttp.ClientSession")
    assert intrusions(Module.of("truecaller_async.campaign.x", typed), "aiohttp.ClientSession")
    assert intrusions(Module.of("truecaller_async.client", called), "aiohttp.ClientSession")
    assert not intrusions(Module.of("truecaller_async.client", typed), "aiohttp.ClientSession")
    assert not intrusions(Module.of("truecaller_async.transport.x", called), "aiohttp.ClientSession")
