"""A canary is a value that must be seen nowhere; and here are the places where one looks for it.

A secret leaks in more forms than its own: in base64 (a header), percent-encoded (a link), or cut (a message that was
shortened). So what is looked for is every slice of eight characters of every such form. A phone number may be shown by
its last four digits, so there it is its last nine.

The places are those from which somebody's program, log or crash reporter can take text: see `texts_of`. A way that is
refused (a `Secret` does not pickle) shows nothing but its refusal, and that is looked at too.
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

SLICE = 8
DIGITS = 9
"""Of a number; fewer of them come about by chance, in the fractions of an instant or the address of an object."""


def _as_base64(value: str) -> Iterator[str]:
    """As it stands in the middle of a longer text: one of three, by where it begins; the ends depend on the rest."""
    for before in range(3):
        yield base64.b64encode(b"\0" * before + value.encode()).decode().rstrip("=")[before and 4 : -4]


def traces_of_secret(value: str) -> frozenset[str]:
    """Every slice of every form of this secret."""
    forms = (value, value[::-1], quote(value, safe=""), value.encode().hex(), *_as_base64(value))
    return frozenset(form[start : start + SLICE] for form in forms for start in range(len(form) - SLICE + 1))


def traces_of_number(number: str) -> frozenset[str]:
    """All of it but for the country, which others share."""
    return frozenset({number[-DIGITS:]})


@attrs.frozen
class Leak:
    """Something that must not be seen was seen: `what`, and in which `place`."""

    place: str
    what: str


def leaks(traces: Mapping[str, frozenset[str]], texts: Iterable[tuple[str, str]]) -> list[Leak]:
    """What of it these texts show, each with its place. All of them are searched at once: mostly there is nothing."""
    found = list(texts)
    whole = "\0".join(text for _, text in found)
    seen = {name: [trace for trace in each if trace in whole] for name, each in traces.items()}
    return [
        Leak(place, name)
        for place, text in found
        for name, each in seen.items()
        if any(trace in text for trace in each)
    ]


Ways = Mapping[str, Callable[[object], object]]

SHOWING: Ways = {
    "repr": repr,
    "str": str,
    "format": lambda thing: f"{thing}",
    "padded": lambda thing: f"{thing!r:>400}",
    "json": lambda thing: json.dumps(thing, default=str),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
"""Ways to show an object; its numbers are masked there."""

TAKING_APART: Ways = {
    "pickle": pickle.dumps,
    "vars": lambda thing: sorted(vars(thing).items()),
    "json of its fields": lambda thing: json.dumps(vars(thing), default=repr),
    "asdict": lambda thing: attrs.asdict(cast("Any", thing)) if attrs.has(type(thing)) else None,
    "unstructured": cattrs.unstructure,
}
"""Ways to take it apart. A record or a number that was asked for is found there, because somebody asked for it."""


def texts_of(thing: object, ways: Ways) -> Iterator[tuple[str, str]]:
    """What anybody could take out of this object, by the way that it came."""
    for name, way in ways.items():
        try:
            said = way(thing)
        except Exception as refusal:  # noqa: BLE001 - whatever it refuses with, the words must be clean
            said = (refusal, refusal.args)
        yield f"{name} of {type(thing).__name__}", said.decode("latin-1") if isinstance(said, bytes) else repr(said)


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that stands behind it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__cause__, found.__context__, *getattr(found, "exceptions", ())]


def texts_of_error(error: BaseException) -> Iterator[tuple[str, str]]:
    """What a log or a program would show of it, with all that stands behind it."""
    yield "format_exception", "".join(traceback.format_exception(error))
    for link in chain_of(error):
        yield from texts_of(link, SHOWING)
        yield from texts_of(link, TAKING_APART)


def locals_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """The local variables that a crash reporter would collect, but for those of the tests, which hold the canaries."""
    for link in chain_of(error):
        for frame in traceback.TracebackException.from_exception(link, capture_locals=True).stack:
            if "/tests/" not in frame.filename:
                yield f"local variables of {frame.name} in {Path(frame.filename).name}", repr(frame.locals)


OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({})))


class Ear(logging.Handler):
    """Hears every log record of the process, from DEBUG on, and every warning."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Message, arguments, own fields and traceback of every record."""
        for record in self.records:
            fields = {name: value for name, value in vars(record).items() if name not in OF_EVERY_RECORD}
            yield f"log {record.name}", f"{record.getMessage()} {record.args!r} {fields!r} {record.exc_text}"
            if record.exc_info and record.exc_info[1] is not None:
                yield from texts_of_error(record.exc_info[1])


@attrs.define
class Heard:
    """What was said while somebody listened: log records, and warnings."""

    ear: Ear
    warned: list[warnings.WarningMessage]

    def texts(self) -> Iterator[tuple[str, str]]:
        """All of it."""
        yield from self.ear.texts()
        for warning in self.warned:
            yield "warning", f"{warning} {warning.message!r} {warning.source!r}"


@contextmanager
def listening() -> Iterator[Heard]:
    """Everything that is logged, by whomever, from DEBUG on; and every warning."""
    ear, root = Ear(), logging.getLogger()
    before = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield Heard(ear, warned)
    finally:
        root.setLevel(before)
        root.removeHandler(ear)
