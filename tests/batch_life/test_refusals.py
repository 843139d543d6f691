"""A rejection in a 200, and a batch without a good record."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.batch_life.scene import world_of
from tests.campaign.test_poison import BATCH, IN_FLIGHT, REQUESTS_MAX, STRANGE, STREAK, requests
from tests.campaign.world import check_account, record, records
from tests.virtual import run_virtual
from truecaller_async import CampaignOptions, Outcome, PushRejected

UNREACHED = "Not a Truecaller user"


@pytest.mark.fault("F39")
@pytest.mark.parametrize("response_variants", [(), ("failure-in-200",), ("flat-status-info",), ("camel-status-info",)])
def test_realtime_record_refused_in_a_200_is_never_a_success(response_variants: tuple[str, ...]) -> None:
    async def main() -> None:
        world = world_of(response_variants=response_variants)
        async with world.client as client:
            with pytest.raises(PushRejected) as caught:
                await client.calls.push(record(1, receiver="919800000013"))
            assert (caught.value.status, caught.value.message) == (200, UNREACHED)
            with pytest.raises(PushRejected) as caught:
                await client.calls.push(record(2, label_id=STRANGE))
            assert caught.value.field == "label_id"
            assert (await client.calls.push(record(3))).status == "success"
        assert world.transport.counts["push"] == 3

    run_virtual(main)


@pytest.mark.fault("F39")
def test_campaign_records_refused_in_a_200_fail_with_the_message() -> None:
    async def main() -> None:
        world = world_of(response_variants=("failure-in-200",))
        unreached = [record(number, receiver=f"9198{number:06d}13") for number in range(1, 61)]
        results, summary, fault = await world.run([record(0, label_id=STRANGE), *unreached, *records(100)])
        check_account(results, summary, world.state)
        assert fault is None
        assert (summary.failed, summary.delivered) == (61, 100)
        reasons = Counter(result.reason for result in results if result.outcome is Outcome.FAILED)
        assert reasons[UNREACHED] == 60

    run_virtual(main)


@pytest.mark.fault("F40")
@pytest.mark.parametrize(("isolate", "most"), [("realtime", 1 + STREAK + IN_FLIGHT), ("bisect", 1 + 64)])
def test_five_hundred_bad_records_fail_with_row_and_reason(isolate: str, most: int) -> None:
    async def main() -> None:
        world = world_of()
        results, summary, fault = await world.run(
            records(BATCH, label_id=STRANGE),
            CampaignOptions(isolate=isolate),  # type: ignore[arg-type]
        )
        check_account(results, summary, world.state)
        assert fault is None
        assert {(result.outcome, result.key) for result in results} == {
            (Outcome.FAILED, str(row)) for row in range(1, BATCH + 1)
        }
        assert all("label_id" in str(result.reason) for result in results)
        assert requests(world) <= most < REQUESTS_MAX
        assert world.state.stats().records_applied == 0

    run_virtual(main)
