"""Check that a package imports only from lower layers, and that no imports form a cycle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from .sources import PACKAGE, Module, Use, modules, package_of

ROOT = ""
"""Package name of the modules at the top level."""

LAYER = {
    "_version": 0,
    "redaction": 0,
    "models": 0,
    "errors": 0,
    "options": 0,
    "ports": 1,
    "cancellation": 1,
    "clock": 1,
    "loop_binding": 1,
    "user_warnings": 1,
    "storage": 1,
    "protocol": 1,
    "campaign.core": 1,
    "campaign.rows": 1,
    "validation": 1,
    "resilience": 1,
    "transport": 2,
    "limits": 2,
    "tokens": 2,
    "journal": 2,
    "sources": 2,
    "sinks": 2,
    "telemetry": 2,
    "settings": 2,
    "resources": 3,
    "campaign": 3,
    "wiring": 3,
    "client": 3,
    "verification": 3,
    "trustcaller": 3,
    ROOT: 4,
    "blocking": 4,
    "cli": 4,
    "dashboard": 4,
    "sandbox": 4,
    "webhooks": 4,
    "distributed": 4,
    "testing": 4,
}

SAME_LAYER = {
    "models": {"redaction"},
    "errors": {"models", "redaction"},
    "options": {"models", "errors", "redaction"},
    "campaign.core": {"validation", "resilience"},
    "campaign.rows": {"campaign.core", "validation"},
    "protocol": {"validation"},
    "ports": {"campaign.core"},
    "sinks": {"sources"},
    "campaign": {"resources"},
    "wiring": {"resources"},
    "client": {"resources", "campaign", "wiring"},
    "verification": {"resources"},
    "trustcaller": {"resources"},
    "dashboard": {ROOT},
    "webhooks": {ROOT},
    "distributed": {ROOT},
    "testing": {ROOT, "sandbox"},
    "cli": {ROOT, "sandbox", "dashboard", "webhooks", "distributed"},
}
"""Packages of the same layer that a package may import."""

FORBIDDEN = {
    "campaign": {"truecaller_async.transport"},
    "sandbox": {"truecaller_async.limits", "truecaller_async.resilience.rate_law"},
}
"""Imports from lower layers that are forbidden.

The campaign sends requests through `resources`. The sandbox shares no rate-limit code with the client, so an error
cannot exist in both.
"""


def target_of(use: Use, known: Iterable[str]) -> str | None:
    """Return the module of the package that an import reaches; None for other libraries."""
    if not use.is_within(PACKAGE):
        return None
    name = use.name
    while name not in known and name.count(".") > 1:
        name = name.rpartition(".")[0]
    return name if name in known or package_of(name) in LAYER else PACKAGE


def violations(module: Module, known: Iterable[str]) -> list[str]:
    """Return the imports of a module that the table forbids, as sentences."""
    found: list[str] = []
    for use in module.imports():
        target = target_of(use, known)
        if target is None or package_of(target) == module.package:
            continue
        if not _allowed(module.package, target):
            found.append(f"{module.name}:{use.line} imports {use.name}")
    return found


def _allowed(package: str, target: str) -> bool:
    if any(Use(target, 0).is_within(barred) for barred in FORBIDDEN.get(package, ())):
        return False
    return LAYER[package_of(target)] < LAYER[package] or package_of(target) in SAME_LAYER.get(package, ())


def find_cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return one cycle of the graph, or an empty list."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def imported_modules(module: Module, known: Iterable[str]) -> set[str]:
    return {target for use in module.imports() if (target := target_of(use, known)) is not None} - {module.name}


def test_every_package_belongs_to_a_layer() -> None:
    assert {module.package for module in modules()} <= LAYER.keys()


def test_imports_point_to_lower_layers_only() -> None:
    known = {module.name for module in modules()}
    assert [violation for module in modules() for violation in violations(module, known)] == []


def test_modules_have_no_import_cycle() -> None:
    known = {module.name for module in modules()}
    assert find_cycle({module.name: imported_modules(module, known) for module in modules()}) == []


def test_layer_table_has_no_cycle() -> None:
    assert find_cycle(SAME_LAYER) == []
    assert all(LAYER[package] == LAYER[other] for package, others in SAME_LAYER.items() for other in others)


def test_forbidden_imports_are_detected() -> None:
    known = {
        "truecaller_async",
        "truecaller_async.resilience.rate_law",
        "truecaller_async.campaign.workers.dispatcher",
        "truecaller_async.tokens",
        "truecaller_async.transport.aiohttp_transport",
    }

    def seen(name: str, text: str) -> int:
        return len(violations(Module.of(name, text), known))

    assert (
        seen(
            "truecaller_async.campaign.core.x",
            "def f():\n    from truecaller_async.campaign.workers.dispatcher import Dispatcher",
        )
        == 1
    )
    assert seen("truecaller_async.campaign.core.x", "from ..dispatcher import Dispatcher") == 1
    assert seen("truecaller_async.limits.x", "import truecaller_async.tokens") == 1
    assert (
        seen("truecaller_async.campaign.x", "from truecaller_async.transport.aiohttp_transport import AiohttpTransport")
        == 1
    )
    assert seen("truecaller_async.sandbox.x", "from truecaller_async.resilience import rate_law") == 1
    assert seen("truecaller_async.campaign.x", "from truecaller_async import TruecallerClient") == 1
    assert seen("truecaller_async.campaign.x", "from truecaller_async.resilience.rate_law import wait") == 0
    assert seen("truecaller_async.campaign.x", "from . import dispatcher") == 0
    assert seen("truecaller_async.campaign.x", "import aiohttp") == 0


def test_import_cycle_is_detected() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not find_cycle({"a": {"b", "c"}, "b": {"c"}})
