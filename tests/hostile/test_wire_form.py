"""Any value as number, name or reason is rejected with a reason or sent in canonical form."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.resources.script import PUSHED, TAKEN, client_of, playing, record
from tests.virtual import run_virtual
from truecaller_async import CallRecord, ValidationError
from truecaller_async.models import Problem
from truecaller_async.validation.normalise import canonical

ON_THE_WIRE = {
    "caller": "caller_number",
    "receiver": "receiver_number",
    "label_id": "label_id",
    "label_name": "dynamic_label_name",
    "reason": "dynamic_call_reason",
    "starts_at": "starts_at",
    "ends_at": "ends_at",
}

numbers = st.text(max_size=20) | st.from_regex(r"\s*(\+|00)?[ ().-]*([0-9][ ().-]?){6,16}\s*", fullmatch=True)
texts = st.text(min_size=1, max_size=110) | st.text("abc ,.-\u00e9\u0065\u0301\u200d", min_size=10, max_size=40)
anything = st.one_of(numbers, texts, st.none(), st.integers(), st.floats(), st.binary(max_size=12), st.uuids())


def refusal(scene: Callable[[], Coroutine[Any, Any, None]]) -> tuple[Problem, ...] | None:
    """Return why the call was rejected, None if it was not."""
    try:
        run_virtual(scene)
    except ValidationError as refused:
        return refused.problems
    return None


def pushed(given_record: CallRecord) -> dict[str, Any] | None:
    """Return what a push of this record sends; None if it is rejected, and then nothing is sent."""
    script = playing(PUSHED)

    async def scene() -> None:
        async with client_of(script) as client:
            await client.calls.push(given_record)

    problems = refusal(scene)
    if problems is not None:
        assert problems
        assert all(problem.rule and problem.message and problem.hint for problem in problems)
        assert script.sent == []
        assert script.minted == []
        return None
    ((_, request),) = script.sent
    assert request.body is not None
    body = json.loads(request.body)
    assert isinstance(body, dict)
    return body


def assert_is_canonical(body: dict[str, Any], given_record: CallRecord) -> None:
    formed = canonical(given_record)
    wire = {spelled: getattr(formed, name) for name, spelled in ON_THE_WIRE.items()}
    assert body == {spelled: value for spelled, value in wire.items() if value is not None}


@given(numbers)
def test_number_is_refused_or_sent_as_digits(value: str) -> None:
    body = pushed(record(receiver=value))
    if body is not None:
        assert re.fullmatch(r"[1-9][0-9]{6,14}", body["receiver_number"], re.ASCII)
        assert_is_canonical(body, record(receiver=value))


@given(texts)
def test_reason_is_refused_or_sent_composed(value: str) -> None:
    body = pushed(record(reason=value))
    if body is not None:
        assert body["dynamic_call_reason"] == unicodedata.normalize("NFC", value)
        assert 10 <= len(body["dynamic_call_reason"]) <= 100


@given(texts)
def test_name_is_refused_or_sent_composed(value: str) -> None:
    body = pushed(record(label_name=value))
    if body is not None:
        assert body["dynamic_label_name"] == unicodedata.normalize("NFC", value)
        assert 3 <= len(body["dynamic_label_name"]) <= 40


@given(st.dictionaries(st.sampled_from(sorted(ON_THE_WIRE)), anything, min_size=1))
def test_any_value_in_any_field_is_refused_or_sent_in_canonical_form(values: dict[str, Any]) -> None:
    body = pushed(record(**values))
    if body is not None:
        assert_is_canonical(body, record(**values))


def test_formatted_number_is_sent_as_digits_in_push_and_batch() -> None:
    written = record(caller="+91 (0) 12345-67890", receiver="0091 98765 43210")
    script = playing(TAKEN)

    async def scene() -> None:
        async with client_of(script) as client:
            await client.batches.submit([written])

    run_virtual(scene)
    body = pushed(written)
    assert body is not None
    assert (body["caller_number"], body["receiver_number"]) == ("911234567890", "919876543210")
    ((_, request),) = script.sent
    assert json.loads(request.body or b"") == {"call_records": [body]}
