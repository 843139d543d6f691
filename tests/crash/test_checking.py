"""The checker reports each violated law, and nothing about a correct campaign."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest

from tests.crash.campaigns import DUPLICATE, GOOD, INVALID, Row
from tests.crash.checking import AppliedRecord, FinalJournal, check, check_results
from truecaller_async.journal.reader import RowOutcome
from truecaller_async.models import Outcome

ROWS = (
    Row(1, 1, GOOD, "911140001234", "919800000100"),
    Row(2, 2, GOOD, "911140001234", "919800000213"),
    Row(3, 3, INVALID, "911140001234", "12"),
    Row(4, 1, DUPLICATE, "911140001234", "919800000100"),
    Row(5, 5, GOOD, "911140001234", "919800000100"),
)
APPLIED = (AppliedRecord(1, True), AppliedRecord(2, False), AppliedRecord(5, True))


def outcome(row: int, outcome: Outcome, **other: Any) -> RowOutcome:
    sent = outcome in (Outcome.DELIVERED, Outcome.FAILED, Outcome.UNKNOWN)
    given = {"attempts": 1 if sent else 0, "possibly_duplicated": False, "seq": 1 if sent else None, **other}
    return RowOutcome(row=row, outcome=outcome, reason=None, field=None, batch_id=None, final=True, **given)


OUTCOMES = (
    outcome(1, Outcome.DELIVERED),
    outcome(2, Outcome.FAILED),
    outcome(3, Outcome.INVALID),
    outcome(4, Outcome.DUPLICATE),
    outcome(5, Outcome.DELIVERED, seq=3),
)


def journal(*outcomes: RowOutcome, lost: dict[int, int] | None = None, **other: Any) -> FinalJournal:
    """Return the journal of a finished campaign of three batches; the third was split off from the second."""
    chosen = outcomes or OUTCOMES
    given: dict[str, Any] = {
        "outcomes": chosen,
        "parents": {1: None, 2: None, 3: 2},
        "lost": Counter(lost or {}),
        "attempts": 3,
        "unended": 0,
        "batches": 3,
        "summary": Counter(one.outcome for one in chosen),
        "read": 5,
        "source_exhausted": True,
    }
    return FinalJournal(**{**given, **other})


def with_outcome(new: RowOutcome) -> tuple[RowOutcome, ...]:
    return tuple(new if one.row == new.row else one for one in OUTCOMES)


def test_clean_history_violates_no_law() -> None:
    found = check(ROWS, journal(), APPLIED, "hold")
    assert found.violations == []
    assert (found.rows, found.lost, found.unflagged, found.flagged) == (5, 0, 0, 0)


def test_flagged_repeat_after_a_lost_answer_violates_only_the_hold_law() -> None:
    content = journal(
        *with_outcome(outcome(5, Outcome.DELIVERED, seq=3, attempts=2, possibly_duplicated=True)), lost={2: 1}
    )
    applied = (*APPLIED, AppliedRecord(5, True))
    found = check(ROWS, content, applied, "resend")
    assert (found.violations, found.flagged, found.ambiguous) == ([], 1, 1)
    assert check(ROWS, content, applied, "hold").violations == ["row 5 was applied 2 times under hold"]


@pytest.mark.parametrize(
    ("content", "applied", "message"),
    [
        (journal(*OUTCOMES[:-1]), APPLIED, "row 5 has 0 outcomes"),
        (journal(*OUTCOMES, OUTCOMES[-1]), APPLIED, "row 5 has 2 outcomes"),
        (journal(unended=1), APPLIED, "attempts have no end"),
        (journal(source_exhausted=False), APPLIED, "not read to its end"),
        (journal(summary=Counter()), APPLIED, "is not the sum of the outcomes"),
        (journal(), APPLIED[1:], "the server never delivered it"),
        (
            journal(*with_outcome(outcome(2, Outcome.FAILED))),
            (*APPLIED, AppliedRecord(2, True)),
            "the server delivered it",
        ),
        (journal(*with_outcome(outcome(1, Outcome.FAILED))), APPLIED[1:], "nothing is wrong with it"),
        (journal(*with_outcome(outcome(1, Outcome.UNSENT))), APPLIED, "it was applied 1 times"),
        (journal(*with_outcome(outcome(1, Outcome.UNSENT))), APPLIED[1:], "unsent in a finished campaign"),
        (journal(), (*APPLIED, AppliedRecord(3, True)), "it was applied 1 times"),
        (journal(*with_outcome(outcome(3, Outcome.FAILED))), APPLIED, "cannot have this outcome"),
        (journal(*with_outcome(outcome(4, Outcome.DELIVERED))), APPLIED, "cannot have this outcome"),
        (journal(), (*APPLIED, AppliedRecord(5, True)), "is not flagged"),
        (journal(), (*APPLIED, AppliedRecord(5, True)), "2 times in 1 attempts"),
        (
            journal(*with_outcome(outcome(5, Outcome.DELIVERED, possibly_duplicated=True))),
            APPLIED,
            "no answer was lost",
        ),
        (
            journal(
                *with_outcome(outcome(5, Outcome.DELIVERED, seq=3, attempts=9, possibly_duplicated=True)), lost={2: 1}
            ),
            (*APPLIED, AppliedRecord(5, True), AppliedRecord(5, True)),
            "applied 3 times, and 2 may be",
        ),
        (
            journal(lost={1: 1}),
            (AppliedRecord(5, True), AppliedRecord(2, False), AppliedRecord(1, True)),
            "was applied after row 5",
        ),
    ],
)
def test_each_violated_law_is_reported(content: FinalJournal, applied: tuple[AppliedRecord, ...], message: str) -> None:
    assert any(message in violation for violation in check(ROWS, content, applied, "resend").violations)


def lines_of(outcomes: tuple[RowOutcome, ...]) -> list[dict[str, str]]:
    return [
        {
            "row": str(one.row),
            "outcome": str(one.outcome),
            "possibly_duplicated": str(one.possibly_duplicated).lower(),
            "attempts": str(one.attempts),
        }
        for one in outcomes
    ]


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        (OUTCOMES[1:], "1 rows are not in the results, the first of them 1"),
        ((*OUTCOMES, OUTCOMES[0]), "row 1 is 2 times"),
        ((*OUTCOMES, attrs.evolve(OUTCOMES[0], row=6)), "a row 6 that does not exist"),
        (with_outcome(outcome(1, Outcome.UNKNOWN)), "row 1 is ('unknown'"),
    ],
)
def test_results_that_differ_from_the_journal_are_reported(outcomes: tuple[RowOutcome, ...], message: str) -> None:
    assert list(check_results(lines_of(OUTCOMES), journal())) == []
    assert any(message in violation for violation in check_results(lines_of(outcomes), journal()))
