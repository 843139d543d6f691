"""Models to requests.

A request is a value without host and without token: the caller adds the token, the transport the host. Whatever
enters a path or a query is checked first, because an id such as `../../admin` would lead somewhere else, and
percent-encoded then. Records must be canonical (see `canonical`), and what they do not say is left out of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import CallRecord, Problem, Request
from truecaller_async.options import BATCH_MAX, UUID, Credentials
from truecaller_async.protocol.codec import encode
from truecaller_async.protocol.said import is_batch_id
from truecaller_async.protocol.versions import version_named

STATUS_CAP = 8 * 1024 * 1024
"""Bytes of a status answer: 500 records are about 200 KiB."""

READS = {"Accept": "application/json"}
WRITES = READS | {"Content-Type": "application/json"}
MINTS = WRITES | {"X-Public-Access": "allow"}


def mint_request(credentials: Credentials) -> Request:
    """Ask for a token. From "Truecaller for Business: Generate Access Token"; the body holds the API key."""
    body = {"key_id": credentials.key_id, "api_key": credentials.api_key.reveal()}
    return Request("mint", "POST", f"/clients/{_account(credentials.client_account_id)}/token", _json(body), MINTS)


def push_request(version: str, client_account_id: str, record: CallRecord) -> Request:
    """Push one record just before its call. From "Truecaller for Business: Real-time v1, v2 and v3".

    Raises `ConfigError` for an unknown version or an account id that is no UUID, `ValidationError` for a record
    that is not canonical.
    """
    spelled = version_named(version)
    path = f"{spelled.prefix}/clients/{_account(client_account_id)}/dynamic_call_record"
    return Request("push", "POST", path, _json(spelled.wire_record(record)), WRITES)


def submit_request(version: str, client_account_id: str, records: Sequence[CallRecord]) -> Request:
    """Submit a batch of 1 to 500 records. From "Truecaller for Business: Batch v1, v2 and v3". Raises as a push."""
    if not 1 <= len(records) <= BATCH_MAX:
        raise ValidationError([Problem("records", "batch_size", f"are {len(records)}: a batch has 1 to {BATCH_MAX}")])
    spelled = version_named(version)
    path = f"{spelled.prefix}/clients/{_account(client_account_id)}/dynamic_call_records"
    body = {"call_records": [spelled.wire_record(record) for record in records]}
    return Request("submit", "POST", path, _json(body), WRITES)


def status_request(version: str, client_account_id: str, batch_id: str) -> Request:
    """Ask what became of a batch. From "Truecaller for Business: Batch status v1, v2 and v3".

    Raises `ConfigError` for an unknown version, an account id that is no UUID, or a batch id that is not 1 to 200
    printable ASCII characters. The version must be the one the batch was submitted with.
    """
    if not is_batch_id(batch_id):
        raise ConfigError("batch_id is not 1 to 200 printable ASCII characters; give the id of a submitted batch")
    path = f"{version_named(version).prefix}/clients/{_account(client_account_id)}/dynamic_call_records"
    return Request("status", "GET", f"{path}?batchId={quote(batch_id, safe='')}", None, READS, cap=STATUS_CAP)


def _account(client_account_id: str) -> str:
    if not UUID.fullmatch(client_account_id):
        raise ConfigError("client_account_id is not a UUID; copy it from the console page 'Manage API Keys'")
    return client_account_id


def _json(body: object) -> bytes:
    try:
        return encode(body)
    except UnicodeEncodeError:
        raise ValidationError(
            [Problem("record", "encoding", "has half a surrogate pair, which is no character", hint="mend the text")]
        ) from None
