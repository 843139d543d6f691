"""Journals: adapters of the `Journal` port."""

from truecaller_async.journal.memory import MemoryJournal

__all__ = ["MemoryJournal"]
