"""Invalid input is rejected before anything is opened, with a helpful message.

A message has the field, the rule, the value as far as it may be shown, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from tests.transport.raw_server import RawServer
from truecaller_async import (
    CampaignOptions,
    ConfigError,
    Limits,
    PollPolicy,
    RateLimit,
    RetryPolicy,
    Timeouts,
    ValidationError,
)
from truecaller_async.models import Secret

from .scene import ACCOUNT, FEATURE_SET, KEY, RECEIVER, Make, client_at, record

NOW = datetime.now(UTC)
NOW_MS = int(NOW.timestamp() * 1000)
HOUR = timedelta(hours=1)
DAY_MS = 86_400_000
FAR = NOW_MS + 400 * DAY_MS
NUMBERS = re.compile(r"[0-9]{7,}", re.ASCII)
ENDLESS = 10**5000


def pushing(**values: Any) -> Make:
    return lambda client: client.calls.push(attrs.evolve(record(), **values))


def submitting(count: int) -> Make:
    return lambda client: client.batches.submit([record()] * count)


def within(start: int, end: int) -> Make:
    return pushing(starts_at=start, ends_at=end)


UP = "../../admin"

REFUSED: dict[str, tuple[Make, str, str]] = {
    "letters in a number": (pushing(receiver="91 98765 FLOWERS"), "receiver", "phone.digits"),
    "a number and another": (pushing(receiver=f"{RECEIVER}/{RECEIVER}"), "receiver", "phone.digits"),
    "a number of six digits": (pushing(receiver="911234"), "receiver", "phone.length"),
    "a number of sixteen digits": (pushing(receiver="9112345678901234"), "receiver", "phone.length"),
    "no country code": (pushing(receiver="9876543210"), "receiver", "phone.country"),
    "no number": (pushing(caller=None), "caller", "phone.missing"),
    "a number as float": (pushing(caller=9.1e11), "caller", "phone.type"),
    "a path as number": (pushing(caller=UP), "caller", "phone.digits"),
    "caller and receiver alike": (pushing(caller=RECEIVER), "receiver", "phone.same"),
    "a label id with a path": (pushing(label_id=f"{UP}/{ACCOUNT}"), "label_id", "label_id.uuid"),
    "a label id that is a word": (pushing(label_id="gold"), "label_id", "label_id.uuid"),
    "a label id in two lines": (pushing(label_id=f"{ACCOUNT[:18]}\n{ACCOUNT[18:]}"), "label_id", "label_id.uuid"),
    "a name of 2": (pushing(label_name="ab"), "label_name", "label_name.length"),
    "a name of 41": (pushing(label_name="a" * 41), "label_name", "label_name.length"),
    "a name with a line break": (pushing(label_name="Centro\nBank"), "label_name", "label_name.unprintable"),
    "half a character in a name": (pushing(label_name="Centro \ud800"), "label_name", "label_name.unprintable"),
    "a reason of 9": (pushing(reason="a" * 9), "reason", "reason.length"),
    "a reason of 101": (pushing(reason="a" * 101), "reason", "reason.length"),
    "a reason with a slash": (pushing(reason="Delivery today/tomorrow"), "reason", "reason.character"),
    "a reason that ends in a dot": (pushing(reason="Delivery today."), "reason", "reason.edge"),
    "a naive datetime": (pushing(starts_at=NOW.replace(tzinfo=None)), "starts_at", "time.zone"),
    "seconds": (pushing(starts_at=NOW_MS // 1000), "starts_at", "time.unit"),
    "microseconds": (pushing(ends_at=NOW_MS * 1000), "ends_at", "time.unit"),
    "float seconds": (pushing(ends_at=NOW.timestamp()), "ends_at", "time.type"),
    "an endless time": (pushing(ends_at=ENDLESS), "ends_at", "time.range"),
    "a year of four nines": (pushing(ends_at=datetime.max.replace(tzinfo=timezone(-HOUR))), "ends_at", "time.range"),
    "ends before it starts": (within(NOW_MS + 7_200_000, NOW_MS + 3_600_000), "ends_at", "ends_at.order"),
    "ends when it starts": (within(NOW_MS + 7_200_000, NOW_MS + 7_200_000), "ends_at", "ends_at.order"),
    "24 hours and a millisecond": (within(NOW_MS, NOW_MS + DAY_MS + 1), "ends_at", "window.length"),
    "a window that has closed": (within(NOW_MS - DAY_MS, NOW_MS - 1), "ends_at", "ends_at.past"),
    "a window in another year": (within(FAR, FAR + 1), "starts_at", "starts_at.far"),
    "a mapping for a record": (lambda client: client.calls.push({}), "record", "record.type"),  # type: ignore[arg-type]
    "nothing for a record": (lambda client: client.calls.push(None), "record", "record.type"),  # type: ignore[arg-type]
    "a word for a batch": (lambda client: client.batches.submit("ab"), "records", "records.type"),  # type: ignore[arg-type]
    "an id with a path": (lambda client: client.batches.status(UP), "batch_id", "batch_id.form"),
    "an id with a line end": (lambda client: client.batches.status("b-1\r\nX: y"), "batch_id", "batch_id.form"),
    "an id that is no text": (lambda client: client.batches.status(5), "batch_id", "batch_id.form"),  # type: ignore[arg-type]
    "page 0": (lambda client: client.labels.list(page=0), "page", "page.whole"),
    "a limit of yes": (lambda client: client.numbers.list(limit=True), "limit", "limit.whole"),
    "a filter with a path": (lambda client: client.numbers.list(process_id=UP), "process_id", "process_id.uuid"),
    "two filters": (
        lambda client: client.feature_sets.list(department_id=ACCOUNT, process_id=ACCOUNT),
        "department_id, process_id",
        "filter.one",
    ),
    "a feature set with a path": (
        lambda client: client.numbers.publish(UP, [RECEIVER]),
        "feature_set_id",
        "feature_set_id.uuid",
    ),
    "letters in a number to list": (
        lambda client: client.numbers.publish(FEATURE_SET, [RECEIVER, "12x"]),
        "numbers[1]",
        "phone.digits",
    ),
    "no record": (submitting(0), "records", "records.size"),
    "501 records": (submitting(501), "records", "records.size"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "field", "rule"), REFUSED.values(), ids=REFUSED.keys())
async def test_call_with_bad_input_is_refused_before_any_io(make: Make, field: str, rule: str) -> None:
    async with RawServer() as server, client_at(server.url) as client:
        with pytest.raises(ValidationError) as caught:
            await make(client)
        assert server.connections == []
    problem = next(problem for problem in caught.value.problems if problem.rule == rule)
    assert problem.field == field
    assert problem.message
    assert caught.value.sent == "no"
    assert not NUMBERS.search(problem.value)
    assert RECEIVER not in str(caught.value)


SECONDS: dict[str, tuple[str, Callable[[Any], Make]]] = {
    "push": ("deadline", lambda value: lambda client: client.calls.push(record(), deadline=value)),
    "wait": ("timeout", lambda value: lambda client: client.batches.wait("b-1", timeout=value)),
    "wait_listed": (
        "timeout",
        lambda value: lambda client: client.numbers.wait_listed(FEATURE_SET, [RECEIVER], timeout=value),
    ),
}


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "10", pytest.param(ENDLESS, id="endless")])
@pytest.mark.parametrize(("field", "make"), SECONDS.values(), ids=SECONDS.keys())
async def test_impossible_wait_is_refused_before_any_io(field: str, make: Callable[[Any], Make], value: object) -> None:
    async with RawServer() as server, client_at(server.url) as client:
        with pytest.raises(ValidationError, match=f"{field} .* is not a finite number of seconds above 0") as caught:
            await make(value)(client)
        assert server.connections == []
    assert [(problem.field, problem.rule) for problem in caught.value.problems] == [(field, f"{field}.seconds")]


HINTED = {name: case for name, case in REFUSED.items() if case[1] != "records"}


@pytest.mark.parametrize(("make", "field", "rule"), HINTED.values(), ids=HINTED.keys())
async def test_every_record_problem_has_advice(make: Make, field: str, rule: str) -> None:
    async with client_at("http://127.0.0.1:9") as client:
        with pytest.raises(ValidationError) as caught:
            await make(client)
    assert all(problem.hint and problem.hint in str(caught.value) for problem in caught.value.problems)


FIGURES: dict[str, Callable[[Any], object]] = {
    "Timeouts.connect": lambda value: Timeouts(connect=value),
    "Timeouts.read": lambda value: Timeouts(read=value),
    "RetryPolicy.attempts": lambda value: RetryPolicy(attempts=value),
    "RetryPolicy.total": lambda value: RetryPolicy(total=value),
    "RetryPolicy.initial": lambda value: RetryPolicy(initial=value),
    "RetryPolicy.cap": lambda value: RetryPolicy(cap=value),
    "PollPolicy.first": lambda value: PollPolicy(first=value),
    "PollPolicy.factor": lambda value: PollPolicy(factor=value),
    "PollPolicy.cap": lambda value: PollPolicy(cap=value),
    "PollPolicy.deadline": lambda value: PollPolicy(deadline=value),
    "RateLimit.limit": lambda value: RateLimit("any", value, 1.0),
    "RateLimit.per": lambda value: Limits.documented().replace(batch=(60, value)),
    "CampaignOptions.linger": lambda value: CampaignOptions(linger=value),
    "CampaignOptions.max_unresolved": lambda value: CampaignOptions(max_unresolved=value),
}
NO_FIGURES = {
    **{str(value): value for value in (0, -1, -0.5, float("nan"), float("inf"), float("-inf"), True, False, None)},
    "text": "10",
    "a list": [10],
    "5,001 digits": ENDLESS,
    "less than nothing by far": -ENDLESS,
}


@pytest.mark.parametrize("value", NO_FIGURES.values(), ids=NO_FIGURES.keys())
@pytest.mark.parametrize(("name", "make"), FIGURES.items(), ids=FIGURES.keys())
def test_impossible_number_is_refused_with_a_short_message(
    name: str, make: Callable[[Any], object], value: object
) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(name)} is .*: it must be .*number") as refused:
        make(value)
    assert len(str(refused.value)) < 200
    assert refused.value.__context__ is None


@pytest.mark.parametrize("value", [-1, 1.5, True, None, float("nan"), pytest.param(ENDLESS, id="5,001 digits")])
def test_resends_must_be_an_integer(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"CampaignOptions.max_resends is .*: it must be a whole number from 0"):
        CampaignOptions(max_resends=value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CampaignOptions(validate="no"), "validate is 'no': it must be True or False; the default is True"),  # type: ignore[arg-type]
        (lambda: CampaignOptions(poll=5), "poll is 5: it must be a PollPolicy"),  # type: ignore[arg-type]
        (lambda: CampaignOptions(dedupe="w" * 99), "'wwww.*: it must be one of 'window', 'exact', 'off'"),  # type: ignore[arg-type]
        (lambda: Limits.documented().replace(batch=60), r"limit batch is 60: it must be \(limit, seconds\)"),  # type: ignore[arg-type]
        (lambda: Limits.documented().replace(batch=(1, 2, 3)), r"limit batch is of type tuple"),  # type: ignore[arg-type]
        (lambda: Limits.documented().replace(batch=("many", 1)), "RateLimit.limit is 'many'"),  # type: ignore[arg-type]
        (lambda: Limits.documented().replace(other=(1, 1)), "no limit named other; the limits are token, batch, mint"),
        (lambda: Limits((5,)), "Limits.rules has one 5"),  # type: ignore[arg-type]
        (lambda: Limits(None), "Limits.rules is None: it must be a tuple of RateLimit"),  # type: ignore[arg-type]
        (lambda: RateLimit("any", 1, 1.0, calls="push"), "RateLimit.calls is 'push': it must be a tuple"),  # type: ignore[arg-type]
        (lambda: RateLimit("any", 1, 1.0, calls=([],)), "names the call of type list"),  # type: ignore[arg-type]
        (lambda: RateLimit(5, 1, 1.0), "RateLimit.name is 5: it must be a word"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_setting_of_a_wrong_type_is_refused_with_the_expected_type(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a client id with a path": ({"client_account_id": UP}, "client_account_id is not a UUID; copy it"),
    "a client id and a path": ({"client_account_id": f"{ACCOUNT}/../x"}, "client_account_id is not a UUID; copy it"),
    "a client id with a line end": ({"client_account_id": f"{ACCOUNT}\n"}, "client_account_id is not a UUID; copy it"),
    "a key id with a line end": ({"key_id": "key\r\nX-Evil: 1"}, "key_id is empty or not printable"),
    "a key with a line end": ({"api_key": f"{KEY}\n"}, "api_key is empty or not printable"),
    "an agent with a line end": ({"user_agent": "a\r\nX-Evil: 1"}, "user_agent .* line breaks.*; give plain text"),
    "an agent that is no text": ({"user_agent": 5}, "user_agent .*; give plain text"),
    "credentials in the URL": ({"base_url": f"https://user:{KEY}@api.example"}, "base_url must not hold credentials"),
    "a query in the URL": ({"base_url": f"https://api.example/?key={KEY}"}, "base_url must not hold .* a query"),
    "a fragment in the URL": ({"base_url": f"https://api.example/#{KEY}"}, "base_url must not hold .* a fragment"),
    "plain http": ({"base_url": "http://api.example"}, "plain http to api.example: only https is used beyond"),
    "a port of five nines": ({"base_url": "https://api.example:99999"}, "base_url is not a URL"),
    "no scheme": ({"base_url": "api.example"}, "base_url must be of the form https://host"),
    "a proxy of another kind": ({"proxy": "socks5://proxy.example"}, "proxy .* 'socks5' .*; give a URL such as"),
    "a proxy without host": ({"proxy": "http://"}, "proxy cannot be used .*; give a URL such as"),
    "a proxy that is no text": ({"proxy": 3128}, "proxy cannot be used .* of type int; give a URL such as"),
    "a proxy with a line break": ({"proxy": "http://proxy\n.example:1"}, "proxy .* line break inside; give a URL"),
    "a proxy of no name": ({"proxy": "http://xn--"}, "proxy cannot be used .*; give a URL such as"),
    "a proxy with a port of words": ({"proxy": f"http://user:{KEY}@proxy.example:port"}, "proxy .*; give a URL such"),
    "an unknown version": ({"api_version": "v4"}, "api_version is 'v4': it must be one of v1, v2, v3"),
    "an unknown state": ({"state": "files:"}, "state begins with 'files': it must be memory: or sqlite:///path"),
    "a state with a password": ({"state": f"redis://:{KEY}@cache.example"}, "state begins with 'redis': it must be"),
    "no token": ({"max_tokens": 0}, "max_tokens is 0: it must be a whole number from 1 to 20"),
    "21 tokens": ({"max_tokens": 21}, "max_tokens is 21: it must be a whole number from 1 to 20"),
    "half a token": ({"max_tokens": 0.5}, "max_tokens is 0.5: it must be a whole number from 1 to 20"),
    "certificates switched off": ({"ssl": False}, "ssl must be an ssl.SSLContext; load"),
    "a session of another library": ({"session": "requests"}, "session must be an aiohttp.ClientSession; leave it out"),
}


@pytest.mark.parametrize(("settings", "words"), SETTINGS.values(), ids=SETTINGS.keys())
def test_unusable_setting_is_refused_with_advice(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        client_at(**{"url": "https://api.example", **settings})
    assert refused.value.sent == "no"
    assert KEY not in str(refused.value)
    assert Secret(KEY).reveal() not in repr(refused.value)
