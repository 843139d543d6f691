"""Canaries: values that must not appear anywhere, and the places in which the tests search for them.

A secret can leak in several forms: plain, in base64 (a header), percent-encoded (a link), or cut (a shortened
message). So the tests search for each slice of eight characters of each form. A phone number may be shown by its last
four digits, so the tests search for its last nine.

The places are those from which a program, a log or a crash reporter can take text: see `texts_of`. If an operation is
refused (a `Secret` cannot be pickled), its error is searched too.
"""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import attrs
import cattrs

SLICE_CHARS = 8
NUMBER_DIGITS = 9
"""Digits of a number. Fewer digits occur by chance, in a timestamp or the address of an object."""


def _as_base64(value: str) -> Iterator[str]:
    """Return the base64 forms inside a longer text: one for each offset, without the ends."""
    for before in range(3):
        yield base64.b64encode(b"\0" * before + value.encode()).decode().rstrip("=")[before and 4 : -4]


def traces_of_secret(value: str) -> frozenset[str]:
    """Return all slices of all forms of a secret."""
    forms = (value, value[::-1], quote(value, safe=""), value.encode().hex(), *_as_base64(value))
    return frozenset(
        form[start : start + SLICE_CHARS] for form in forms for start in range(len(form) - SLICE_CHARS + 1)
    )


def traces_of_number(number: str) -> frozenset[str]:
    """Return the number without its country code, which other numbers share."""
    return frozenset({number[-NUMBER_DIGITS:]})


@attrs.frozen
class Leak:
    """A canary that was found: its name in `what`, and the place."""

    place: str
    what: str


def leaks(traces: Mapping[str, frozenset[str]], texts: Iterable[tuple[str, str]]) -> list[Leak]:
    """Return the canaries that the texts contain, each with its place.

    All texts are searched together first, because most contain none.
    """
    found = list(texts)
    whole = "\0".join(text for _, text in found)
    seen = {name: [trace for trace in each if trace in whole] for name, each in traces.items()}
    return [
        Leak(place, name)
        for place, text in found
        for name, each in seen.items()
        if any(trace in text for trace in each)
    ]


Operations = Mapping[str, Callable[[object], object]]

RENDERERS: Operations = {
    "repr": repr,
    "str": str,
    "format": lambda value: f"{value}",
    "padded": lambda value: f"{value!r:>400}",
    "json": lambda value: json.dumps(value, default=str),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
"""Functions that render an object; its numbers must be masked in the result."""

EXTRACTORS: Operations = {
    "pickle": pickle.dumps,
    "vars": lambda value: sorted(vars(value).items()),
    "json of its fields": lambda value: json.dumps(vars(value), default=repr),
    "asdict": lambda value: attrs.asdict(cast("Any", value)) if attrs.has(type(value)) else None,
    "unstructured": cattrs.unstructure,
}
"""Functions that take an object apart. Numbers that the caller asked for may appear in the result."""


def texts_of(value: object, operations: Operations) -> Iterator[tuple[str, str]]:
    """Return all texts that can be taken from an object, with the function that gave them."""
    for name, operation in operations.items():
        try:
            result = operation(value)
        except Exception as refusal:  # noqa: BLE001 - any refusal must be free of canaries too
            result = (refusal, refusal.args)
        yield (
            f"{name} of {type(value).__name__}",
            result.decode("latin-1") if isinstance(result, bytes) else repr(result),
        )


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Return the error, its causes, its contexts and its groups."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__cause__, found.__context__, *getattr(found, "exceptions", ())]


def texts_of_error(error: BaseException) -> Iterator[tuple[str, str]]:
    """Return all texts that a log or a program would show of an error and of its causes."""
    yield "format_exception", "".join(traceback.format_exception(error))
    for link in chain_of(error):
        yield from texts_of(link, RENDERERS)
        yield from texts_of(link, EXTRACTORS)


def locals_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """Return the local variables that a crash reporter would collect.

    Those of the tests are omitted, because they hold the canaries.
    """
    for link in chain_of(error):
        for frame in traceback.TracebackException.from_exception(link, capture_locals=True).stack:
            if "/tests/" not in frame.filename:
                yield f"local variables of {frame.name} in {Path(frame.filename).name}", repr(frame.locals)


STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({})))


class LogCollector(logging.Handler):
    """Collects all log records of the process from DEBUG on, and all warnings."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Return message, arguments, own attributes and traceback of each record."""
        for record in self.records:
            fields = {name: value for name, value in vars(record).items() if name not in STANDARD_ATTRIBUTES}
            yield f"log {record.name}", f"{record.getMessage()} {record.args!r} {fields!r} {record.exc_text}"
            if record.exc_info and record.exc_info[1] is not None:
                yield from texts_of_error(record.exc_info[1])


@attrs.define
class Collected:
    """Log records and warnings of a period."""

    log: LogCollector
    warnings_seen: list[warnings.WarningMessage]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Return all texts."""
        yield from self.log.texts()
        for warning in self.warnings_seen:
            yield "warning", f"{warning} {warning.message!r} {warning.source!r}"


@contextmanager
def collecting() -> Iterator[Collected]:
    """Collect the records of all loggers from DEBUG on, and all warnings."""
    log, root = LogCollector(), logging.getLogger()
    before = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warnings_seen:
            warnings.simplefilter("always")
            yield Collected(log, warnings_seen)
    finally:
        root.setLevel(before)
        root.removeHandler(log)
