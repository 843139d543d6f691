"""The calls of the blocking client over a real socket. Their signatures are those of the async client."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import truecaller_async
from tests.blocking.conftest import SETTINGS, Served
from tests.blocking.records import REFUSED, record
from truecaller_async import (
    NO_RETRY,
    ClientClosed,
    ConfigError,
    DeadlineExceeded,
    Outcome,
    Page,
    PushRejected,
    Timeouts,
    TruecallerDeprecationWarning,
    ValidationError,
)
from truecaller_async.blocking import TruecallerClient

CANARY = "c4n4ry-0f-4-k3y"
GOOD: dict[str, Any] = {
    "client_account_id": "00000000-0000-4000-8000-000000000001",
    "key_id": "the-key-id",
    "api_key": CANARY,
    "base_url": "http://127.0.0.1:9",
}
GROUPS = ("calls", "batches", "labels", "feature_sets", "numbers", "exports", "tokens")


def test_record_is_pushed(served: Served, client: TruecallerClient) -> None:
    assert client.calls.push(record(7), deadline=10.0).status == "success"
    assert [entry.receiver for entry in served.truth()] == [record(7).receiver]


def test_exceptions_of_a_call_reach_the_caller(client: TruecallerClient) -> None:
    with pytest.raises(PushRejected):
        client.calls.push(record(receiver=REFUSED))
    with pytest.raises(ValidationError):
        client.calls.push(record(receiver="123"))


def test_batch_is_submitted_and_waited_for(client: TruecallerClient) -> None:
    batch = client.batches.submit(record(number) for number in range(3))
    status = client.batches.wait(batch.batch_id, timeout=20.0, poll=truecaller_async.PollPolicy(first=0.05))
    assert [entry.outcome for entry in status.records] == [Outcome.DELIVERED] * 3
    assert client.batches.status(batch.batch_id) == status


def test_wait_ends_at_its_timeout(client: TruecallerClient) -> None:
    batch = client.batches.submit([record(1)])
    with pytest.raises(DeadlineExceeded):
        client.batches.wait(batch.batch_id, timeout=0.001)


def test_list_is_a_page_or_every_item_or_every_page(client: TruecallerClient) -> None:
    ids = [label.id for label in SETTINGS.labels]
    listing = client.labels.list(limit=1)
    assert [label.id for label in listing.page().items] == ids[:1]
    assert [label.id for label in listing] == ids
    assert [len(page.items) for page in listing.pages()] == [1] * len(ids)
    assert isinstance(client.labels.list(page=len(ids) + 1).page(), Page)


def test_list_that_is_left_early_leaves_a_client_that_works(client: TruecallerClient) -> None:
    for _ in client.labels.list(limit=1):
        break
    assert client.labels.list().page().items


def test_wrong_argument_is_refused_when_the_listing_is_made(client: TruecallerClient) -> None:
    with pytest.raises(ValidationError):
        client.labels.list(page=0)


def test_token_status_sends_no_request(served: Served, client: TruecallerClient) -> None:
    assert client.tokens.status().mints == 0
    assert (served.stats.mints, served.stats.requests) == (0, {})
    assert client.tokens.make() is not None
    assert client.tokens.status().mints == served.stats.mints == 1


def test_export_warns_and_is_saved(client: TruecallerClient, tmp_path: Path) -> None:
    end = datetime.now(UTC)
    with pytest.warns(TruecallerDeprecationWarning):
        saved = client.exports.call_me_back(tmp_path / "log", start=end - timedelta(days=1), end=end)
    assert saved == tmp_path / "log"
    assert saved.exists()
    with pytest.warns(TruecallerDeprecationWarning), pytest.raises(ValidationError):
        client.exports.user_feedback("a survey", saved, from_date=end)


def test_numbers_are_published_waited_for_and_delisted(client: TruecallerClient) -> None:
    feature_set = next(iter(client.feature_sets.list()))
    job = client.numbers.publish(feature_set.id, iter(["911234500001", "911234500002"]))
    assert job.status == "pending"
    poll = truecaller_async.PollPolicy(first=0.05, cap=0.2)
    listed = client.numbers.wait_listed(feature_set.id, ["911234500001"], timeout=20.0, poll=poll)
    assert [number.phone_number.removeprefix("+") for number in listed] == ["911234500001"]
    assert client.numbers.delist(feature_set.id, ["911234500001"]).status == "pending"
    assert client.numbers.list(limit=1).page().items


def test_copy_shares_thread_tokens_and_close(served: Served, client: TruecallerClient) -> None:
    copied = client.with_options(retry=NO_RETRY, timeouts=Timeouts(read=60.0)).with_options(api_version="v3")
    client.calls.push(record(1))
    copied.calls.push(record(2))
    assert served.stats.mints == 1
    assert "v3" in repr(copied)
    assert "v2" in repr(client)
    copied.close()
    with pytest.raises(ClientClosed, match="Make a new one"):
        client.calls.push(record(3))


def test_copy_of_an_unknown_version_is_refused(client: TruecallerClient) -> None:
    with pytest.raises(ConfigError, match="v9"):
        client.with_options(api_version="v9")


@pytest.mark.parametrize("wrong", [{"client_account_id": "no"}, {"api_version": "v9"}, {"state": "no"}])
def test_wrong_setting_is_refused_by_the_constructor(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TruecallerClient(**{**GOOD, **wrong})


def test_no_form_of_a_client_shows_the_key() -> None:
    client = TruecallerClient(**GOOD)
    shown = f"{client!r} {client.__dict__} {vars(client._portal)} {vars(client._portal.registry)}"
    assert CANARY not in shown
    assert GOOD["client_account_id"] in repr(client)
    client.close()
    assert "closed" in repr(client)


def parameters(function: Any) -> list[tuple[str, object, object]]:
    """Return name, kind and default of each parameter."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


def test_constructor_has_the_async_arguments_except_session() -> None:
    async_ones = [one for one in parameters(truecaller_async.TruecallerClient.__init__) if one[0] != "session"]
    assert parameters(TruecallerClient.__init__) == async_ones
    for name in ("from_env", "with_options", "push_many"):
        assert parameters(getattr(TruecallerClient, name)) == parameters(
            getattr(truecaller_async.TruecallerClient, name)
        )


@pytest.mark.parametrize("group", GROUPS)
def test_every_call_has_the_same_name_and_the_same_arguments(group: str) -> None:
    ours = getattr(TruecallerClient(**GOOD), group)
    async_ones = getattr(truecaller_async.TruecallerClient(**GOOD), group)
    names = {name for name in dir(async_ones) if not name.startswith(("_", "attempt_"))}
    assert {name for name in dir(ours) if not name.startswith("_")} == names
    for name in names:
        assert parameters(getattr(ours, name)) == parameters(getattr(async_ones, name))


def test_every_resource_group_is_available() -> None:
    groups = {name for name in vars(truecaller_async.TruecallerClient(**GOOD)) if not name.startswith("_")}
    assert groups == set(GROUPS) == {name for name in vars(TruecallerClient(**GOOD)) if not name.startswith("_")}
