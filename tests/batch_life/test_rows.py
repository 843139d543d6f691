"""Status rows that are missing, repeated, unknown, foreign, or different in the next answer.

Most tests check that nothing is claimed: a record without a final status has no outcome until the poll deadline, and
then it is `unknown`, never delivered or failed.
"""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from tests.batch_life.scene import Row, rows, with_status, world_of
from tests.campaign.world import check_account, record, records
from tests.virtual import run_virtual
from truecaller_async import CampaignOptions, Outcome, PollPolicy, RecordResult

BATCH = 500
DEADLINE = 600.0
UNTIL_DEADLINE = CampaignOptions(poll=PollPolicy(deadline=DEADLINE))
DOCUMENTED_FAILURES = ("error", "failure", "failed")
STRANGE_WORDS = ("queued2", "Success", "SUCCESS", "success ", "delivered", "", None, 7, 0.5, True)


def by_outcome(results: list[RecordResult]) -> Counter[Outcome]:
    return Counter(result.outcome for result in results)


def event_fields(caplog: pytest.LogCaptureFixture, stage: str) -> list[str]:
    """Return the logged fields of an event."""
    return [entry.getMessage() for entry in caplog.records if entry.getMessage().startswith(stage + " ")]


@pytest.mark.fault("F33")
def test_missing_status_rows_end_unknown_at_the_deadline() -> None:
    missing = range(240, 250)

    def without(data: list[Row], now: float) -> list[Row]:
        return [row for place, row in enumerate(data) if place not in missing]

    async def main() -> None:
        world = world_of(status=rows(without))
        results, summary, fault = await world.run(records(BATCH), UNTIL_DEADLINE)
        check_account(results, summary, world.state)
        assert fault is None
        assert by_outcome(results) == {Outcome.DELIVERED: 490, Outcome.UNKNOWN: 10}
        unknown = [result for result in results if result.outcome is Outcome.UNKNOWN]
        assert {result.row for result in unknown} == {place + 1 for place in missing}
        assert all(str(result.reason).startswith("no final status within ") for result in unknown)
        assert DEADLINE <= summary.elapsed < DEADLINE + 60
        assert world.transport.counts["submit"] == 1

    run_virtual(main)


@pytest.mark.fault("F34")
def test_repeated_status_rows_merge_and_contradictions_are_conflicts() -> None:
    def doubled(data: list[Row], now: float) -> list[Row]:
        if data[0]["status_info"]["status"] == "pending":
            return data
        equal = [*data[:100], *data[:100]]
        stale = [with_status(row, "pending") for row in data[100:200]]
        opposite = [with_status(row, "failed") for row in data[200:250]]
        return [*stale, *equal, *data[100:], *opposite]

    async def main() -> None:
        world = world_of(status=rows(doubled))
        results, summary, fault = await world.run(records(BATCH))
        check_account(results, summary, world.state)
        assert fault is None
        assert by_outcome(results) == {Outcome.DELIVERED: 450, Outcome.UNKNOWN: 50}
        unknown = [result for result in results if result.outcome is Outcome.UNKNOWN]
        assert {result.row for result in unknown} == set(range(201, 251))
        assert all(str(result.reason).startswith("conflict") for result in unknown)

    run_virtual(main)


@pytest.mark.fault("F35")
def test_undocumented_status_is_polled_on_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "truecaller_async")

    def strange(data: list[Row], now: float) -> list[Row]:
        return [with_status(row, STRANGE_WORDS[place % len(STRANGE_WORDS)]) for place, row in enumerate(data)]

    async def main() -> None:
        world = world_of(status=rows(strange))
        results, summary, fault = await world.run(records(100), UNTIL_DEADLINE)
        check_account(results, summary, world.state)
        assert fault is None
        assert by_outcome(results) == {Outcome.UNKNOWN: 100}
        assert summary.requests["status"] > 10

    run_virtual(main)
    assert len(event_fields(caplog, "status_value.first_seen")) == len(STRANGE_WORDS)


@pytest.mark.fault("F35")
def test_distinct_status_per_record_does_not_flood_the_log_or_show_numbers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "truecaller_async")

    def talking(data: list[Row], now: float) -> list[Row]:
        return [with_status(row, f"pending {row['receiver_number']} since {now}\r\n" + 300 * "x") for row in data]

    async def main() -> None:
        world = world_of(status=rows(talking))
        results, _, fault = await world.run(records(BATCH), UNTIL_DEADLINE)
        assert fault is None
        assert by_outcome(results) == {Outcome.UNKNOWN: BATCH}

    run_virtual(main)
    said = event_fields(caplog, "status_value.first_seen")
    assert 0 < len(said) <= 20
    assert max(map(len, said)) < 100
    assert not any("91980" in line or "\n" in line for line in said)


@pytest.mark.fault("F35")
@pytest.mark.parametrize("word", DOCUMENTED_FAILURES)
def test_every_documented_failure_status_is_final(word: str) -> None:
    def failing(data: list[Row], now: float) -> list[Row]:
        return [with_status(data[0], word), *data[1:]]

    async def main() -> None:
        results, summary, _ = await world_of(status=rows(failing)).run(records(20))
        assert by_outcome(results) == {Outcome.DELIVERED: 19, Outcome.FAILED: 1}
        assert summary.requests["status"] <= 2

    run_virtual(main)


@pytest.mark.fault("F36")
def test_rows_about_foreign_numbers_give_no_outcome_and_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "truecaller_async")

    def mixed(data: list[Row], now: float) -> list[Row]:
        others = [with_status(row, "failed") | {"receiver_number": "99" + row["receiver_number"][2:]} for row in data]
        return [*others, *data[:-10]]

    async def main() -> None:
        world = world_of(status=rows(mixed))
        results, summary, fault = await world.run(records(BATCH), UNTIL_DEADLINE)
        check_account(results, summary, world.state)
        assert fault is None
        assert by_outcome(results) == {Outcome.DELIVERED: 490, Outcome.UNKNOWN: 10}

    run_virtual(main)
    assert len(event_fields(caplog, "status_rows.unmatched")) == 1


@pytest.mark.fault("F36")
@pytest.mark.parametrize(
    "elsewhere",
    [
        {"batch_id": "of-another-batch"},
        {"client_account_id": "22222222-3333-4444-8555-666666666666"},
        {"starts_at": 1_759_900_000_000, "ends_at": 1_759_910_000_000, "dynamic_call_reason": "Calling last week"},
    ],
    ids=["batch", "account", "last week"],
)
def test_foreign_rows_about_own_numbers_give_no_outcome(elsewhere: Row) -> None:
    def mixed(data: list[Row], now: float) -> list[Row]:
        others = [with_status(row, "failed") | elsewhere for row in data[:-10]]
        pending = now < 30
        return [*others, *(with_status(row, "pending") if pending else row for row in data[:-10])]

    async def main() -> None:
        world = world_of(status=rows(mixed))
        results, summary, fault = await world.run(records(BATCH), UNTIL_DEADLINE)
        check_account(results, summary, world.state)
        assert fault is None
        assert by_outcome(results) == {Outcome.DELIVERED: 490, Outcome.UNKNOWN: 10}

    run_virtual(main)


@pytest.mark.fault("F38")
def test_first_final_status_stands_despite_later_changes() -> None:
    changed = 60.0

    def flipping(data: list[Row], now: float) -> list[Row]:
        """Report the first half as final, later the opposite; the other half is late."""
        half = len(data) // 2
        if now < changed:
            return [*data[:half], *(with_status(row, "pending") for row in data[half:])]
        turned = {"success": "failed", "failed": "success"}
        return [*(with_status(row, turned[row["status_info"]["status"]]) for row in data[:half]), *data[half:]]

    async def main() -> None:
        world = world_of(status=rows(flipping), resolve_after=0.0)
        given = [
            record(number, receiver=f"9198{number:06d}{13 if number % 4 == 0 else 10}") for number in range(1, 401)
        ]
        results, summary, fault = await world.run(given)
        check_account(results, summary, world.state)
        assert fault is None
        assert by_outcome(results) == {Outcome.DELIVERED: 300, Outcome.FAILED: 100}
        assert {result.row for result in results if result.outcome is Outcome.FAILED} == set(range(4, 401, 4))
        assert summary.elapsed > changed

    run_virtual(main)
