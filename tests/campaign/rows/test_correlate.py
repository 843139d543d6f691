"""Test the match of status rows to records, with masked, missing, repeated and foreign rows."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.campaign.core.records import START, record
from truecaller_async.campaign.rows.chunker import with_watermark
from truecaller_async.campaign.rows.correlate import Match, correlate
from truecaller_async.models import CallRecord, RecordStatus
from truecaller_async.models.batches import FINAL_STATUSES

LABEL = "c6d8a1b2-1111-4222-8333-abcdefabcdef"


def row_of(one: CallRecord, status: str | None = "success", **other: Any) -> RecordStatus:
    """Build the correct status row of a record."""
    shown: dict[str, Any] = {
        "caller": one.caller,
        "receiver": f"+{one.receiver}",
        "label_id": one.label_id.upper() if one.label_id else None,
        "label_name": one.label_name,
        "reason": one.reason,
        "starts_at": one.starts_at,
        "ends_at": one.ends_at,
        "status": status,
    }
    return RecordStatus(**{**shown, **other})


def masked(row: RecordStatus) -> RecordStatus:
    return attrs.evolve(row, caller="91********01", receiver="91********17")


def statuses(match: Match) -> list[str | None]:
    return [row.status if row is not None else None for row in match.rows]


DISTINCT_RECORDS = [record(number, label_id=LABEL, reason=f"Calling about order {number}") for number in range(5)]
EQUAL_RECORDS = [record(number, label_id=LABEL, reason="Calling you for KYC") for number in range(5)]
STATUSES = ["success", "failed", "success", "pending", "error"]


@pytest.mark.parametrize("records", [DISTINCT_RECORDS, EQUAL_RECORDS])
def test_unmasked_rows_find_their_records_in_any_order(records: list[CallRecord]) -> None:
    rows = [row_of(one, status) for one, status in zip(records, STATUSES, strict=True)]
    for seed in range(10):
        shuffled = Random(seed).sample(rows, len(rows))
        assert statuses(correlate(records, shuffled)) == STATUSES
    assert statuses(correlate(records, rows)) == STATUSES


@pytest.mark.fault("F33")
def test_missing_row_does_not_shift_the_other_matches() -> None:
    rows = [row_of(one, status) for one, status in zip(EQUAL_RECORDS, STATUSES, strict=True)]
    del rows[1]
    match = correlate(EQUAL_RECORDS, rows)
    assert statuses(match) == ["success", None, "success", "pending", "error"]
    assert not match.unattributed


@pytest.mark.fault("F36")
def test_rows_that_match_no_record_are_foreign() -> None:
    match = correlate(EQUAL_RECORDS, [row_of(EQUAL_RECORDS[0]), row_of(record(99)), row_of(record(98), "failed")])
    assert statuses(match) == ["success", None, None, None, None]
    assert match.foreign == 2


@pytest.mark.fault("F36")
@pytest.mark.parametrize("status", STATUSES)
def test_row_of_another_time_does_not_match_the_record(status: str) -> None:
    own = [row_of(one, status) for one in DISTINCT_RECORDS]
    past = attrs.evolve(row_of(DISTINCT_RECORDS[0], "failed"), reason="Calling last week", starts_at=START - 86_400_000)
    for rows in ([*own, past], [past, *own]):
        match = correlate(DISTINCT_RECORDS, rows)
        assert (statuses(match), match.foreign, match.conflicts) == ([status] * 5, 1, set())


@pytest.mark.fault("F34")
def test_identical_rows_count_once() -> None:
    match = correlate(EQUAL_RECORDS, [row_of(EQUAL_RECORDS[2])] * 2)
    assert statuses(match) == [None, None, "success", None, None]
    assert match.conflicts == set()


@pytest.mark.fault("F34")
@pytest.mark.parametrize("order", [1, -1])
def test_final_status_wins_over_a_pending_one(order: int) -> None:
    rows = [row_of(EQUAL_RECORDS[0], "pending"), row_of(EQUAL_RECORDS[0], "failed")][::order]
    match = correlate(EQUAL_RECORDS, rows)
    assert match.rows[0] is not None
    assert match.rows[0].status == "failed"
    assert match.conflicts == set()


@pytest.mark.fault("F34")
def test_success_and_failure_of_one_record_are_a_conflict() -> None:
    assert correlate(EQUAL_RECORDS, [row_of(EQUAL_RECORDS[3]), row_of(EQUAL_RECORDS[3], "failed")]).conflicts == {3}


def test_records_of_one_pair_are_distinguished_by_content() -> None:
    pair = [attrs.evolve(one, receiver="919900000000") for one in DISTINCT_RECORDS]
    rows = [row_of(one, status) for one, status in zip(pair, STATUSES, strict=True)]
    assert statuses(correlate(pair, rows[::-1])) == STATUSES


def test_records_with_equal_content_get_one_row_each() -> None:
    twins = [record(1, key="a"), record(1, key="b")]
    match = correlate(twins, [row_of(twins[0], "success", id="x"), row_of(twins[1], "failed", id="y")])
    assert sorted(status or "" for status in statuses(match)) == ["failed", "success"]


@pytest.mark.fault("F34")
def test_repeated_row_is_not_two_results_for_equal_records() -> None:
    twins = [record(1, key="a"), record(1, key="b")]
    assert statuses(correlate(twins, [row_of(twins[0], id="x")] * 2)) == ["success", None]


def test_indistinguishable_records_of_one_pair_get_no_row() -> None:
    pair = [record(1, reason="Calling about order 1"), record(1, reason="Calling about order 2")]
    rows = [row_of(one, status, reason=None) for one, status in zip(pair, ["success", "failed"], strict=True)]
    for order in (rows, rows[::-1]):
        match = correlate(pair, order)
        assert statuses(match) == [None, None]
        assert match.unattributed


def test_server_may_fill_in_fields_that_were_not_sent() -> None:
    rows = [row_of(record(number), label_name="Centro Bank", reason="A default") for number in (2, 1)]
    assert statuses(correlate([record(1), record(2)], rows)) == ["success", "success"]


def test_server_may_change_the_content_of_an_unmasked_record() -> None:
    rows = [row_of(record(number), ends_at=START, label_name="CENTRO") for number in (2, 1)]
    assert statuses(correlate([record(1), record(2)], rows)) == ["success", "success"]


@pytest.mark.fault("F37")
def test_masked_rows_in_order_with_distinct_fields_match_by_position() -> None:
    rows = [masked(row_of(one, status)) for one, status in zip(DISTINCT_RECORDS, STATUSES, strict=True)]
    assert statuses(correlate(DISTINCT_RECORDS, rows)) == STATUSES


@pytest.mark.fault("F37")
def test_masked_rows_out_of_order_match_no_record() -> None:
    rows = [
        masked(row_of(one, status)) for one, status in zip(DISTINCT_RECORDS, ["success"] * 4 + ["failed"], strict=True)
    ]
    match = correlate(DISTINCT_RECORDS, rows[::-1])
    assert statuses(match) == [None] * 5
    assert match.unattributed


@pytest.mark.fault("F37")
def test_indistinct_masked_rows_are_unattributed_once_all_are_final() -> None:
    final = ["success", "failed", "success", "success", "error"]
    match = correlate(
        EQUAL_RECORDS, [masked(row_of(one, status)) for one, status in zip(EQUAL_RECORDS, final, strict=True)]
    )
    assert statuses(match) == [None] * 5
    assert match.unattributed


@pytest.mark.fault("F37")
def test_indistinct_masked_rows_are_polled_until_all_are_final() -> None:
    match = correlate(
        EQUAL_RECORDS, [masked(row_of(one, status)) for one, status in zip(EQUAL_RECORDS, STATUSES, strict=True)]
    )
    assert statuses(match) == [None] * 5
    assert not match.unattributed


@pytest.mark.fault("F37")
def test_masked_rows_with_one_final_status_give_only_the_status() -> None:
    rows = [
        masked(row_of(one, "failed", id=str(place), message="not a user")) for place, one in enumerate(EQUAL_RECORDS)
    ]
    rows[0] = attrs.evolve(rows[0], field="receiver_number")
    match = correlate(EQUAL_RECORDS, rows)
    assert [(row.status, row.message, row.field, row.id) for row in match.rows if row is not None] == [
        ("failed", "not a user", None, None)
    ] * 5


@pytest.mark.fault("F34", "F37")
def test_repeated_masked_row_is_no_evidence_for_the_missing_one() -> None:
    rows = [masked(row_of(EQUAL_RECORDS[0], id="x"))] * 2
    assert statuses(correlate(EQUAL_RECORDS[:2], rows)) == [None, None]


@pytest.mark.fault("F37")
def test_server_filled_fields_do_not_distinguish_masked_records() -> None:
    rows = [
        masked(row_of(one, status, label_name=f"Branch {place}"))
        for place, (one, status) in enumerate(zip(EQUAL_RECORDS[:2], ["success", "failed"], strict=True))
    ]
    assert statuses(correlate(EQUAL_RECORDS[:2], rows)) == [None, None]


@pytest.mark.fault("F37")
def test_masked_receiver_beside_a_full_caller_is_not_guessed() -> None:
    rows = [
        attrs.evolve(row_of(EQUAL_RECORDS[0], status), receiver="91****17") for status in ("failed", *["success"] * 4)
    ]
    match = correlate(EQUAL_RECORDS, rows)
    assert statuses(match) == [None] * 5
    assert match.unattributed


@pytest.mark.fault("F37")
@pytest.mark.parametrize("hidden", ["caller", "receiver"])
def test_row_without_a_number_hides_no_other(hidden: str) -> None:
    rows = [
        row_of(one, status, id=f"id {place}")
        for place, (one, status) in enumerate(zip(EQUAL_RECORDS, STATUSES, strict=True))
    ]
    odd = attrs.evolve(row_of(record(77)), **{hidden: None})
    assert statuses(correlate(EQUAL_RECORDS, [odd, *rows])) == STATUSES
    half: dict[str, Any] = {hidden: "91****17"}
    own = attrs.evolve(rows[4], **half)
    match = correlate(EQUAL_RECORDS, [*rows[:4], own])
    assert (statuses(match), match.unattributed) == ([*STATUSES[:4], None], False)


@pytest.mark.fault("F33", "F37")
@pytest.mark.parametrize("count", [4, 6])
def test_masked_rows_of_other_numbers_match_no_record(count: int) -> None:
    rows = [masked(row_of(DISTINCT_RECORDS[place % 5])) for place in range(count)]
    assert statuses(correlate(DISTINCT_RECORDS, rows)) == [None] * 5


def test_answer_without_rows_gives_nothing_and_is_polled_again() -> None:
    for watermark in (True, False):
        match = correlate(EQUAL_RECORDS, [], watermark=watermark)
        assert (statuses(match), match.foreign, match.unattributed) == ([None] * 5, 0, False)


@pytest.mark.fault("F37")
def test_watermark_finds_masked_rows_in_any_order() -> None:
    records = [with_watermark(one, place) for place, one in enumerate(EQUAL_RECORDS)]
    rows = [masked(row_of(one, status)) for one, status in zip(records, STATUSES, strict=True)]
    assert statuses(correlate(records, rows[::-1], watermark=True)) == STATUSES


@pytest.mark.fault("F37")
def test_rounded_watermark_is_replaced_by_other_evidence() -> None:
    records = [with_watermark(one, place) for place, one in enumerate(EQUAL_RECORDS, start=3)]
    rows = [row_of(one, status, ends_at=START + 3_600_000) for one, status in zip(records, STATUSES, strict=True)]
    assert statuses(correlate(records, rows[::-1], watermark=True)) == STATUSES
    assert statuses(correlate(records, list(map(masked, rows)), watermark=True)) == [None] * 5


@pytest.mark.fault("F36")
def test_watermark_of_another_batch_is_foreign() -> None:
    records = [with_watermark(one, place) for place, one in enumerate(EQUAL_RECORDS)]
    other = attrs.evolve(masked(row_of(records[1])), ends_at=int(records[1].ends_at) + 60_000)  # type: ignore[arg-type]
    match = correlate(records, [masked(row_of(records[3])), other], watermark=True)
    assert statuses(match) == [None, None, None, "success", None]
    assert match.foreign == 1


@pytest.mark.fault("F37")
def test_part_of_a_batch_keeps_the_watermarks_of_the_original() -> None:
    part = [with_watermark(one, place) for place, one in enumerate(EQUAL_RECORDS, start=250)][1:4]
    rows = [masked(row_of(one, status)) for one, status in zip(part, ["success", "failed", "success"], strict=True)]
    assert statuses(correlate(part, rows[::-1], watermark=True)) == ["success", "failed", "success"]
    assert statuses(correlate(part[1:2], rows[1:2], watermark=True)) == ["failed"]


@pytest.mark.fault("F37")
@pytest.mark.parametrize("rounding", [10, 100, 1000])
def test_rounded_watermarks_do_not_give_all_rows_to_the_first_record(rounding: int) -> None:
    records = [with_watermark(one, place) for place, one in enumerate(EQUAL_RECORDS)]
    shown = ["pending", "success", "success", "success", "success"]
    rows = [
        row_of(one, status, id=str(place), ends_at=int(records[0].ends_at) // rounding * rounding)  # type: ignore[arg-type]
        for place, (one, status) in enumerate(zip(records, shown, strict=True))
    ]
    assert statuses(correlate(records, list(map(masked, rows)), watermark=True)) == [None] * 5
    assert statuses(correlate(records, list(map(masked, rows))[1:2], watermark=True)) == [None] * 5
    assert statuses(correlate(records, rows, watermark=True)) == shown


@pytest.mark.fault("F37")
@given(st.permutations(range(5)), st.lists(st.sampled_from(["success", "failed"]), min_size=5, max_size=5))
def test_every_masked_row_with_its_watermark_is_given(order: list[int], shown: list[str]) -> None:
    records = [with_watermark(one, place) for place, one in enumerate(EQUAL_RECORDS)]
    foreign = masked(row_of(record(9, ends_at=START + 7_200_003)))
    rows = [masked(row_of(records[place], shown[place])) for place in order]
    match = correlate(records, [foreign, *rows, *rows[1:3]], watermark=True)
    assert (statuses(match), match.foreign, match.conflicts) == (shown, 1, set())


@pytest.mark.fault("F34")
def test_rows_without_ids_may_repeat_and_give_no_common_status() -> None:
    rows = [masked(row_of(EQUAL_RECORDS[0]))] * 2
    assert statuses(correlate(EQUAL_RECORDS[:2], rows)) == [None, None]
    twins = [record(1, key="a"), record(1, key="b")]
    assert statuses(correlate(twins, [row_of(twins[0])] * 2)) == [None, None]


@pytest.mark.fault("F36")
def test_row_that_differs_from_all_candidates_is_ignored() -> None:
    pair = [record(1, reason="Calling about order 1"), record(1, reason="Calling about order 2")]
    hidden = [attrs.evolve(row_of(one, id=str(at)), caller="91****") for at, one in enumerate(pair)]
    mine = attrs.evolve(hidden[0], reason=None)
    other = attrs.evolve(hidden[1], reason="Calling about order 3", id="foreign")
    match = correlate(pair, [mine, other])
    assert (statuses(match), match.foreign) == ([None, None], 1)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[CallRecord], list[tuple[int, RecordStatus]]]:
    """Build similar records and a correct answer: (index, row), partly masked, in any order."""
    choose = st.sampled_from
    records = draw(
        st.lists(
            st.builds(
                record,
                choose([1, 2, 3]),
                caller=choose(["910000000001", "910000000002"]),
                reason=choose([None, "Calling you first", "Calling you again"]),
                label_name=choose([None, "Centro", "Metro"]),
                ends_at=choose([START + 1000, START + 2000]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    hidden = draw(st.sets(choose(["caller", "receiver", "reason", "label_name", "ends_at", "id"])))
    rng = Random(draw(st.integers(0, 2**32)))
    patchy = draw(st.booleans())
    rows = []
    for index, one in enumerate(records):
        row = row_of(one, rng.choice(["success", "failed", "pending"]), id=f"id {index}", message=f"of {index}")
        row = attrs.evolve(row, reason=row.reason or "filled in", label_name=row.label_name or rng.choice(["A", "B"]))
        hide = {name for name in hidden if not patchy or rng.random() < 0.5}
        rows.append((index, attrs.evolve(row, **{name: MASKED_VALUES.get(name) for name in hide})))
    kept = rng.sample(rows, draw(st.integers(0, len(rows)))) if draw(st.booleans()) else rows
    if draw(st.booleans()):
        rng.shuffle(kept)
    return records, kept


MASKED_VALUES: dict[str, Any] = {"caller": "91****", "receiver": "91****"}


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
def test_every_unmasked_row_is_matched(order: list[int], shown: list[str]) -> None:
    rows = [row_of(EQUAL_RECORDS[place], shown[place]) for place in order]
    assert statuses(correlate(EQUAL_RECORDS, rows)) == shown


HIDEABLE_FIELDS = ("caller", "receiver", "reason", "label_name", "label_id", "starts_at", "ends_at", "id", "message")
FINAL_VALUES = ("success", "failed")


@attrs.frozen
class PollCase:
    """A status answer with any faults, and the true statuses."""

    records: list[CallRecord]
    truth: list[str]
    """True status of each record: a final value or "pending"."""
    contradicted: set[int]
    rows: list[RecordStatus]
    watermark: bool


@st.composite
def polls(draw: st.DrawFn) -> PollCase:
    """Build similar records and any subset, order, repetition, masking and mix of their rows.

    Left out: a foreign row that shows only values of one of the records, because no client can detect it.
    """
    rng = draw(st.randoms(use_true_random=False))
    watermark = draw(st.booleans())
    first = draw(st.sampled_from([0, 0, 7]))
    variety = draw(st.sampled_from([1, 2, 3]))
    records = [similar_record(rng, variety) for _ in range(draw(st.integers(1, 7)))]
    if watermark:
        records = [with_watermark(one, place) for place, one in enumerate(records, start=first)]
        records = rng.sample(records, draw(st.integers(1, len(records))))
    truth = [rng.choice((*FINAL_VALUES, *FINAL_VALUES, "pending")) for _ in records]
    hidden = draw(st.sets(st.sampled_from(HIDEABLE_FIELDS)))
    patchy = draw(st.booleans())
    rounding = draw(st.sampled_from([1, 1, 10, 1000, 60_000])) if watermark else 1

    def seen(row: RecordStatus) -> RecordStatus:
        hide = {name for name in hidden if not patchy or rng.random() < 0.5}
        shown = attrs.evolve(
            row, reason=row.reason or "filled in", ends_at=int(row.ends_at or 0) // rounding * rounding
        )
        return attrs.evolve(shown, **{name: MASKED_VALUES.get(name) for name in hide})

    own = [seen(row_of(one, truth[at], id=f"id {at}", message=f"of {at}")) for at, one in enumerate(records)]
    kept = rng.sample(range(len(own)), draw(st.integers(0, len(own)))) if draw(st.booleans()) else range(len(own))
    kept = sorted(kept) if draw(st.booleans()) else list(kept)
    answer = []
    contradicted = set()
    for at in kept:
        answer += [own[at]] * (1 if rng.random() < 0.7 else 2)
        if truth[at] in FINAL_VALUES and rng.random() < 0.1:
            contradicted.add(at)
            answer.append(attrs.evolve(own[at], status=FINAL_VALUES[1 - FINAL_VALUES.index(truth[at])]))
        elif truth[at] in FINAL_VALUES and rng.random() < 0.1:
            answer.append(attrs.evolve(own[at], status="pending"))
    for number in range(draw(st.integers(0, 3))):
        other = similar_record(rng, 4, caller="990000000001", receiver=f"99900000000{number}")
        foreign = seen(row_of(other, rng.choice(FINAL_VALUES), id=f"foreign {number}"))
        if not any(is_compatible(one, foreign) for one in records):
            answer.insert(rng.randint(0, len(answer)), foreign)
    if draw(st.booleans()):
        rng.shuffle(answer)
    return PollCase(records, truth, contradicted, answer, watermark)


def similar_record(rng: Random, variety: int, **numbers: Any) -> CallRecord:
    some = {
        "caller": rng.choice(["910000000001", "910000000002"][:variety]),
        "label_id": rng.choice([LABEL, LABEL, None][-variety:]),
        "reason": rng.choice(["Calling you first", "Calling you again", None, "Calling again"][:variety]),
        "label_name": rng.choice([None, "Centro", "Metro"][:variety]),
        "ends_at": START + rng.choice([3_600_000, 3_601_000, 3_600_250, 7_200_000][:variety]),
    }
    return record(rng.choice([1, 2, 3][:variety]), **{**some, **numbers})


def is_compatible(one: CallRecord, row: RecordStatus) -> bool:
    """Return whether no shown value of the row differs from the record."""
    pairs = [(getattr(row, name), getattr(one, name)) for name in ("label_name", "reason", "starts_at", "ends_at")]
    pairs += [(row.label_id.lower() if row.label_id else None, one.label_id)]
    pairs += [
        (shown.removeprefix("+"), sent)
        for shown, sent in ((row.caller, one.caller), (row.receiver, one.receiver))
        if shown and "*" not in shown
    ]
    return all(shown is None or sent is None or shown == sent for shown, sent in pairs)


@pytest.mark.fault("F33", "F34", "F36", "F37")
@settings(max_examples=400)
@given(polls())
def test_no_record_gets_a_foreign_outcome(poll: PollCase) -> None:
    match = correlate(poll.records, poll.rows, watermark=poll.watermark)
    groups: dict[CallRecord, list[int]] = {}
    for at, one in enumerate(poll.records):
        groups.setdefault(content(one), []).append(at)
    for equal in groups.values():
        if poll.contradicted.intersection(equal):
            continue
        matched = Counter(
            row.outcome for at in equal if at not in match.conflicts and (row := match.rows[at]) and row.outcome
        )
        expected = Counter(FINAL_STATUSES[poll.truth[at]] for at in equal if poll.truth[at] in FINAL_VALUES)
        assert matched <= expected
        ids = {row.id for at in equal if (row := match.rows[at]) and row.id}
        assert ids <= {f"id {at}" for at in equal}
    for at in poll.contradicted:
        row = match.rows[at]
        assert row is None or row.outcome is None or at in match.conflicts or len(groups[content(poll.records[at])]) > 1
