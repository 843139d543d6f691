"""Journals: the adapters of the `Journal` port.

`SqliteJournal` is imported at its first use, because SQLite is.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from truecaller_async.journal.memory import MemoryJournal

if TYPE_CHECKING:
    from truecaller_async.journal.sqlite import SqliteJournal

__all__ = ["MemoryJournal", "SqliteJournal"]


def __getattr__(name: str) -> object:
    if name == "SqliteJournal":
        return _import_module("truecaller_async.journal.sqlite").SqliteJournal
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
