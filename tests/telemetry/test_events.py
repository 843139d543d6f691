"""The catalogue of events: it lists exactly what the package reports, and its reference page is current."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import truecaller_async
from tests.campaign.strict_observer import StrictObserver, drain_violations
from tests.virtual import run_virtual
from truecaller_async.models import Outcome
from truecaller_async.ports import Observer
from truecaller_async.telemetry.events import EVENTS, mismatches
from truecaller_async.telemetry.events.__main__ import PAGE, main, render

PACKAGE = Path(truecaller_async.__file__).parent
OUTCOMES = {outcome.value for outcome in Outcome}
METHOD = next(name for name in vars(Observer) if name in ("stage", "event"))
"""The method of the port that receives events."""


@attrs.frozen
class Emission:
    """One call in the source that reports an event. `spread` counts the mappings that are inserted with `**`."""

    place: str
    name: str
    fields: frozenset[str]
    spread: int


def emissions(text: str, file: str) -> Iterator[Emission | str]:
    """Yield each call that reports an event; as a string, its place, if the name or a field is not a literal."""
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.name == METHOD:
            continue  # an observer that passes on what it received
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or len(node.args) != 2:
                continue
            if isinstance(node.func, ast.Attribute) and node.func.attr == METHOD:
                yield _emission(node, f"{file}:{node.lineno}")


def _emission(call: ast.Call, place: str) -> Emission | str:
    name, fields = call.args
    if not isinstance(name, ast.Constant) or not isinstance(fields, ast.Dict):
        return place
    keys = [key.value if isinstance(key, ast.Constant) else None for key in fields.keys]
    return Emission(place, str(name.value), frozenset(str(key) for key in keys if key is not None), keys.count(None))


def reported() -> list[Emission | str]:
    """All calls of the package that report an event."""
    return [
        emission
        for path in sorted(PACKAGE.rglob("*.py"))
        for emission in emissions(path.read_text("utf-8"), path.relative_to(PACKAGE.parent).as_posix())
    ]


def problem(emission: Emission | str) -> str | None:
    """Return how one call differs from the catalogue, None if it conforms."""
    if isinstance(emission, str):
        return f"{emission}: the name and the fields must be literals"
    if emission.name not in EVENTS:
        return f"{emission.place}: {emission.name!r} is not in the catalogue"
    listed = {field.name for field in EVENTS[emission.name].fields}
    actual = emission.fields | OUTCOMES if emission.spread else emission.fields
    return None if actual == listed else f"{emission.place}: {emission.name!r} has {actual}, the catalogue {listed}"


def test_each_reported_event_is_in_the_catalogue_with_its_fields() -> None:
    assert [found for emission in reported() if (found := problem(emission)) is not None] == []


def test_each_event_of_the_catalogue_is_reported() -> None:
    assert {emission.name for emission in reported() if isinstance(emission, Emission)} == EVENTS.keys()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('"breaker.closed", {}', None),
        ('"breaker.closed", {"error": 1}', "breaker.closed"),
        ('"breaker.opened", {}', "breaker.opened"),
        ('"breaker.broken", {}', "not in the catalogue"),
        ("name, {}", "must be literals"),
        ('"campaign.finished", {"read": 1, **counts}', None),
    ],
)
def test_a_call_that_differs_from_the_catalogue_is_found(arguments: str, expected: str | None) -> None:
    (emission,) = emissions(f"def report():\n    observer.{METHOD}({arguments})", "x.py")
    found = problem(emission)
    assert (found is None) == (expected is None)
    assert found is None or (expected is not None and expected in found and "x.py:2" in found)


def test_names_have_a_subject_and_a_participle() -> None:
    assert [name for name in EVENTS if not re.fullmatch(r"[a-z_]+\.([a-z_]+(ed|seen)|unexpected_429)", name)] == []
    assert {spec.level for spec in EVENTS.values()} <= {logging.INFO, logging.WARNING}


def test_each_duration_names_its_unit_and_each_text_is_a_sentence() -> None:
    fields = [field for spec in EVENTS.values() for field in spec.fields]
    assert [field for field in fields if (field.unit == "s") != field.name.endswith("_seconds")] == []
    meanings = [field.meaning for field in fields] + [spec.meaning for spec in EVENTS.values()]
    assert [meaning for meaning in meanings if not meaning.endswith(".")] == []


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("breaker.opened", {"error": "ServerError"}, []),
        ("breaker.opened", {}, ["breaker.opened: field 'error' is missing"]),
        ("breaker.closed", {"error": "x"}, ["breaker.closed: field 'error' is not in the catalogue"]),
        ("breaker.opened", {"error": 5}, ["breaker.opened: field 'error' has the type int"]),
        ("token.unheard_of", {}, ["the event 'token.unheard_of' is not in the catalogue"]),
    ],
)
def test_the_strict_observer_records_each_violation(name: str, fields: dict[str, object], expected: list[str]) -> None:
    assert mismatches(name, fields) == expected
    getattr(StrictObserver(), METHOD)(name, fields)
    assert drain_violations() == expected


def test_a_client_of_the_test_world_reports_through_the_strict_observer() -> None:
    from tests.campaign.world import World

    async def scene() -> object:
        return World().client._shared.observer._observer  # type: ignore[attr-defined]

    assert isinstance(run_virtual(scene), StrictObserver)


def test_the_reference_page_is_current(tmp_path: Path) -> None:
    main([str(tmp_path / "new" / "events.md")])
    assert (tmp_path / "new" / "events.md").read_text("utf-8") == render()
    committed = PACKAGE.parent / PAGE
    assert committed.read_text("utf-8") == render(), "run `python -m truecaller_async.telemetry.events`"
