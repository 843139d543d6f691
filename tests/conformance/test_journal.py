"""What every `Journal` promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from truecaller_async.errors import JournalError
from truecaller_async.journal import MemoryJournal
from truecaller_async.models import AttemptEnded, Entry, Intent, Outcome, Planned, Settled
from truecaller_async.ports import Journal

Opener: TypeAlias = Callable[[], Journal]

pytestmark = pytest.mark.parametrize("opener", [MemoryJournal])

PLANNED = Planned(1, (1, 2))
INTENT = Intent(1, 1, "0123456789ab", 10.0)
ENDED = AttemptEnded(1, 1, "accepted", 11.0, batch_id="b-1")
DELIVERED = Settled((1,), Outcome.DELIVERED, seq=1)
FAILED = Settled((2,), Outcome.FAILED, "not a user", seq=1)


async def test_the_life_of_a_batch_is_written_entry_by_entry(opener: Opener) -> None:
    journal = opener()
    for entry in (PLANNED, INTENT, ENDED, DELIVERED, FAILED):
        await journal.write(entry)
    await journal.aclose()


async def test_several_entries_are_one_write(opener: Opener) -> None:
    journal = opener()
    await journal.write(PLANNED, INTENT, ENDED, DELIVERED, FAILED)
    await journal.write()
    await journal.aclose()


@pytest.mark.parametrize("entries", [[INTENT], [ENDED], [PLANNED, ENDED], [PLANNED, INTENT, ENDED, ENDED]])
async def test_an_attempt_without_its_intent_or_plan_is_refused(opener: Opener, entries: list[Entry]) -> None:
    journal = opener()
    with pytest.raises(JournalError):
        await journal.write(*entries)
    await journal.aclose()


async def test_a_closed_journal_takes_nothing_and_may_be_closed_again(opener: Opener) -> None:
    journal = opener()
    await journal.aclose()
    await journal.aclose()
    with pytest.raises(JournalError):
        await journal.write(PLANNED)
