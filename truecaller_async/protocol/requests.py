"""Build the requests of tokens, call personalisation and labels.

Invariants:
    - A request has neither host nor token. The caller adds the token, the transport adds the host.
    - A value that enters a path or a query is checked by `arguments` first, and then percent-encoded.
    - Records must be canonical (see `wire_fields`). A field without a value is left out of the body.

The requests of number management are in `number_requests`, those of the exports in `export_requests`.
"""

from __future__ import annotations

from urllib.parse import quote

from truecaller_async.errors import ValidationError
from truecaller_async.models import CallRecord, Problem, RecordColumns, Request
from truecaller_async.options import BATCH_MAX, Credentials
from truecaller_async.protocol.arguments import check_batch_id, check_int, raise_problems
from truecaller_async.protocol.batch_template import RECORDS_KEY, encode_by_template
from truecaller_async.protocol.request_common import (
    LIST_MAX_BYTES,
    READ_HEADERS,
    STATUS_MAX_BYTES,
    WRITE_HEADERS,
    account_path,
    json_body,
    query,
)
from truecaller_async.protocol.versions.registry import version_named

MINT_HEADERS = WRITE_HEADERS | {"X-Public-Access": "allow"}


def mint_request(credentials: Credentials) -> Request:
    """Build the request for a token. The body holds the API key.

    From "Truecaller for Business: Generate Access Token".
    """
    path = f"{account_path(credentials.client_account_id)}/token"
    body = json_body({"key_id": credentials.key_id, "api_key": credentials.api_key.reveal()})
    return Request("mint", "POST", path, body, MINT_HEADERS)


def push_request(version: str, client_account_id: str, record: CallRecord) -> Request:
    """Build the request that pushes one record just before its call.

    From "Truecaller for Business: Real-time v1, v2 and v3".

    Raises:
        ConfigError: The version is unknown, or the account id is not a UUID.
        ValidationError: The record is not canonical.
    """
    api = version_named(version)
    path = f"{api.prefix}{account_path(client_account_id)}/dynamic_call_record"
    (body,) = api.wire_records(RecordColumns.of([record]))
    return Request("push", "POST", path, json_body(body), WRITE_HEADERS)


def submit_request(version: str, client_account_id: str, records: RecordColumns) -> Request:
    """Build the request that submits a batch of 1 to 500 records.

    From "Truecaller for Business: Batch v1, v2 and v3".

    Raises:
        ConfigError: The version is unknown, or the account id is not a UUID.
        ValidationError: The batch is empty or too large, or a record is not canonical.
    """
    if not 1 <= len(records) <= BATCH_MAX:
        raise ValidationError([batch_size_problem(len(records))])
    api = version_named(version)
    path = f"{api.prefix}{account_path(client_account_id)}/dynamic_call_records"
    body = encode_by_template(records, api.wire_records) or json_body({RECORDS_KEY: api.wire_records(records)})
    return Request("submit", "POST", path, body, WRITE_HEADERS)


def batch_size_problem(count: int) -> Problem:
    """Return the problem with a batch of 0 records, or of more than 500."""
    if count == 0:
        return Problem("records", "records.size", f"are none: a batch has 1 to {BATCH_MAX}", "", "give at least one")
    message = f"are more than {BATCH_MAX}: a batch has 1 to {BATCH_MAX}"
    return Problem("records", "records.size", message, "", "split them, or use push_many")


def status_request(version: str, client_account_id: str, batch_id: str) -> Request:
    """Build the request for the status of a batch.

    From "Truecaller for Business: Batch status v1, v2 and v3".

    Args:
        version: API version with which the batch was submitted.
        client_account_id: account that submitted the batch.
        batch_id: 1 to 200 printable ASCII characters.

    Raises:
        ConfigError: The version is unknown, or the account id is not a UUID.
        ValidationError: The batch id has another form.
    """
    raise_problems(check_batch_id(batch_id))
    path = f"{version_named(version).prefix}{account_path(client_account_id)}/dynamic_call_records"
    query_string = f"?batchId={quote(batch_id, safe='')}"
    return Request("status", "GET", path + query_string, None, READ_HEADERS, body_max_bytes=STATUS_MAX_BYTES)


def labels_request(client_account_id: str, page: int, limit: int) -> Request:
    """Build the request for one page of labels. From "Truecaller for Business: Details of Dynamic Label".

    Raises:
        ValidationError: Page or limit is not a whole number from 1.
    """
    raise_problems(check_int("page", page), check_int("limit", limit))
    path = f"{account_path(client_account_id)}/labels{query(page=page, limit=limit)}"
    return Request("labels", "GET", path, None, READ_HEADERS, body_max_bytes=LIST_MAX_BYTES)
