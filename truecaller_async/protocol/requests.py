"""Models to requests: tokens, call personalisation and labels.

A request is a value without host and without token: the caller adds the token, the transport the host. Whatever
enters a path or a query is judged first (see `arguments`), and percent-encoded then. Records must be canonical (see
`canonical`), and what they do not say is left out of the body.

The requests of number management are in `number_requests`, those of the exports in `export_requests`.
"""

from __future__ import annotations

from urllib.parse import quote

from truecaller_async.errors import ValidationError
from truecaller_async.models import CallRecord, Problem, RecordColumns, Request
from truecaller_async.options import BATCH_MAX, Credentials
from truecaller_async.protocol.arguments import check_batch_id, check_int, raise_problems
from truecaller_async.protocol.batch_template import NAME, encode_by_template
from truecaller_async.protocol.request_common import (
    LIST_MAX_BYTES,
    READS,
    STATUS_MAX_BYTES,
    WRITES,
    account_path,
    json_body,
    query,
)
from truecaller_async.protocol.versions.registry import version_named

MINTS = WRITES | {"X-Public-Access": "allow"}


def mint_request(credentials: Credentials) -> Request:
    """Ask for a token. From "Truecaller for Business: Generate Access Token"; the body holds the API key."""
    body = {"key_id": credentials.key_id, "api_key": credentials.api_key.reveal()}
    return Request("mint", "POST", f"{account_path(credentials.client_account_id)}/token", json_body(body), MINTS)


def push_request(version: str, client_account_id: str, record: CallRecord) -> Request:
    """Push one record just before its call. From "Truecaller for Business: Real-time v1, v2 and v3".

    Raises `ConfigError` for an unknown version or an account id that is no UUID, `ValidationError` for a record
    that is not canonical.
    """
    spelled = version_named(version)
    path = f"{spelled.prefix}{account_path(client_account_id)}/dynamic_call_record"
    (body,) = spelled.wire_records(RecordColumns.of([record]))
    return Request("push", "POST", path, json_body(body), WRITES)


def submit_request(version: str, client_account_id: str, records: RecordColumns) -> Request:
    """Submit a batch of 1 to 500 records. From "Truecaller for Business: Batch v1, v2 and v3". Raises as a push."""
    if not 1 <= len(records) <= BATCH_MAX:
        raise ValidationError([batch_size(len(records))])
    spelled = version_named(version)
    path = f"{spelled.prefix}{account_path(client_account_id)}/dynamic_call_records"
    body = encode_by_template(records, spelled.wire_records) or json_body({NAME: spelled.wire_records(records)})
    return Request("submit", "POST", path, body, WRITES)


def batch_size(count: int) -> Problem:
    """A batch of so many records is none."""
    if count == 0:
        return Problem("records", "records.size", f"are none: a batch has 1 to {BATCH_MAX}", "", "give at least one")
    message = f"are more than {BATCH_MAX}: a batch has 1 to {BATCH_MAX}"
    return Problem("records", "records.size", message, "", "split them, or use push_many")


def status_request(version: str, client_account_id: str, batch_id: str) -> Request:
    """Ask what became of a batch. From "Truecaller for Business: Batch status v1, v2 and v3".

    Raises `ConfigError` for an unknown version or an account id that is no UUID, `ValidationError` for a batch id
    that is not 1 to 200 printable ASCII characters. The version must be the one the batch was submitted with.
    """
    raise_problems(check_batch_id(batch_id))
    path = f"{version_named(version).prefix}{account_path(client_account_id)}/dynamic_call_records"
    return Request(
        "status", "GET", f"{path}?batchId={quote(batch_id, safe='')}", None, READS, body_max_bytes=STATUS_MAX_BYTES
    )


def labels_request(client_account_id: str, page: int, limit: int) -> Request:
    """Ask for one page of labels. From "Truecaller for Business: Details of Dynamic Label".

    Raises `ValidationError` where page or limit is not a whole number from 1.
    """
    raise_problems(check_int("page", page), check_int("limit", limit))
    asked = query(page=page, limit=limit)
    return Request(
        "labels", "GET", f"{account_path(client_account_id)}/labels{asked}", None, READS, body_max_bytes=LIST_MAX_BYTES
    )
