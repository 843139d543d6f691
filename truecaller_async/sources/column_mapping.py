"""The columns of the input, and the record that one row of values makes.

A field is found by its own name, by the wire's name for it, or by the name the caller chose. Case and surrounding
spaces do not matter, other columns are ignored, and two columns for one field are an error, because either could be
the one that was meant. `ColumnDefaults` gives values for columns that the input does not have at all; an empty cell is
an empty cell and is never filled.

Values pass as they are, and the pre-flight judges them. Only times are read here, because files hold them as text.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from operator import itemgetter
from typing import Any

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import CallRecord, Problem
from truecaller_async.validation.timestamps import is_aware, parse_iso

FIELDS = ("caller", "receiver", "label_id", "label_name", "reason", "starts_at", "ends_at", "key")
"""Our names, in the order in which they are documented."""

FIELD_OF_NAME = {
    **{field: field for field in FIELDS},
    "caller_number": "caller",
    "receiver_number": "receiver",
    "dynamic_label_name": "label_name",
    "call_reason": "reason",
    "dynamic_call_reason": "reason",
}
"""The field that a column name means. From "Truecaller for Business: Field names by version"."""

SLOT_SETTERS = [getattr(CallRecord, field.name).__set__ for field in attrs.fields(CallRecord)]
"""What sets each field of a record, which is frozen for everybody else."""

SHAPES_MAX = 64
MILLISECONDS_DIGITS = 18


@attrs.frozen
class ColumnDefaults:
    """Values for columns that the input does not have.

    `starts_at` is milliseconds since the epoch; `window` is seconds, and makes ends_at = starts_at + window.
    """

    label_id: str | None = None
    label_name: str | None = None
    reason: str | None = None
    starts_at: int | None = None
    window: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.window is None:
            return
        if not isinstance(self.window, int | float) or not math.isfinite(self.window) or self.window <= 0:
            raise ConfigError(f"ColumnDefaults.window is {self.window!r}: it must be a number of seconds above 0")

    @property
    def fields(self) -> frozenset[str]:
        """The fields for which there is a value."""
        fields = {
            field for field in ("label_id", "label_name", "reason", "starts_at") if getattr(self, field) is not None
        }
        return frozenset(fields | {"ends_at"} if self.window is not None else fields)


NO_DEFAULTS = ColumnDefaults()


class RowShape:
    """How the values of a row make a record: `indexes` says where each field stands among them."""

    def __init__(self, indexes: Mapping[str, int], width: int, defaults: ColumnDefaults) -> None:
        constants = [None, defaults.label_id, defaults.label_name, defaults.reason, defaults.starts_at]
        absent = {"label_id": 1, "label_name": 2, "reason": 3, "starts_at": 4}
        self._constants = constants
        self._receiver = indexes.get("receiver", 0)
        self._pick = itemgetter(*(indexes.get(field, width + absent.get(field, 0)) for field in FIELDS))
        self._window = defaults.window if "ends_at" not in indexes else None

    def record(self, values: list[Any]) -> CallRecord:
        """The record of one row, which must have as many values as the shape is wide."""
        caller, receiver, label_id, label_name, reason, starts, ends, key = self._pick(values + self._constants)
        starts = parse_instant(starts)
        ends = parse_instant(ends) if self._window is None else add_window(starts, self._window)
        return CallRecord(
            caller,
            receiver,
            starts,
            ends,
            _none_if_empty(label_id),
            _none_if_empty(label_name),
            _none_if_empty(reason),
            _key_text(key),
        )

    def has_no_blank(self, columns: Sequence[Sequence[str]]) -> bool:
        """Whether in none of these rows all cells are blank: it is enough that each says whom to call."""
        return all(map(str.strip, columns[self._receiver]))

    def records(self, columns: Sequence[Sequence[str]]) -> list[CallRecord]:
        """The records of some rows, fields by column. What stands in many rows is one object then, and judged once."""
        constants = map(repeat, self._constants)
        caller, receiver, label_id, label_name, reason, starts, ends, key = self._pick([*columns, *constants])
        window = self._window
        ends_at = (
            _map_distinct(parse_instant, ends)
            if window is None
            else _map_distinct(lambda text: add_window(parse_instant(text), window), starts)
        )
        labels = (_map_distinct(_none_if_empty, values) for values in (label_id, label_name, reason, key))
        fields = (_map_distinct(str, caller), receiver, _map_distinct(parse_instant, starts), ends_at, *labels)
        return _build_records(len(columns[0]), fields)


class MappingShapes:
    """Makes records of mappings; mappings with the same keys share one shape."""

    def __init__(self, defaults: ColumnDefaults = NO_DEFAULTS, chosen: Mapping[str, str] | None = None) -> None:
        self._defaults = defaults
        self._chosen = chosen or {}
        self._shapes: dict[tuple[object, ...], RowShape | Problem] = {}

    def record(self, mapping: Mapping[Any, Any]) -> CallRecord | Problem:
        """The record of this mapping, or the problem that keeps it from being one. Unknown keys are ignored."""
        names = tuple(mapping)
        shape = self._shapes.get(names) or self._build_shape(names)
        return shape if isinstance(shape, Problem) else shape.record(list(mapping.values()))

    def _build_shape(self, names: tuple[object, ...]) -> RowShape | Problem:
        if len(self._shapes) >= SHAPES_MAX:
            self._shapes.clear()
        indexes, conflict = find_columns(names, self._chosen)
        shape = Problem("row", "row.columns", conflict) if conflict else RowShape(indexes, len(names), self._defaults)
        self._shapes[names] = shape
        return shape


def find_columns(names: Sequence[object], chosen: Mapping[str, str]) -> tuple[dict[str, int], str]:
    """The index of each field among these names, and what is wrong with them ("" where all is well)."""
    wanted = {name: field for name, field in FIELD_OF_NAME.items() if field not in chosen}
    wanted.update({normalised(name): field for field, name in chosen.items()})
    indexes: dict[str, int] = {}
    for index, name in enumerate(names):
        field = wanted.get(normalised(name)) if isinstance(name, str) else None
        if field is None:
            continue
        if field in indexes:
            return indexes, f"has two columns for {field}: {names[indexes[field]]!r} and {name!r}"
        indexes[field] = index
    return indexes, ""


def check_column_choices(chosen: Mapping[str, str]) -> None:
    """Raises `ConfigError` where a column is chosen for something that is no field."""
    for field, name in chosen.items():
        if field not in FIELDS:
            raise ConfigError(
                f"no column can be chosen for {field!r}: there is no field {field!r}. Use {comma_separated(FIELDS)}"
            )
        if not isinstance(name, str):
            raise ConfigError(f"the column for {field} is {name!r}: it must be the name of the column, a text")


def normalised(name: str) -> str:
    """A column name without what does not matter."""
    return name.strip().lower()


def comma_separated(names: Iterable[str]) -> str:
    """Names in one line."""
    return ", ".join(names)


def parse_instant(value: Any) -> Any:
    """A time as it stands in a file: milliseconds and ISO 8601 with a zone are read, anything else stays as it is."""
    if type(value) is not str:
        return value
    if value.isdigit() and value.isascii() and len(value) <= MILLISECONDS_DIGITS:
        return int(value)
    parsed = parse_iso(value)
    return parsed if parsed is not None and is_aware(parsed) else value


def add_window(starts: Any, window: float) -> Any:
    """`starts` plus `window` seconds; where it is no time, itself, so that it is refused as what it is."""
    if type(starts) is int:
        return starts + round(window * 1000)
    if isinstance(starts, datetime):
        try:
            return starts + timedelta(seconds=window)
        except OverflowError:
            return starts
    return starts


def _build_records(count: int, fields: Iterable[Iterable[Any]]) -> list[CallRecord]:
    """So many records of these fields: just what `CallRecord` does for one, in half the time."""
    records = list(map(CallRecord.__new__, repeat(CallRecord, count)))
    for set_field, values in zip(SLOT_SETTERS, fields, strict=True):
        deque(map(set_field, records, values), maxlen=0)
    return records


def _map_distinct(function: Callable[[Any], Any], values: Sequence[str] | repeat[Any]) -> Iterable[Any]:
    """What `function` makes of each value, asked once for each that is different."""
    if isinstance(values, repeat):
        return repeat(function(next(values)))
    results = {value: function(value) for value in set(values)}
    return map(results.__getitem__, values)


def _key_text(key: Any) -> Any:
    """A caller's own id is text, also where a JSON file has a number for it."""
    return str(key) if type(key) is int else _none_if_empty(key)


def _none_if_empty(value: Any) -> Any:
    return (value or None) if type(value) is str else value
