"""Build the requests of number management: lists of numbers and feature sets, listing and delisting.

Numbers must be canonical: digits with country code and without `+`, as in all samples of the documentation.
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
from truecaller_async.protocol.request_common import (
    LIST_MAX_BYTES,
    READ_HEADERS,
    WRITE_HEADERS,
    account_path,
    json_body,
    query,
)

Id: TypeAlias = str | UUID


@attrs.frozen
class Paging:
    """A page of a list."""

    page: int = 1
    """Number of the page, from 1."""
    limit: int | None = None
    """Items of a page at most; None means the limit of the server."""


def publish_request(client_account_id: str, feature_set_id: Id, numbers: Sequence[str]) -> Request:
    """Build the request that lists numbers under a feature set.

    From "Truecaller for Business: List numbers".

    Raises:
        ValidationError: There are not 1 to 10,000 numbers, or the feature set id is not a UUID.
    """
    return _job_request(client_account_id, feature_set_id, "publish", numbers)


def delist_request(client_account_id: str, feature_set_id: Id, numbers: Sequence[str]) -> Request:
    """Build the request that delists numbers. From "Truecaller for Business: Delist numbers".

    Raises:
        ValidationError: There are not 1 to 10,000 numbers, or the feature set id is not a UUID.
    """
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
    """Build the request for one page of numbers. From "Truecaller for Business: Number details".

    Raises:
        ValidationError: Page or limit is not a whole number from 1, a filter is not a UUID, or two filters are given.
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
    """Build the request for one page of feature sets. From "Truecaller for Business: Feature sets".

    Raises:
        ValidationError: Page or limit is not a whole number from 1, a filter is not a UUID, or two filters are given.
    """
    filters = {"department_id": department_id, "operation_id": operation_id, "process_id": process_id}
    return _list_request("feature_sets", client_account_id, paging, filters)


def _list_request(call: str, client_account_id: str, paging: Paging, filters: dict[str, Id | None]) -> Request:
    limit_problem = check_int("limit", paging.limit) if paging.limit is not None else None
    raise_problems(check_int("page", paging.page), limit_problem, *check_filters(filters))
    query_string = query(**filters, limit=paging.limit, page=paging.page)
    path = f"{_management_path(client_account_id)}/{call}{query_string}"
    return Request(call, "GET", path, None, READ_HEADERS, body_max_bytes=LIST_MAX_BYTES)


def _job_request(client_account_id: str, feature_set_id: Id, verb: str, numbers: Sequence[str]) -> Request:
    raise_problems(check_uuid("feature_set_id", feature_set_id))
    if not 1 <= len(numbers) <= NUMBERS_PER_REQUEST_MAX:
        message = f"are {len(numbers)}: a request has 1 to {NUMBERS_PER_REQUEST_MAX}"
        raise ValidationError([Problem("numbers", "numbers.size", message)])
    path = f"{_management_path(client_account_id)}/feature_sets/{feature_set_id}/numbers/{verb}"
    body = json_body({"phone_numbers": list(numbers)})
    return Request("numbers", "POST", path, body, WRITE_HEADERS, body_max_bytes=LIST_MAX_BYTES)


def _management_path(client_account_id: str) -> str:
    return f"{account_path(client_account_id)}/number_management"
