"""The checker sees what it is there to see: each broken law is told, and a clean story is not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest

from tests.crash.campaigns import BAD, GOOD, REPEAT, Row
from tests.crash.checking import Deed, Story, check, check_results
from truecaller_async.journal.reader import RowOutcome
from truecaller_async.models import Outcome

ROWS = (
    Row(1, 1, GOOD, "911140001234", "919800000100"),
    Row(2, 2, GOOD, "911140001234", "919800000213"),
    Row(3, 3, BAD, "911140001234", "12"),
    Row(4, 1, REPEAT, "911140001234", "919800000100"),
    Row(5, 5, GOOD, "911140001234", "919800000100"),
)
DEEDS = (Deed(1, True), Deed(2, False), Deed(5, True))


def word(row: int, outcome: Outcome, **other: Any) -> RowOutcome:
    sent = outcome in (Outcome.DELIVERED, Outcome.FAILED, Outcome.UNKNOWN)
    given = {"attempts": 1 if sent else 0, "possibly_duplicated": False, "seq": 1 if sent else None, **other}
    return RowOutcome(row=row, outcome=outcome, reason=None, field=None, batch_id=None, final=True, **given)


WORDS = (
    word(1, Outcome.DELIVERED),
    word(2, Outcome.FAILED),
    word(3, Outcome.INVALID),
    word(4, Outcome.DUPLICATE),
    word(5, Outcome.DELIVERED, seq=3),
)


def story(*words: RowOutcome, lost: dict[int, int] | None = None, **other: Any) -> Story:
    """A finished campaign of three batches; the third comes from the second."""
    told = words or WORDS
    given: dict[str, Any] = {
        "words": told,
        "homes": {1: None, 2: None, 3: 2},
        "lost": Counter(lost or {}),
        "attempts": 3,
        "unended": 0,
        "batches": 3,
        "account": Counter(one.outcome for one in told),
        "read": 5,
        "ended": True,
    }
    return Story(**{**given, **other})


def with_word(new: RowOutcome) -> tuple[RowOutcome, ...]:
    return tuple(new if one.row == new.row else one for one in WORDS)


def test_clean_history_violates_no_law() -> None:
    found = check(ROWS, story(), DEEDS, "hold")
    assert found.violations == []
    assert (found.rows, found.lost, found.unflagged, found.flagged) == (5, 0, 0, 0)


def test_flagged_repeat_after_a_lost_answer_violates_only_the_hold_law() -> None:
    told = story(*with_word(word(5, Outcome.DELIVERED, seq=3, attempts=2, possibly_duplicated=True)), lost={2: 1})
    deeds = (*DEEDS, Deed(5, True))
    found = check(ROWS, told, deeds, "resend")
    assert (found.violations, found.flagged, found.ambiguous) == ([], 1, 1)
    assert check(ROWS, told, deeds, "hold").violations == ["row 5 was applied 2 times under hold"]


@pytest.mark.parametrize(
    ("told", "deeds", "said"),
    [
        (story(*WORDS[:-1]), DEEDS, "row 5 has 0 words"),
        (story(*WORDS, WORDS[-1]), DEEDS, "row 5 has 2 words"),
        (story(unended=1), DEEDS, "attempts have no end"),
        (story(ended=False), DEEDS, "not read to its end"),
        (story(account=Counter()), DEEDS, "is not what the words add up to"),
        (story(), DEEDS[1:], "the server never delivered it"),
        (story(*with_word(word(2, Outcome.FAILED))), (*DEEDS, Deed(2, True)), "the server delivered it"),
        (story(*with_word(word(1, Outcome.FAILED))), DEEDS[1:], "nothing is wrong with it"),
        (story(*with_word(word(1, Outcome.UNSENT))), DEEDS, "it was applied 1 times"),
        (story(*with_word(word(1, Outcome.UNSENT))), DEEDS[1:], "unsent in a finished campaign"),
        (story(), (*DEEDS, Deed(3, True)), "it was applied 1 times"),
        (story(*with_word(word(3, Outcome.FAILED))), DEEDS, "cannot have this word"),
        (story(*with_word(word(4, Outcome.DELIVERED))), DEEDS, "cannot have this word"),
        (story(), (*DEEDS, Deed(5, True)), "is not flagged"),
        (story(), (*DEEDS, Deed(5, True)), "2 times in 1 attempts"),
        (story(*with_word(word(5, Outcome.DELIVERED, possibly_duplicated=True))), DEEDS, "no answer was lost"),
        (
            story(*with_word(word(5, Outcome.DELIVERED, seq=3, attempts=9, possibly_duplicated=True)), lost={2: 1}),
            (*DEEDS, Deed(5, True), Deed(5, True)),
            "applied 3 times, and 2 may be",
        ),
        (story(lost={1: 1}), (Deed(5, True), Deed(2, False), Deed(1, True)), "took effect after row 5"),
    ],
)
def test_each_violated_law_is_reported(told: Story, deeds: tuple[Deed, ...], said: str) -> None:
    assert any(said in violation for violation in check(ROWS, told, deeds, "resend").violations)


def lines_of(words: tuple[RowOutcome, ...]) -> list[dict[str, str]]:
    return [
        {
            "row": str(one.row),
            "outcome": str(one.outcome),
            "possibly_duplicated": str(one.possibly_duplicated).lower(),
            "attempts": str(one.attempts),
        }
        for one in words
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (WORDS[1:], "1 rows are not in the results, the first of them 1"),
        ((*WORDS, WORDS[0]), "row 1 stands 2 times"),
        ((*WORDS, attrs.evolve(WORDS[0], row=6)), "a row 6 that is none"),
        (with_word(word(1, Outcome.UNKNOWN)), "row 1 is ('unknown'"),
    ],
)
def test_results_that_differ_from_the_journal_are_reported(words: tuple[RowOutcome, ...], said: str) -> None:
    assert list(check_results(lines_of(WORDS), story())) == []
    assert any(said in violation for violation in check_results(lines_of(words), story()))
