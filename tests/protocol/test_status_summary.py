"""The summary of a status agrees with the full reading, or is None."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import DecodeError, NotFound
from truecaller_async.models import Answer
from truecaller_async.protocol.responses import read_status, read_status_view

ACCOUNT = "3f2b8c1d-5a4e-4b6f-9c7d-8e9f0a1b2c3d"
OTHER = "11111111-5a4e-4b6f-9c7d-8e9f0a1b2c3d"
ROW: dict[str, Any] = {
    "id": "c458227a-a730-4ced-81b4-19c21ea8d97c",
    "caller_number": "911234567898",
    "receiver_number": "919876543210",
    "label_id": "c6d86658-008d-4c08-98fb-2bf2649d59a5",
    "starts_at": 1753246858000,
    "ends_at": 1753362058000,
    "status_info": {"status": "success"},
    "created_at": "2025-07-23T09:07:32.21Z",
}


def body_of(*rows: object, **envelope: object) -> bytes:
    return json.dumps({"client_account_id": ACCOUNT, "batch_id": "b-1", "data": list(rows), **envelope}).encode()


def view_of(body: bytes, status: int = 200) -> Any:
    return read_status_view("v2", Answer(status, {}, body), "b-1", now=0.0, account=ACCOUNT)


def full(body: bytes) -> Any:
    return read_status("v2", Answer(200, {}, body), "b-1", now=0.0, account=ACCOUNT)


def fields_of(row: Any) -> tuple[Any, ...]:
    return row.id, row.caller, row.receiver, row.status, row.message, row.field, row.outcome


UNUSUAL = [
    {"batch_id": "b-1"},
    {"batch_id": "b-2"},
    {"batch_id": None},
    {"client_account_id": OTHER},
    {"caller_number": None},
    {"receiver_number": 919876543210},
    {"status_info": None},
    {"status_info": {"status": None}},
    {"status_info": {"status": "PENDING", "message": "wait"}},
    {"status_info": {"status": "failed", "message": "not a user", "field": "receiver_number"}},
    {"statusInfo": {"status": "success"}},
    {"id": None},
    {"id": 17},
    {"starts_at": "1753246858000"},
    {"created_at": "yesterday"},
    {"label_name": "Flower"},
    {"caller_number": "91******7898"},
]


@given(
    st.lists(st.sampled_from([{}, *UNUSUAL]), max_size=4),
    st.sampled_from([{}, {"batch_id": "b-2"}, {"client_account_id": OTHER}]),
)
def test_status_summary_agrees_with_full_parsing(unusual: list[dict[str, Any]], envelope: dict[str, Any]) -> None:
    body = body_of(*({**ROW, **one} for one in unusual), **envelope)
    try:
        status = full(body)
    except DecodeError:
        with pytest.raises(DecodeError):
            view_of(body)
        return
    view = view_of(body)
    assert view.in_full() == status
    if view.summaries is not None:
        assert [fields_of(row) for row in view.summaries] == [fields_of(row) for row in status.records]
        assert status.foreign == 0


def test_documented_form_is_summarised_without_full_parsing() -> None:
    view = view_of(body_of(ROW, ROW))
    assert [fields_of(row)[:4] for row in view.summaries] == [
        ("c458227a-a730-4ced-81b4-19c21ea8d97c", "911234567898", "919876543210", "success")
    ] * 2


@pytest.mark.parametrize("unusual", [{"batch_id": "b-2"}, {"client_account_id": OTHER}])
def test_rows_possibly_of_another_batch_are_parsed_in_full(unusual: dict[str, Any]) -> None:
    view = view_of(body_of(ROW, {**ROW, **unusual}))
    assert view.summaries is None
    assert len(view.in_full().records) == 1


def test_answer_that_is_no_status_is_an_error_at_once() -> None:
    with pytest.raises(DecodeError):
        view_of(b"{}")
    with pytest.raises(NotFound):
        view_of(body_of(ROW), status=404)
