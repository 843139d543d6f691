"""Whose result is it?"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.records import START, record
from truecaller_async.models import CallRecord, RecordStatus
from truecaller_async.models.batches import FINAL_STATUSES
from truecaller_async.planning.chunker import with_watermark
from truecaller_async.planning.correlate import Match, correlate

LABEL = "c6d8a1b2-1111-4222-8333-abcdefabcdef"


def row_of(one: CallRecord, status: str | None = "success", **other: Any) -> RecordStatus:
    """A truthful row of this record."""
    said: dict[str, Any] = {
        "caller": one.caller,
        "receiver": f"+{one.receiver}",
        "label_id": one.label_id.upper() if one.label_id else None,
        "label_name": one.label_name,
        "reason": one.reason,
        "starts_at": one.starts_at,
        "ends_at": one.ends_at,
        "status": status,
    }
    return RecordStatus(**{**said, **other})


def masked(row: RecordStatus) -> RecordStatus:
    return attrs.evolve(row, caller="91********01", receiver="91********17")


def words(match: Match) -> list[str | None]:
    return [row.status if row is not None else None for row in match.rows]


DIFFERENT = [record(number, label_id=LABEL, reason=f"Calling about order {number}") for number in range(5)]
SAME = [record(number, label_id=LABEL, reason="Calling you for KYC") for number in range(5)]
WORDS = ["success", "failed", "success", "pending", "error"]


@pytest.mark.parametrize("records", [DIFFERENT, SAME])
def test_unmasked_rows_find_their_records_in_any_order(records: list[CallRecord]) -> None:
    rows = [row_of(one, word) for one, word in zip(records, WORDS, strict=True)]
    for seed in range(10):
        shuffled = Random(seed).sample(rows, len(rows))
        assert words(correlate(records, shuffled)) == WORDS
    assert words(correlate(records, rows)) == WORDS


@pytest.mark.fault("F33")
def test_missing_row_does_not_shift_the_other_matches() -> None:
    rows = [row_of(one, word) for one, word in zip(SAME, WORDS, strict=True)]
    del rows[1]
    match = correlate(SAME, rows)
    assert words(match) == ["success", None, "success", "pending", "error"]
    assert not match.unattributed


@pytest.mark.fault("F36")
def test_rows_that_match_no_record_are_foreign() -> None:
    match = correlate(SAME, [row_of(SAME[0]), row_of(record(99)), row_of(record(98), "failed")])
    assert words(match) == ["success", None, None, None, None]
    assert match.foreign == 2


@pytest.mark.fault("F36")
@pytest.mark.parametrize("word", WORDS)
def test_row_of_another_time_does_not_match_the_record(word: str) -> None:
    own = [row_of(one, word) for one in DIFFERENT]
    past = attrs.evolve(row_of(DIFFERENT[0], "failed"), reason="Calling last week", starts_at=START - 86_400_000)
    for rows in ([*own, past], [past, *own]):
        match = correlate(DIFFERENT, rows)
        assert (words(match), match.foreign, match.conflicts) == ([word] * 5, 1, set())


@pytest.mark.fault("F34")
def test_identical_rows_count_once() -> None:
    match = correlate(SAME, [row_of(SAME[2])] * 2)
    assert words(match) == [None, None, "success", None, None]
    assert match.conflicts == set()


@pytest.mark.fault("F34")
@pytest.mark.parametrize("order", [1, -1])
def test_final_status_wins_over_a_pending_one(order: int) -> None:
    rows = [row_of(SAME[0], "pending"), row_of(SAME[0], "failed")][::order]
    match = correlate(SAME, rows)
    assert match.rows[0] is not None
    assert match.rows[0].status == "failed"
    assert match.conflicts == set()


@pytest.mark.fault("F34")
def test_success_and_failure_of_one_record_are_a_conflict() -> None:
    assert correlate(SAME, [row_of(SAME[3]), row_of(SAME[3], "failed")]).conflicts == {3}


def test_records_of_one_pair_are_distinguished_by_content() -> None:
    pair = [attrs.evolve(one, receiver="919900000000") for one in DIFFERENT]
    rows = [row_of(one, word) for one, word in zip(pair, WORDS, strict=True)]
    assert words(correlate(pair, rows[::-1])) == WORDS


def test_records_with_equal_content_get_one_row_each() -> None:
    twins = [record(1, key="a"), record(1, key="b")]
    match = correlate(twins, [row_of(twins[0], "success", id="x"), row_of(twins[1], "failed", id="y")])
    assert sorted(word or "" for word in words(match)) == ["failed", "success"]


@pytest.mark.fault("F34")
def test_repeated_row_is_not_two_results_for_equal_records() -> None:
    twins = [record(1, key="a"), record(1, key="b")]
    assert words(correlate(twins, [row_of(twins[0], id="x")] * 2)) == ["success", None]


def test_indistinguishable_records_of_one_pair_get_no_row() -> None:
    pair = [record(1, reason="Calling about order 1"), record(1, reason="Calling about order 2")]
    rows = [row_of(one, word, reason=None) for one, word in zip(pair, ["success", "failed"], strict=True)]
    for order in (rows, rows[::-1]):
        match = correlate(pair, order)
        assert words(match) == [None, None]
        assert match.unattributed


def test_server_may_fill_in_fields_that_were_not_sent() -> None:
    rows = [row_of(record(number), label_name="Centro Bank", reason="A default") for number in (2, 1)]
    assert words(correlate([record(1), record(2)], rows)) == ["success", "success"]


def test_server_may_change_the_content_of_an_unmasked_record() -> None:
    rows = [row_of(record(number), ends_at=START, label_name="CENTRO") for number in (2, 1)]
    assert words(correlate([record(1), record(2)], rows)) == ["success", "success"]


@pytest.mark.fault("F37")
def test_masked_rows_in_order_with_distinct_fields_match_by_position() -> None:
    rows = [masked(row_of(one, word)) for one, word in zip(DIFFERENT, WORDS, strict=True)]
    assert words(correlate(DIFFERENT, rows)) == WORDS


@pytest.mark.fault("F37")
def test_masked_rows_out_of_order_match_no_record() -> None:
    rows = [masked(row_of(one, word)) for one, word in zip(DIFFERENT, ["success"] * 4 + ["failed"], strict=True)]
    match = correlate(DIFFERENT, rows[::-1])
    assert words(match) == [None] * 5
    assert match.unattributed


@pytest.mark.fault("F37")
def test_indistinct_masked_rows_are_unattributed_once_all_are_final() -> None:
    final = ["success", "failed", "success", "success", "error"]
    match = correlate(SAME, [masked(row_of(one, word)) for one, word in zip(SAME, final, strict=True)])
    assert words(match) == [None] * 5
    assert match.unattributed


@pytest.mark.fault("F37")
def test_indistinct_masked_rows_are_polled_until_all_are_final() -> None:
    match = correlate(SAME, [masked(row_of(one, word)) for one, word in zip(SAME, WORDS, strict=True)])
    assert words(match) == [None] * 5
    assert not match.unattributed


@pytest.mark.fault("F37")
def test_masked_rows_with_one_final_status_give_only_the_status() -> None:
    rows = [masked(row_of(one, "failed", id=str(place), message="not a user")) for place, one in enumerate(SAME)]
    rows[0] = attrs.evolve(rows[0], field="receiver_number")
    match = correlate(SAME, rows)
    assert [(row.status, row.message, row.field, row.id) for row in match.rows if row is not None] == [
        ("failed", "not a user", None, None)
    ] * 5


@pytest.mark.fault("F34", "F37")
def test_repeated_masked_row_is_no_evidence_for_the_missing_one() -> None:
    rows = [masked(row_of(SAME[0], id="x"))] * 2
    assert words(correlate(SAME[:2], rows)) == [None, None]


@pytest.mark.fault("F37")
def test_server_filled_fields_do_not_distinguish_masked_records() -> None:
    rows = [
        masked(row_of(one, word, label_name=f"Branch {place}"))
        for place, (one, word) in enumerate(zip(SAME[:2], ["success", "failed"], strict=True))
    ]
    assert words(correlate(SAME[:2], rows)) == [None, None]


@pytest.mark.fault("F37")
def test_masked_receiver_beside_a_full_caller_is_not_guessed() -> None:
    rows = [attrs.evolve(row_of(SAME[0], word), receiver="91****17") for word in ("failed", *["success"] * 4)]
    match = correlate(SAME, rows)
    assert words(match) == [None] * 5
    assert match.unattributed


@pytest.mark.fault("F37")
@pytest.mark.parametrize("hidden", ["caller", "receiver"])
def test_row_without_a_number_hides_no_other(hidden: str) -> None:
    rows = [row_of(one, word, id=f"id {place}") for place, (one, word) in enumerate(zip(SAME, WORDS, strict=True))]
    odd = attrs.evolve(row_of(record(77)), **{hidden: None})
    assert words(correlate(SAME, [odd, *rows])) == WORDS
    half: dict[str, Any] = {hidden: "91****17"}
    own = attrs.evolve(rows[4], **half)
    match = correlate(SAME, [*rows[:4], own])
    assert (words(match), match.unattributed) == ([*WORDS[:4], None], False)


@pytest.mark.fault("F33", "F37")
@pytest.mark.parametrize("count", [4, 6])
def test_masked_rows_of_other_numbers_match_no_record(count: int) -> None:
    rows = [masked(row_of(DIFFERENT[place % 5])) for place in range(count)]
    assert words(correlate(DIFFERENT, rows)) == [None] * 5


def test_answer_without_rows_gives_nothing_and_is_polled_again() -> None:
    for watermark in (True, False):
        match = correlate(SAME, [], watermark=watermark)
        assert (words(match), match.foreign, match.unattributed) == ([None] * 5, 0, False)


@pytest.mark.fault("F37")
def test_watermark_finds_masked_rows_in_any_order() -> None:
    records = [with_watermark(one, place) for place, one in enumerate(SAME)]
    rows = [masked(row_of(one, word)) for one, word in zip(records, WORDS, strict=True)]
    assert words(correlate(records, rows[::-1], watermark=True)) == WORDS


@pytest.mark.fault("F37")
def test_rounded_watermark_is_replaced_by_other_evidence() -> None:
    records = [with_watermark(one, place) for place, one in enumerate(SAME, start=3)]
    rows = [row_of(one, word, ends_at=START + 3_600_000) for one, word in zip(records, WORDS, strict=True)]
    assert words(correlate(records, rows[::-1], watermark=True)) == WORDS
    assert words(correlate(records, list(map(masked, rows)), watermark=True)) == [None] * 5


@pytest.mark.fault("F36")
def test_watermark_of_another_batch_is_foreign() -> None:
    records = [with_watermark(one, place) for place, one in enumerate(SAME)]
    other = attrs.evolve(masked(row_of(records[1])), ends_at=int(records[1].ends_at) + 60_000)  # type: ignore[arg-type]
    match = correlate(records, [masked(row_of(records[3])), other], watermark=True)
    assert words(match) == [None, None, None, "success", None]
    assert match.foreign == 1


@pytest.mark.fault("F37")
def test_part_of_a_batch_keeps_the_watermarks_of_the_original() -> None:
    part = [with_watermark(one, place) for place, one in enumerate(SAME, start=250)][1:4]
    rows = [masked(row_of(one, word)) for one, word in zip(part, ["success", "failed", "success"], strict=True)]
    assert words(correlate(part, rows[::-1], watermark=True)) == ["success", "failed", "success"]
    assert words(correlate(part[1:2], rows[1:2], watermark=True)) == ["failed"]


@pytest.mark.fault("F37")
@pytest.mark.parametrize("grain", [10, 100, 1000])
def test_rounded_watermarks_do_not_give_all_rows_to_the_first_record(grain: int) -> None:
    records = [with_watermark(one, place) for place, one in enumerate(SAME)]
    said = ["pending", "success", "success", "success", "success"]
    rows = [
        row_of(one, word, id=str(place), ends_at=int(records[0].ends_at) // grain * grain)  # type: ignore[arg-type]
        for place, (one, word) in enumerate(zip(records, said, strict=True))
    ]
    assert words(correlate(records, list(map(masked, rows)), watermark=True)) == [None] * 5
    assert words(correlate(records, list(map(masked, rows))[1:2], watermark=True)) == [None] * 5
    assert words(correlate(records, rows, watermark=True)) == said


@pytest.mark.fault("F37")
@given(st.permutations(range(5)), st.lists(st.sampled_from(["success", "failed"]), min_size=5, max_size=5))
def test_every_masked_row_with_its_watermark_is_given(order: list[int], said: list[str]) -> None:
    records = [with_watermark(one, place) for place, one in enumerate(SAME)]
    foreign = masked(row_of(record(9, ends_at=START + 7_200_003)))
    rows = [masked(row_of(records[place], said[place])) for place in order]
    match = correlate(records, [foreign, *rows, *rows[1:3]], watermark=True)
    assert (words(match), match.foreign, match.conflicts) == (said, 1, set())


@pytest.mark.fault("F34")
def test_rows_without_ids_may_repeat_and_give_no_common_status() -> None:
    rows = [masked(row_of(SAME[0]))] * 2
    assert words(correlate(SAME[:2], rows)) == [None, None]
    twins = [record(1, key="a"), record(1, key="b")]
    assert words(correlate(twins, [row_of(twins[0])] * 2)) == [None, None]


@pytest.mark.fault("F36")
def test_row_that_differs_from_all_candidates_is_ignored() -> None:
    pair = [record(1, reason="Calling about order 1"), record(1, reason="Calling about order 2")]
    hidden = [attrs.evolve(row_of(one, id=str(at)), caller="91****") for at, one in enumerate(pair)]
    mine = attrs.evolve(hidden[0], reason=None)
    other = attrs.evolve(hidden[1], reason="Calling about order 3", id="foreign")
    match = correlate(pair, [mine, other])
    assert (words(match), match.foreign) == ([None, None], 1)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[CallRecord], list[tuple[int, RecordStatus]]]:
    """Records that are hard to tell apart, and a truthful answer: (whose, row), hidden in part, in any order."""
    few = st.sampled_from
    records = draw(
        st.lists(
            st.builds(
                record,
                few([1, 2, 3]),
                caller=few(["910000000001", "910000000002"]),
                reason=few([None, "Calling you first", "Calling you again"]),
                label_name=few([None, "Centro", "Metro"]),
                ends_at=few([START + 1000, START + 2000]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    hidden = draw(st.sets(few(["caller", "receiver", "reason", "label_name", "ends_at", "id"])))
    rng = Random(draw(st.integers(0, 2**32)))
    patchy = draw(st.booleans())
    rows = []
    for index, one in enumerate(records):
        row = row_of(one, rng.choice(["success", "failed", "pending"]), id=f"id {index}", message=f"of {index}")
        row = attrs.evolve(row, reason=row.reason or "filled in", label_name=row.label_name or rng.choice(["A", "B"]))
        hide = {name for name in hidden if not patchy or rng.random() < 0.5}
        rows.append((index, attrs.evolve(row, **{name: HIDDEN.get(name) for name in hide})))
    kept = rng.sample(rows, draw(st.integers(0, len(rows)))) if draw(st.booleans()) else rows
    if draw(st.booleans()):
        rng.shuffle(kept)
    return records, kept


HIDDEN: dict[str, Any] = {"caller": "91****", "receiver": "91****"}


def content(one: CallRecord) -> CallRecord:
    return attrs.evolve(one, key=None)


@pytest.mark.fault("F33", "F37")
@given(answers())
def test_no_record_gets_the_row_of_a_different_record(
    answer: tuple[list[CallRecord], list[tuple[int, RecordStatus]]],
) -> None:
    records, rows = answer
    match = correlate(records, [row for _, row in rows])
    truth = dict(rows)
    for index, given_row in enumerate(match.rows):
        if given_row is None:
            continue
        owners = [owner for owner, row in rows if row is given_row]
        if owners:
            assert content(records[owners[0]]) == content(records[index])
        else:
            assert given_row.outcome is truth[index].outcome
            assert given_row.id is None
            assert given_row.message in (None, truth[index].message)


@given(st.permutations(range(5)), st.lists(st.sampled_from(["success", "failed"]), min_size=5, max_size=5))
def test_every_unmasked_row_is_matched(order: list[int], said: list[str]) -> None:
    rows = [row_of(SAME[place], said[place]) for place in order]
    assert words(correlate(SAME, rows)) == said


HIDEABLE = ("caller", "receiver", "reason", "label_name", "label_id", "starts_at", "ends_at", "id", "message")
FINAL = ("success", "failed")


@attrs.frozen
class Poll:
    """A status answer of a server that does almost anything, and what is true."""

    records: list[CallRecord]
    truth: list[str]
    """What each record's own row says: a final word, or "pending"."""
    contradicted: set[int]
    rows: list[RecordStatus]
    watermark: bool


@st.composite
def polls(draw: st.DrawFn) -> Poll:
    """Records that are hard to tell apart, and any subset, order, repetition, masking and mix of their rows.

    What no client could see through is left out: a foreign row that shows nothing but what one of the records has.
    """
    dice = draw(st.randoms(use_true_random=False))
    watermark = draw(st.booleans())
    first = draw(st.sampled_from([0, 0, 7]))
    variety = draw(st.sampled_from([1, 2, 3]))
    records = [hard_to_tell(dice, variety) for _ in range(draw(st.integers(1, 7)))]
    if watermark:
        records = [with_watermark(one, place) for place, one in enumerate(records, start=first)]
        records = dice.sample(records, draw(st.integers(1, len(records))))
    truth = [dice.choice((*FINAL, *FINAL, "pending")) for _ in records]
    hidden = draw(st.sets(st.sampled_from(HIDEABLE)))
    patchy = draw(st.booleans())
    grain = draw(st.sampled_from([1, 1, 10, 1000, 60_000])) if watermark else 1

    def seen(row: RecordStatus) -> RecordStatus:
        hide = {name for name in hidden if not patchy or dice.random() < 0.5}
        said = attrs.evolve(row, reason=row.reason or "filled in", ends_at=int(row.ends_at or 0) // grain * grain)
        return attrs.evolve(said, **{name: HIDDEN.get(name) for name in hide})

    own = [seen(row_of(one, truth[at], id=f"id {at}", message=f"of {at}")) for at, one in enumerate(records)]
    kept = dice.sample(range(len(own)), draw(st.integers(0, len(own)))) if draw(st.booleans()) else range(len(own))
    kept = sorted(kept) if draw(st.booleans()) else list(kept)
    answer = []
    contradicted = set()
    for at in kept:
        answer += [own[at]] * (1 if dice.random() < 0.7 else 2)
        if truth[at] in FINAL and dice.random() < 0.1:
            contradicted.add(at)
            answer.append(attrs.evolve(own[at], status=FINAL[1 - FINAL.index(truth[at])]))
        elif truth[at] in FINAL and dice.random() < 0.1:
            answer.append(attrs.evolve(own[at], status="pending"))
    for number in range(draw(st.integers(0, 3))):
        other = hard_to_tell(dice, 4, caller="990000000001", receiver=f"99900000000{number}")
        foreign = seen(row_of(other, dice.choice(FINAL), id=f"foreign {number}"))
        if not any(could_be(one, foreign) for one in records):
            answer.insert(dice.randint(0, len(answer)), foreign)
    if draw(st.booleans()):
        dice.shuffle(answer)
    return Poll(records, truth, contradicted, answer, watermark)


def hard_to_tell(dice: Random, variety: int, **numbers: Any) -> CallRecord:
    some = {
        "caller": dice.choice(["910000000001", "910000000002"][:variety]),
        "label_id": dice.choice([LABEL, LABEL, None][-variety:]),
        "reason": dice.choice(["Calling you first", "Calling you again", None, "Calling again"][:variety]),
        "label_name": dice.choice([None, "Centro", "Metro"][:variety]),
        "ends_at": START + dice.choice([3_600_000, 3_601_000, 3_600_250, 7_200_000][:variety]),
    }
    return record(dice.choice([1, 2, 3][:variety]), **{**some, **numbers})


def could_be(one: CallRecord, row: RecordStatus) -> bool:
    """Whether nothing that the row shows is other than what the record says."""
    pairs = [(getattr(row, name), getattr(one, name)) for name in ("label_name", "reason", "starts_at", "ends_at")]
    pairs += [(row.label_id.lower() if row.label_id else None, one.label_id)]
    pairs += [
        (said.removeprefix("+"), sent)
        for said, sent in ((row.caller, one.caller), (row.receiver, one.receiver))
        if said and "*" not in said
    ]
    return all(said is None or sent is None or said == sent for said, sent in pairs)


@pytest.mark.fault("F33", "F34", "F36", "F37")
@settings(max_examples=400)
@given(polls())
def test_no_record_gets_a_foreign_outcome(poll: Poll) -> None:
    match = correlate(poll.records, poll.rows, watermark=poll.watermark)
    groups: dict[CallRecord, list[int]] = {}
    for at, one in enumerate(poll.records):
        groups.setdefault(content(one), []).append(at)
    for alike in groups.values():
        if poll.contradicted.intersection(alike):
            continue
        claimed = Counter(
            row.outcome for at in alike if at not in match.conflicts and (row := match.rows[at]) and row.outcome
        )
        true = Counter(FINAL_STATUSES[poll.truth[at]] for at in alike if poll.truth[at] in FINAL)
        assert claimed <= true
        ids = {row.id for at in alike if (row := match.rows[at]) and row.id}
        assert ids <= {f"id {at}" for at in alike}
    for at in poll.contradicted:
        row = match.rows[at]
        assert row is None or row.outcome is None or at in match.conflicts or len(groups[content(poll.records[at])]) > 1
