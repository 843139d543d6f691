"""Webhook events of the sandbox: bodies, schedule in virtual time, and delivery over sockets."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from signal import SIGTERM
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.shell import Shell, finished
from tests.virtual import run_virtual
from truecaller_async import CallRecord, TruecallerClient
from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.sandbox import (
    DeliveryState,
    EventKind,
    Sandbox,
    SandboxSettings,
    WebhookEvent,
    WebhookOrder,
    WebhookSenderSettings,
)
from truecaller_async.sandbox.webhooks.events import Contact, EventFactory
from truecaller_async.sandbox.webhooks.sender import RETRIES, DeliveryAttempt, WebhookSender, events_of, origin_of

from .driver import NOW

SAMPLES = Path(__file__).parents[1] / "samples" / "webhooks"
KEY = "k3y-wh1ch-n0b0dy-m4y-s33"
URL = Secret(f"https://hooks.example/tcbiz-webhook?key={KEY}")
ACCOUNT = "00000000-0000-4000-8000-000000000001"
CONTACTS = (Contact("919000000001", "919800000002"),)
PAYLOAD = {EventKind.USER_FEEDBACK: "survey_payload"}
PRINTED = {
    EventKind.SLOT_PICKER: "webhook_cmb_slot_picker",
    EventKind.SIM_INFO_MISSING: "webhook_cmb_sim_info_missing",
    EventKind.NOT_INTERESTED: "webhook_cmb_not_interested",
    EventKind.USER_FEEDBACK: "webhook_user_feedback",
}
"""The documentation's samples."""


def event_factory(seed: int = 0) -> EventFactory:
    return EventFactory(seed, ACCOUNT, ["Fresh Flower Delivery"])


def body_of(kind: EventKind, now: float = NOW, contacts: Sequence[Contact] = CONTACTS) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(event_factory().make(kind, contacts, now).body)
    return body


def form(value: Any) -> Any:
    """Return a value with all texts replaced, except fixed ones; of a list, the first item."""
    if isinstance(value, dict):
        return {name: form(part) for name, part in value.items()}
    if isinstance(value, list):
        return [form(value[0])]
    return "text" if isinstance(value, str) and value else value


@pytest.mark.parametrize("kind", EventKind)
def test_every_event_has_the_form_of_its_sample(kind: EventKind) -> None:
    body = body_of(kind)
    payload = PAYLOAD.get(kind, "cmb_payload")
    sample = msgspec.json.decode((SAMPLES / f"{PRINTED[kind]}.json").read_bytes())
    assert msgspec.json.encode(form(body)) == msgspec.json.encode(form(sample))
    assert body["event_type"] == sample["event_type"]
    assert body["created_at"] == body[payload]["requested_at"] == str(int(NOW))


def test_numbers_are_those_of_the_calls_and_only_feedback_has_a_plus() -> None:
    chosen = body_of(EventKind.SLOT_PICKER)["cmb_payload"]
    assert (chosen["business_number"], chosen["client_number"]) == ("919000000001", "919800000002")
    hidden = body_of(EventKind.SIM_INFO_MISSING)["cmb_payload"]
    assert (hidden["client_number"], hidden["alternate_number"]) == ("Phone number not available", "919800000002")
    assert body_of(EventKind.NOT_INTERESTED)["cmb_payload"]["requested_date"] == "NA"
    assert body_of(EventKind.USER_FEEDBACK)["survey_payload"]["business_number"] == "+919000000001"


@given(st.integers(0, 4_000_000_000))
def test_chosen_slot_is_in_the_future_and_agrees_with_date_and_weekday(now: int) -> None:
    chosen = body_of(EventKind.SLOT_PICKER, now)["cmb_payload"]
    start, end = int(chosen["preferred_from_time"]), int(chosen["preferred_to_time"])
    day = datetime.fromtimestamp(start, UTC)
    assert start > now
    assert (start % 1800, end - start) == (0, 1800)
    assert (chosen["requested_date"], chosen["requested_slot"]) == (f"{day:%Y-%m-%d}", f"{day:%A}")


def test_numbers_are_generated_if_no_call_was_seen() -> None:
    chosen = body_of(EventKind.SLOT_PICKER, contacts=())["cmb_payload"]
    for name in ("business_number", "client_number"):
        assert chosen[name].isdigit()
        assert len(chosen[name]) == 12


def drawn(seed: int = 0, **order: Any) -> list[WebhookEvent]:
    return events_of(WebhookOrder(url=URL, **order), event_factory(seed), Random(seed), CONTACTS, NOW)


def test_kinds_come_in_turn() -> None:
    assert [event.kind for event in drawn(count=6)] == [*EventKind, *list(EventKind)[:2]]
    assert {event.kind for event in drawn(count=6, kinds=("user_feedback",))} == {EventKind.USER_FEEDBACK}


@given(st.integers(1, 60), st.floats(0, 1), st.booleans(), st.integers(0, 5))
def test_every_event_is_sent_once_and_the_share_of_duplicates_twice(
    count: int, share: float, shuffle: bool, seed: int
) -> None:
    events = drawn(seed, count=count, duplicates=share, shuffle=shuffle)
    times = Counter(event.event_id for event in events)
    assert len(times) == count
    assert sorted(times.values()).count(2) == round(count * share) == len(events) - count
    assert len({event.event_id: event.body for event in events}) == len({event.body for event in events})
    assert events == drawn(seed, count=count, duplicates=share, shuffle=shuffle)


def test_shuffle_changes_only_the_order() -> None:
    straight, shuffled = drawn(count=30), drawn(count=30, shuffle=True)
    assert straight != shuffled
    assert sorted(event.body for event in straight) == sorted(event.body for event in shuffled)


def test_duplicate_follows_its_event_where_nothing_is_shuffled() -> None:
    ids = [event.event_id for event in drawn(count=4, duplicates=1.0)]
    assert ids[::2] == ids[1::2]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example/a/SECRET?key=SECRET", "https://hooks.example"),
        ("https://hooks.example:8443/", "https://hooks.example:8443"),
        ("http://127.0.0.1:9000/SECRET", "http://127.0.0.1:9000"),
        ("http://localhost/SECRET", "http://localhost"),
        ("http://[::1]:9000/SECRET", "http://[::1]:9000"),
    ],
)
def test_only_scheme_host_and_port_of_a_url_are_shown(url: str, shown: str) -> None:
    assert origin_of(Secret(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "SECRET",
        "ftp://127.0.0.1/SECRET",
        "http://hooks.example/SECRET",
        "http://192.168.0.1/SECRET",
        "http://127.0.0.1.hooks.example/SECRET",
        "https://user:SECRET@hooks.example/",
        "https://hooks.example/ SECRET",
        "https://hooks.example/\nSECRET",
        "https://hooks.example:port/SECRET",
        "https:///SECRET",
        "https://[::1/SECRET",
        "http://loc\u0430lhost/SECRET",
    ],
)
def test_url_that_may_not_be_sent_to_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WebhookOrder(url=url)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "order",
    [{"count": 0}, {"count": 200_001}, {"duplicates": 1.5}, {"senders": 0}, {"kinds": ()}, {"kinds": ("cmb",)}],
    ids=str,
)
def test_order_out_of_its_range_is_refused(order: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        WebhookOrder(url=URL, **order)


@pytest.mark.parametrize(
    "invalid", [{"retries": (-1.0,)}, {"read": 0.0}, {"webhook": "http://hooks.example/"}], ids=str
)
def test_setting_out_of_its_range_is_refused(invalid: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SandboxSettings(**invalid) if "webhook" in invalid else WebhookSenderSettings(**invalid)


def test_no_repr_shows_the_key() -> None:
    assert KEY not in repr((WebhookOrder(url=URL), SandboxSettings(webhook=URL)))


def delivered(
    answers: Sequence[int | str], *, then: Callable[[WebhookSender], object] | None = None, configured: bool = True
) -> list[DeliveryAttempt]:
    """Return the log of one event with these answers, the last repeated; `then` runs after the first attempt."""
    event = event_factory().make(EventKind.SLOT_PICKER, CONTACTS, NOW)

    async def work() -> list[DeliveryAttempt]:
        results = iter(answers)
        last: int | str = answers[-1]

        async def post(url: Secret, body: bytes) -> int | str:
            assert (url, body) == (URL, event.body)
            return next(results, last)

        sender = WebhookSender(WebhookSenderSettings(), post, asyncio.sleep, asyncio.get_running_loop().time)
        if configured:
            sender.configure(URL)
        if not await sender.attempt(event, URL):
            if then is not None:
                then(sender)
            await sender.deliver(event, URL)
        assert sender.states == Counter(attempt.state for attempt in sender.attempts())
        return sender.attempts()

    return run_virtual(work)


def test_documented_schedule_is_exact_to_the_second_and_then_ends() -> None:
    log = delivered([500])
    assert [later.at - earlier.at for earlier, later in itertools.pairwise(log)] == list(RETRIES)
    assert log[-1].at - log[0].at == 283_080
    assert [attempt.attempt for attempt in log] == list(range(1, 9))
    assert [attempt.state for attempt in log] == [DeliveryState.RESCHEDULED] * 7 + [DeliveryState.FAILED]


@pytest.mark.parametrize("failure", [201, 204, 301, 404, 503, "ConnectionTimeoutError"])
def test_anything_but_exactly_200_is_tried_again(failure: int | str) -> None:
    log = delivered([failure, 200])
    assert [attempt.state for attempt in log] == [DeliveryState.RESCHEDULED, DeliveryState.DELIVERED]
    assert (log[0].status, log[0].error) == ((failure, None) if isinstance(failure, int) else (None, failure))


def test_200_ends_the_retries_at_once() -> None:
    assert [attempt.state for attempt in delivered([200])] == [DeliveryState.DELIVERED]


def test_deleted_webhook_is_not_retried() -> None:
    assert [attempt.state for attempt in delivered([500], then=WebhookSender.clear)] == [
        DeliveryState.RESCHEDULED,
        DeliveryState.DELETED,
    ]


def test_webhook_that_does_not_exist_is_not_called() -> None:
    log = delivered([200], configured=False)
    assert [(attempt.state, attempt.status) for attempt in log] == [(DeliveryState.NOT_FOUND, None)]


class Receiver:
    """Webhook on this machine that answers with `answers`, the last repeated, and stores requests."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers) or [200]
        self.requests: list[tuple[str, str, str, bytes]] = []
        self.url = ""
        self.came = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.requests.append((request.method, request.path_qs, request.content_type, await request.read()))
        self.came.set()
        headers = {"Location": "/elsewhere"} if status in (301, 307) else {}
        return web.json_response({}, status=status, headers=headers)

    @property
    def event_ids(self) -> list[str]:
        return [msgspec.json.decode(body)["event_id"] for *_, body in self.requests]


async def listening(receiver: Receiver) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/{KEY}?key={KEY}"
    return runner


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    runner = await listening(receiver)
    yield receiver
    await runner.cleanup()


class RecordedSleep:
    """Sleep that returns at once and records its durations."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


@pytest.fixture
def recorded_sleep() -> RecordedSleep:
    return RecordedSleep()


@pytest.fixture
async def sandbox(recorded_sleep: RecordedSleep) -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(clock=lambda: NOW, sleep=recorded_sleep) as sandbox:
        yield sandbox


async def test_both_events_come_over_a_socket_as_they_were_made(sandbox: Sandbox, receiver: Receiver) -> None:
    events = sandbox.send_webhooks(WebhookOrder(url=receiver.url, count=4))
    await sandbox.webhooks.wait_until_idle()
    path = f"/hook/{KEY}?key={KEY}"
    assert receiver.requests == [("POST", path, "application/json", event.body) for event in events]
    assert sandbox.webhooks.sender.states == {DeliveryState.DELIVERED: 4}


async def test_failing_webhook_is_called_eight_times_on_schedule(
    sandbox: Sandbox, receiver: Receiver, recorded_sleep: RecordedSleep
) -> None:
    receiver.answers = [503]
    [event] = sandbox.send_webhooks(WebhookOrder(url=receiver.url, kinds=("user_feedback",)))
    await sandbox.webhooks.wait_until_idle()
    assert receiver.event_ids == [event.event_id] * 8
    assert tuple(recorded_sleep.taken) == RETRIES
    assert sandbox.webhooks.sender.states == {DeliveryState.RESCHEDULED: 7, DeliveryState.FAILED: 1}


async def test_redirect_is_not_followed(sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.answers = [307, 200]
    sandbox.send_webhooks(WebhookOrder(url=receiver.url))
    await sandbox.webhooks.wait_until_idle()
    assert {path for _, path, _, _ in receiver.requests} == {f"/hook/{KEY}?key={KEY}"}
    assert [attempt.status for attempt in sandbox.webhooks.sender.attempts()] == [307, 200]


async def test_several_senders_send_everything_once(sandbox: Sandbox, receiver: Receiver) -> None:
    events = sandbox.send_webhooks(WebhookOrder(url=receiver.url, count=40, duplicates=0.3, shuffle=True, senders=4))
    await sandbox.webhooks.wait_until_idle()
    assert len(events) == 52
    assert Counter(receiver.event_ids) == Counter(event.event_id for event in events)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a request and send no answer."""
    await reader.read()
    writer.close()


async def test_silent_webhook_is_abandoned_after_the_read_timeout(recorded_sleep: RecordedSleep) -> None:
    settings = SandboxSettings(webhook_sender=WebhookSenderSettings(retries=(1.0,), read=0.05))
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, await Sandbox.start(settings, sleep=recorded_sleep) as sandbox:
        sandbox.send_webhooks(WebhookOrder(url=f"http://127.0.0.1:{port}/"))
        await sandbox.webhooks.wait_until_idle()
        log = sandbox.webhooks.sender.attempts()
    assert [(attempt.error, attempt.state) for attempt in log] == [
        ("SocketTimeoutError", DeliveryState.RESCHEDULED),
        ("SocketTimeoutError", DeliveryState.FAILED),
    ]


async def test_events_are_about_the_latest_records(sandbox: Sandbox, receiver: Receiver) -> None:
    start = datetime.fromtimestamp(NOW, UTC)
    record = CallRecord("911234500001", "919234500001", start, datetime.fromtimestamp(NOW + 3600, UTC))
    async with TruecallerClient.from_env(sandbox.environment()) as client:
        await client.calls.push(record)
    sandbox.send_webhooks(WebhookOrder(url=receiver.url, kinds=("slot_picker",)))
    await sandbox.webhooks.wait_until_idle()
    payload = msgspec.json.decode(receiver.requests[0][3])["cmb_payload"]
    assert (payload["business_number"], payload["client_number"]) == ("911234500001", "919234500001")


async def test_close_cancels_waiting_retries(receiver: Receiver) -> None:
    receiver.answers = [500]
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async with await Sandbox.start(sleep=sleep) as sandbox:
        sandbox.send_webhooks(WebhookOrder(url=receiver.url))
        await waiting.wait()
        assert sandbox.webhooks.pending == 1
    assert sandbox.webhooks.pending == 0
    assert len(receiver.requests) == 1


Answered = tuple[int, dict[str, Any]]


async def send_to_api(sandbox: Sandbox, method: str, query: str = "", **content: Any) -> Answered:
    """Send a request to the path of the webhooks."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{sandbox.base_url}/_sandbox/webhooks{query}", **content) as answer,
    ):
        return answer.status, await answer.json()


async def test_webhooks_are_sent_and_inspected_over_http(
    sandbox: Sandbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    order = {"url": receiver.url, "kind": "user_feedback", "count": 2, "duplicates": 0.5, "shuffle": True, "senders": 1}
    status, answered = await send_to_api(sandbox, "POST", json=order)
    assert (status, answered["queued"]) == (202, 3)
    await sandbox.webhooks.wait_until_idle()
    assert receiver.event_ids == answered["event_ids"]
    status, log = await send_to_api(sandbox, "GET")
    assert (log["states"], log["pending"]) == ({"delivered": 3}, 0)
    assert log["attempts"][0] == {
        "number": 1,
        "at": NOW,
        "event_id": answered["event_ids"][0],
        "kind": "user_feedback",
        "attempt": 1,
        "target": receiver.url.partition("/hook")[0],
        "status": 200,
        "error": None,
        "state": "delivered",
    }
    _, rest = await send_to_api(sandbox, "GET", "?after=1&limit=1")
    assert [attempt["number"] for attempt in rest["attempts"]] == [2]
    assert KEY not in str(log) + str(answered) + caplog.text


async def test_order_without_a_url_uses_the_previous_url(receiver: Receiver, recorded_sleep: RecordedSleep) -> None:
    async with await Sandbox.start(SandboxSettings(webhook=receiver.url), sleep=recorded_sleep) as sandbox:
        headers = {"Content-Type": "application/json"}
        status, answered = await send_to_api(sandbox, "POST", headers=headers)
        await sandbox.webhooks.wait_until_idle()
    assert (status, receiver.event_ids) == (202, answered["event_ids"])


async def test_delete_ends_the_retries_and_reset_clears_the_log(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.send_webhooks(WebhookOrder(url=receiver.url, count=3))
    status, answered = await send_to_api(sandbox, "DELETE")
    assert (status, answered) == (200, {"deleted": True})
    await sandbox.webhooks.wait_until_idle()
    assert sum(sandbox.webhooks.sender.states.values()) == 3
    sandbox.reset()
    _, log = await send_to_api(sandbox, "GET")
    assert log == {"states": {}, "pending": 0, "attempts": []}


BAD_ORDERS: list[tuple[dict[str, Any], int]] = [
    ({"json": {}}, 400),
    ({"json": {"url": f"http://hooks.example/{KEY}"}}, 400),
    ({"json": {"url": f"https://hooks.example/{KEY}", "kind": "cmb"}}, 400),
    ({"json": {"url": f"https://hooks.example/{KEY}", "count": 0}}, 400),
    ({"json": {"uri": f"https://hooks.example/{KEY}"}}, 400),
    ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
    ({"data": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
]


@pytest.mark.parametrize(("content", "status"), BAD_ORDERS, ids=str)
async def test_bad_order_is_refused_and_sends_nothing(sandbox: Sandbox, content: dict[str, Any], status: int) -> None:
    refused, answered = await send_to_api(sandbox, "POST", **content)
    assert refused == status
    assert KEY not in str(answered)
    assert sandbox.webhooks.pending == 0
    assert sandbox.webhooks.sender.attempts() == []


async def test_other_methods_and_bad_pages_are_refused(sandbox: Sandbox) -> None:
    assert (await send_to_api(sandbox, "PUT"))[0] == 405
    assert (await send_to_api(sandbox, "GET", "?after=x"))[0] == 400


async def test_command_sends_to_the_given_url_and_shows_no_key(receiver: Receiver, tmp_path: Path) -> None:
    process = await Shell(tmp_path, {}).start("sandbox", "--port", "0", "--json", "--webhook", receiver.url)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    url = f"{json.loads(line)['TRUECALLER_BASE_URL']}/_sandbox/webhooks"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json={"kind": "not_interested"}) as answer:
            answered = await answer.json()
        await receiver.came.wait()
    assert receiver.event_ids == answered["event_ids"]
    process.send_signal(SIGTERM)
    ended = await finished(process)
    assert ended.code == 0
    assert KEY not in line + ended.stdout + ended.stderr


async def test_command_refuses_a_url_without_showing_it(tmp_path: Path) -> None:
    refused = await Shell(tmp_path, {}).run("sandbox", "--port", "0", "--webhook", f"http://hooks.example/{KEY}")
    assert refused.code == 3
    assert "https, except on this machine" in refused.stderr
    assert KEY not in refused.stdout + refused.stderr
