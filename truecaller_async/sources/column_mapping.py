"""Map the columns of the input to the fields of a record.

Algorithm:
    - A field is found by its own name, by its API name, or by the name that the caller chose. Case and surrounding
      spaces are ignored. Other columns are ignored.
    - `ColumnDefaults` gives values for columns that the input does not have. An empty cell is never filled.
    - Values are passed unchanged to `validation.preflight`. Only times are parsed here, because files contain them as
      text.
Failure modes:
    - Two columns for one field are an error, because either could be the intended one.
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
from truecaller_async.validation.timestamps import parse_instant

FIELDS = ("caller", "receiver", "label_id", "label_name", "reason", "starts_at", "ends_at", "key")
"""Field names, in the documented order."""

FIELD_OF_NAME = {
    **{field: field for field in FIELDS},
    "caller_number": "caller",
    "receiver_number": "receiver",
    "dynamic_label_name": "label_name",
    "call_reason": "reason",
    "dynamic_call_reason": "reason",
}
"""The field of each column name. From "Truecaller for Business: Field names by version"."""

SLOT_SETTERS = [getattr(CallRecord, field.name).__set__ for field in attrs.fields(CallRecord)]
"""The `__set__` of each slot of `CallRecord`, in the order of its fields. See `_build_records`."""

SHAPES_MAX = 64
"""Cached shapes. When the cache is full, it is cleared."""


@attrs.frozen
class ColumnDefaults:
    """Values for columns that the input does not have. None leaves the field empty.

    Raises:
        ConfigError: `window` is not a finite number of seconds above 0.
    """

    label_id: str | None = None
    """Id of the dynamic label."""
    label_name: str | None = None
    """Name that replaces the name of the label."""
    reason: str | None = None
    """Call reason."""
    starts_at: int | None = None
    """Start of the window, in milliseconds since the epoch."""
    window: float | None = None
    """Length of the window in seconds: ends_at = starts_at + window."""

    def __attrs_post_init__(self) -> None:
        if self.window is None:
            return
        if not isinstance(self.window, int | float) or not math.isfinite(self.window) or self.window <= 0:
            raise ConfigError(f"ColumnDefaults.window is {self.window!r}: it must be a number of seconds above 0")

    @property
    def fields(self) -> frozenset[str]:
        """Return the fields that have a value."""
        fields = {
            field for field in ("label_id", "label_name", "reason", "starts_at") if getattr(self, field) is not None
        }
        return frozenset(fields | {"ends_at"} if self.window is not None else fields)


NO_DEFAULTS = ColumnDefaults()


class RowShape:
    """Builds the record of a row from its values; `indexes` maps each field to its index among them."""

    def __init__(self, indexes: Mapping[str, int], width: int, defaults: ColumnDefaults) -> None:
        constants = [None, defaults.label_id, defaults.label_name, defaults.reason, defaults.starts_at]
        absent = {"label_id": 1, "label_name": 2, "reason": 3, "starts_at": 4}
        self._constants = constants
        self._receiver = indexes.get("receiver", 0)
        self._pick = itemgetter(*(indexes.get(field, width + absent.get(field, 0)) for field in FIELDS))
        self._window = defaults.window if "ends_at" not in indexes else None

    def record(self, values: list[Any]) -> CallRecord:
        """Return the record of a row with `width` values."""
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
        """Return whether no row is blank. It is enough that each has a receiver."""
        return all(map(str.strip, columns[self._receiver]))

    def records(self, columns: Sequence[Sequence[str]]) -> list[CallRecord]:
        """Return the records of several rows, given by column.

        Equal values are parsed once and are one object.
        """
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
    """Builds records from mappings. Mappings with the same keys share one shape."""

    def __init__(self, defaults: ColumnDefaults = NO_DEFAULTS, chosen: Mapping[str, str] | None = None) -> None:
        self._defaults = defaults
        self._chosen = chosen or {}
        self._shapes: dict[tuple[object, ...], RowShape | Problem] = {}

    def record(self, mapping: Mapping[Any, Any]) -> CallRecord | Problem:
        """Return the record of a mapping, or the problem of its keys. Unknown keys are ignored."""
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
    """Return the index of each field among these names, and the conflict, "" if there is none."""
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
    """Raise `ConfigError` if a column is chosen for an unknown field."""
    for field, name in chosen.items():
        if field not in FIELDS:
            raise ConfigError(
                f"no column can be chosen for {field!r}: there is no field {field!r}. Use {comma_separated(FIELDS)}"
            )
        if not isinstance(name, str):
            raise ConfigError(f"the column for {field} is {name!r}: it must be the name of the column, a text")


def normalised(name: str) -> str:
    """Return a column name without surrounding spaces, in lower case."""
    return name.strip().lower()


def comma_separated(names: Iterable[str]) -> str:
    return ", ".join(names)


def add_window(starts: Any, window: float) -> Any:
    """Return `starts` plus `window` seconds. Return a value that is not a time unchanged."""
    if type(starts) is int:
        return starts + round(window * 1000)
    if isinstance(starts, datetime):
        try:
            return starts + timedelta(seconds=window)
        except OverflowError:
            return starts
    return starts


def _build_records(count: int, fields: Iterable[Iterable[Any]]) -> list[CallRecord]:
    """Return `count` records with these columns of field values, twice as fast as the constructor."""
    # `CallRecord` is frozen: `record.caller = ...` raises. Its fields are slots, so each class attribute is a
    # descriptor whose `__set__` writes the slot directly; the generated `__init__` does the same. This is correct only
    # while the fields have no converters and validators and the class has no `__attrs_post_init__`, which a test
    # checks. `map` into an empty deque runs the setters of a whole column in C.
    records = list(map(CallRecord.__new__, repeat(CallRecord, count)))
    for set_field, values in zip(SLOT_SETTERS, fields, strict=True):
        deque(map(set_field, records, values), maxlen=0)
    return records


def _map_distinct(function: Callable[[Any], Any], values: Sequence[str] | repeat[Any]) -> Iterable[Any]:
    """Return the result of `function` for each value. It is called once for each distinct value."""
    if isinstance(values, repeat):
        return repeat(function(next(values)))
    results = {value: function(value) for value in set(values)}
    return map(results.__getitem__, values)


def _key_text(key: Any) -> Any:
    return str(key) if type(key) is int else _none_if_empty(key)


def _none_if_empty(value: Any) -> Any:
    return (value or None) if type(value) is str else value
