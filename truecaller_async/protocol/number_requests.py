"""Models to requests: number management. See `requests` for the rules of the room.

Numbers must be canonical: digits with country code and without `+`, the form of all samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

import attrs

from truecaller_async.errors import ValidationError
from truecaller_async.models import Problem, Request
from truecaller_async.models.numbers import NUMBERS_PER_REQUEST_MAX
from truecaller_async.protocol.arguments import check_filters, check_int, check_uuid, raise_problems
from truecaller_async.protocol.request_common import LIST_MAX_BYTES, READS, WRITES, account_path, json_body, query

Id: TypeAlias = str | UUID


@attrs.frozen
class Paging:
    """Which page, and how many items a page has at most; no limit means the server's own."""

    page: int = 1
    limit: int | None = None


def publish_request(client_account_id: str, feature_set_id: Id, numbers: Sequence[str]) -> Request:
    """List 1 to 10,000 numbers under a feature set. From "Truecaller for Business: List numbers".

    Raises `ValidationError` for another count, and for a feature set id that is no UUID.
    """
    return _job_request(client_account_id, feature_set_id, "publish", numbers)


def delist_request(client_account_id: str, feature_set_id: Id, numbers: Sequence[str]) -> Request:
    """Delist 1 to 10,000 numbers. From "Truecaller for Business: Delist numbers". Raises as a listing."""
    return _job_request(client_account_id, feature_set_id, "delist", numbers)


def numbers_request(
    client_account_id: str,
    paging: Paging,
    *,
    department_id: Id | None = None,
    operation_id: Id | None = None,
    process_id: Id | None = None,
    feature_set_id: Id | None = None,
) -> Request:
    """Ask for one page of number details. From "Truecaller for Business: Number details".

    Raises `ValidationError` where page or limit is not a whole number from 1, a filter is no UUID, or two are given.
    """
    filters = {
        "department_id": department_id,
        "operation_id": operation_id,
        "process_id": process_id,
        "feature_set_id": feature_set_id,
    }
    return _list_request("numbers", client_account_id, paging, filters)


def feature_sets_request(
    client_account_id: str,
    paging: Paging,
    *,
    department_id: Id | None = None,
    operation_id: Id | None = None,
    process_id: Id | None = None,
) -> Request:
    """Ask for one page of feature sets. From "Truecaller for Business: Feature sets". Raises as number details."""
    filters = {"department_id": department_id, "operation_id": operation_id, "process_id": process_id}
    return _list_request("feature_sets", client_account_id, paging, filters)


def _list_request(call: str, client_account_id: str, paging: Paging, filters: dict[str, Id | None]) -> Request:
    limit = check_int("limit", paging.limit) if paging.limit is not None else None
    raise_problems(check_int("page", paging.page), limit, *check_filters(filters))
    asked = query(**filters, limit=paging.limit, page=paging.page)
    return Request(
        call, "GET", f"{_management(client_account_id)}/{call}{asked}", None, READS, body_max_bytes=LIST_MAX_BYTES
    )


def _job_request(client_account_id: str, feature_set_id: Id, verb: str, numbers: Sequence[str]) -> Request:
    raise_problems(check_uuid("feature_set_id", feature_set_id))
    if not 1 <= len(numbers) <= NUMBERS_PER_REQUEST_MAX:
        message = f"are {len(numbers)}: a request has 1 to {NUMBERS_PER_REQUEST_MAX}"
        raise ValidationError([Problem("numbers", "numbers.size", message)])
    path = f"{_management(client_account_id)}/feature_sets/{feature_set_id}/numbers/{verb}"
    return Request(
        "numbers", "POST", path, json_body({"phone_numbers": list(numbers)}), WRITES, body_max_bytes=LIST_MAX_BYTES
    )


def _management(client_account_id: str) -> str:
    return f"{account_path(client_account_id)}/number_management"
