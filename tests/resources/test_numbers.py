"""Publish and delist numbers, and wait until they are listed: on a virtual loop."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.resources.script import ACCOUNT, REFUSED_TOKEN, Script, Step, answer, client_of, playing, throttled
from tests.virtual import run_virtual
from truecaller_async import (
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    NotSent,
    NumberJob,
    PollPolicy,
    ResponseLost,
    RetryPolicy,
    ServerError,
    TruecallerClient,
    TruecallerError,
    ValidationError,
)
from truecaller_async.errors import NumberJobIncomplete
from truecaller_async.models import Answer

SAMPLES = Path(__file__).parents[1] / "samples"
SET = "069d2e3a-41e6-41f9-a768-157d7e3bd6b9"
NUMBER = "911234567891"
ONCE = RetryPolicy(attempts=1)

Change = Callable[[str, Any], Awaitable[NumberJob]]
CHANGES: dict[str, Callable[[TruecallerClient], Change]] = {
    "publish": lambda client: client.numbers.publish,
    "delist": lambda client: client.numbers.delist,
}


def now() -> float:
    return asyncio.get_running_loop().time()


def sample(name: str) -> Answer:
    return Answer(200, {"content-type": "application/json"}, (SAMPLES / name).read_bytes())


def bodies(script: Script) -> list[list[str]]:
    return [msgspec.json.decode(request.body or b"")["phone_numbers"] for _, request in script.sent]


def numbered(count: int) -> list[str]:
    return [f"91{number:010d}" for number in range(count)]


def accepted(*numbers: str, status: str = "pending") -> Answer:
    return answer(200, {"status": status, "new_numbers": numbers, "existing_numbers": []})


def details(*numbers: tuple[str, str | None], total: int | None = 1) -> Answer:
    found = [{"phone_number": number, "status": status} for number, status in numbers]
    info = {} if total is None else {"pagination_information": {"total_page_count": total}}
    return answer(200, {"numbers": found, **info})


@pytest.mark.parametrize(
    ("verb", "name", "status", "bucket"),
    [
        ("publish", "number_listing_response", "pending", "new_numbers"),
        ("delist", "number_delisting_response_pending", "pending", "existing_numbers"),
        ("delist", "number_delisting_response_failed", "failed", "new_numbers"),
    ],
)
def test_documented_answers_are_jobs(verb: str, name: str, status: str, bucket: str) -> None:
    async def scene() -> None:
        script = playing(sample(f"{name}.json"))
        job = await CHANGES[verb](client_of(script))(SET, [NUMBER])
        assert (job.status, getattr(job, bucket)) == (status, (NUMBER,))
        ((_, request),) = script.sent
        assert request.path == f"/clients/{ACCOUNT}/number_management/feature_sets/{SET}/numbers/{verb}"
        assert request.body == b'{"phone_numbers":["911234567891"]}'

    run_virtual(scene)


@pytest.mark.parametrize("verb", CHANGES)
def test_numbers_are_normalised_and_sent_once(verb: str) -> None:
    async def scene() -> None:
        script = playing(accepted(NUMBER))
        numbers = (number for number in ["+91 12345-67891", NUMBER, "911234567892", "+911234567892"])
        await CHANGES[verb](client_of(script))(SET, numbers)
        assert bodies(script) == [[NUMBER, "911234567892"]]

    run_virtual(scene)


@pytest.mark.parametrize("verb", CHANGES)
@pytest.mark.parametrize("numbers", [[], NUMBER, ["12"], [NUMBER, None]])
def test_bad_numbers_are_refused_before_anything_is_sent(verb: str, numbers: Any) -> None:
    async def scene() -> None:
        script = playing(accepted())
        with pytest.raises(ValidationError):
            await CHANGES[verb](client_of(script))(SET, numbers)
        assert (script.sent, script.minted) == ([], [])

    run_virtual(scene)


@pytest.mark.parametrize("verb", CHANGES)
def test_bad_feature_set_is_refused_before_anything_is_sent(verb: str) -> None:
    async def scene() -> None:
        script = playing(accepted())
        with pytest.raises(ValidationError, match="feature_set_id"):
            await CHANGES[verb](client_of(script))("../../admin", numbered(25_000))
        assert (script.sent, script.minted) == ([], [])

    run_virtual(scene)


@pytest.mark.parametrize("verb", CHANGES)
def test_many_numbers_are_sent_ten_thousand_per_request_as_one_job(verb: str) -> None:
    async def scene() -> None:
        script = playing(accepted("1"), accepted("2", status="failed"), accepted("3"))
        job = await CHANGES[verb](client_of(script))(SET, numbered(25_000))
        assert [len(body) for body in bodies(script)] == [10_000, 10_000, 5_000]
        assert [number for body in bodies(script) for number in body] == numbered(25_000)
        assert (job.status, job.new_numbers) == ("failed", ("1", "2", "3"))

    run_virtual(scene)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (ResponseLost("broke"), ResponseLost),
        (NotSent("refused"), NotSent),
        (answer(503), ServerError),
        (answer(403, {"slug": "forbidden-error"}), Forbidden),
        (answer(200, {"odd": 1}), DecodeError),
    ],
)
def test_failed_later_request_reports_the_progress(trouble: Any, kind: type[Exception]) -> None:
    async def scene() -> None:
        script = playing(accepted("1"), trouble, accepted("3"))
        with pytest.raises(NumberJobIncomplete) as caught:
            await client_of(script, retry=ONCE).numbers.publish(SET, numbered(25_000) + numbered(3))
        error = caught.value
        assert isinstance(error.__cause__, kind)
        assert isinstance(error.__cause__, TruecallerError)
        assert (error.job.new_numbers, error.done) == (("1",), 10_000)
        assert (error.sent, error.retryable) == (error.__cause__.sent, error.__cause__.retryable)
        assert "10000 of 25000 numbers" in str(error)
        assert len(script.sent) == 2
        assert not [number for number in numbered(25_000) if number in str(error)]
        twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (twin.job, twin.done, str(twin), twin.sent) == (error.job, error.done, str(error), error.sent)

    run_virtual(scene)


def test_failed_first_request_raises_its_own_error() -> None:
    async def scene() -> None:
        script = playing(ResponseLost("broke"))
        with pytest.raises(ResponseLost):
            await client_of(script).numbers.publish(SET, numbered(25_000))
        assert len(script.sent) == 1

    run_virtual(scene)


@pytest.mark.parametrize("verb", CHANGES)
def test_change_is_repeated_only_if_it_was_not_applied(verb: str) -> None:
    async def scene() -> None:
        troubles: list[tuple[Step, int]] = [
            (answer(503), 1),
            (throttled(1), 2),
            (NotSent("refused"), 2),
            (REFUSED_TOKEN, 2),
        ]
        for trouble, requests in troubles:
            script = playing(trouble, accepted(NUMBER))
            change = CHANGES[verb](client_of(script))
            if requests == 1:
                with pytest.raises(ServerError):
                    await change(SET, [NUMBER])
            else:
                await change(SET, [NUMBER])
            assert len(script.sent) == requests

    run_virtual(scene)


def test_wait_ends_once_every_number_is_listed_and_returns_their_details() -> None:
    async def scene() -> None:
        script = playing(
            details(("911234567891", "pending"), ("911234567892", "listed")),
            details(("911234567892", "LISTED"), ("911234567899", "failed"), ("+911234567891", "listed")),
        )
        found = await client_of(script).numbers.wait_listed(
            SET, ["+911234567891", "911234567892", "911234567891"], timeout=600
        )
        assert [(number.phone_number, number.status) for number in found] == [
            ("+911234567891", "listed"),
            ("911234567892", "LISTED"),
        ]
        assert len(script.sent) == 2
        assert {request.path.partition("?")[2] for _, request in script.sent} == {f"feature_set_id={SET}&page=1"}

    run_virtual(scene)


def test_wait_reads_only_the_pages_it_needs() -> None:
    async def scene() -> None:
        script = playing(
            details(("911234567890", "listed"), total=9),
            details(("911234567891", "listed"), total=9),
            details(("911234567892", "listed"), total=9),
        )
        await client_of(script).numbers.wait_listed(SET, ["911234567891"], timeout=600)
        assert [request.path[-6:] for _, request in script.sent] == ["page=1", "page=2"]

    run_virtual(scene)


def test_timed_out_wait_reports_missing_numbers_and_their_states() -> None:
    async def scene() -> None:
        script = playing(details(("911234567891", "listed"), ("911234567892", "in review"), ("911234567893", None)))
        numbers = [f"91123456789{last}" for last in range(1, 6)]
        with pytest.raises(DeadlineExceeded) as late:
            await client_of(script).numbers.wait_listed(SET, numbers, timeout=60)
        assert late.value.sent == "yes"
        said = str(late.value)
        for part in ("4 of 5", "'in review': 1", "None: 1", "not among the numbers: 2", "60 s"):
            assert part in said
        assert not [number for number in numbers if number in said]
        assert now() <= 60.0
        assert 3 <= len(script.sent) <= 20

    run_virtual(scene)


def test_removed_number_is_not_listed() -> None:
    async def scene() -> None:
        other = "911234567892"
        script = playing(details((NUMBER, "listed")), details((other, "listed")))
        with pytest.raises(DeadlineExceeded, match=r"1 of 2 .*not among the numbers: 1"):
            await client_of(script).numbers.wait_listed(SET, [NUMBER, other], timeout=60)

    run_virtual(scene)


def test_list_growing_by_a_page_between_requests_does_not_end_the_wait() -> None:
    async def scene() -> None:
        first = details(("911234567800", "listed"), total=2)
        grown = details(("911234567800", "listed"), total=3)
        script = playing(first, grown, details((NUMBER, "listed"), total=3))
        found = await client_of(script).numbers.wait_listed(SET, [NUMBER], timeout=600)
        assert [number.phone_number for number in found] == [NUMBER]
        assert [request.path[-6:] for _, request in script.sent] == ["page=1", "page=2", "page=3"]

    run_virtual(scene)


def test_server_messages_are_shortened_and_masked() -> None:
    async def scene() -> None:
        script = playing(details((NUMBER, f"pending, ask {NUMBER} " + "x" * 5000)))
        with pytest.raises(DeadlineExceeded, match="pending, ask") as late:
            await client_of(script).numbers.wait_listed(SET, [NUMBER], timeout=60)
        assert NUMBER not in str(late.value)
        assert len(str(late.value)) < 300

    run_virtual(scene)


def test_hanging_request_does_not_extend_the_wait() -> None:
    async def scene() -> None:
        script = playing(details((NUMBER, "pending")))
        client = client_of(script)
        await client._shared.pool.grow()
        script.latency = 1000.0
        with pytest.raises(DeadlineExceeded, match=r"1 of 1 .*no poll was complete"):
            await client.numbers.wait_listed(SET, [NUMBER], timeout=60)
        assert now() == pytest.approx(60.1)

    run_virtual(scene)


def test_policy_bounds_the_wait_too() -> None:
    async def scene() -> None:
        script = playing(details())
        with pytest.raises(DeadlineExceeded):
            await client_of(script).numbers.wait_listed(
                SET, [NUMBER], timeout=900, poll=PollPolicy(first=5.0, factor=1.0, cap=5.0, deadline=31.0)
            )
        assert 25.0 <= now() <= 31.0
        assert 4 <= len(script.sent) <= 6

    run_virtual(scene)


@pytest.mark.parametrize(
    "timeout", [0, -1.0, float("nan"), float("inf"), True, "60", None, pytest.param(10**400, id="big")]
)
def test_wait_that_is_no_time_is_refused(timeout: Any) -> None:
    async def scene() -> None:
        script = playing(details())
        with pytest.raises(ValidationError, match="timeout"):
            await client_of(script).numbers.wait_listed(SET, [NUMBER], timeout=timeout)
        assert (script.sent, script.minted) == ([], [])

    run_virtual(scene)


@pytest.mark.parametrize(("feature_set", "numbers"), [("fs-1", [NUMBER]), (SET, []), (SET, NUMBER), (SET, ["12"])])
def test_wait_for_invalid_numbers_is_refused_at_once(feature_set: str, numbers: Any) -> None:
    async def scene() -> None:
        script = playing(details())
        with pytest.raises(ValidationError):
            await client_of(script).numbers.wait_listed(feature_set, numbers, timeout=60)
        assert (script.sent, now()) == ([], 0.0)

    run_virtual(scene)


def test_permanent_error_ends_the_wait() -> None:
    async def scene() -> None:
        script = playing(answer(403, {"slug": "forbidden-error", "message": "no"}))
        with pytest.raises(Forbidden):
            await client_of(script).numbers.wait_listed(SET, [NUMBER], timeout=600)
        assert len(script.sent) == 1

    run_virtual(scene)
