"""The business's own numbers, and the jobs that list or delist them.

Listing and delisting are asynchronous: a job that is `pending` was taken, and what became of it is seen in the
number details. No page explains the buckets of a job; what is said of them here is read from their names.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from truecaller_async.redaction import mask_number

NUMBERS_PER_REQUEST_MAX = 10_000
"""Numbers in one request to list or delist, as "Truecaller for Business: List numbers" prints it."""


def _masked(number: str) -> str:
    return repr(mask_number(number))


def _counted(numbers: tuple[str, ...]) -> str:
    return f"<{len(numbers)} numbers>"


@attrs.frozen
class Number:
    """One listed number. From "Truecaller for Business: Number details".

    `phone_number` is digits with country code. `call_me_back` is a word such as "enabled", `department` to
    `subprocess` are names, and every word is kept as the server wrote it.
    """

    phone_number: str = attrs.field(repr=_masked)
    status: str | None = None
    phone_type: str | None = None
    label_name: str | None = None
    feature_set_name: str | None = None
    department: str | None = None
    operation: str | None = None
    process: str | None = None
    subprocess: str | None = None
    call_me_back: str | None = None
    client_account_id: str | None = None
    created_by_email: str | None = attrs.field(default=None, repr=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.frozen
class NumberJob:
    """What became of a request to list or delist numbers. From "Truecaller for Business: Number management".

    `status` is "pending" where the job was taken and "failed" where it was not; other words are kept. Each bucket
    holds numbers as digits and is empty where the answer does not have it.
    """

    status: str | None = None
    phone_type: str | None = None
    client_account_id: str | None = None
    created_by_email: str | None = attrs.field(default=None, repr=False)
    new_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    existing_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    processing_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    invalid_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    others_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    other_feature_set_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    other_phonetype_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    migrated_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    delisted_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    updated_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)


BUCKETS = tuple(field.name for field in attrs.fields(NumberJob) if field.name.endswith("_numbers"))
"""The names of all buckets that a job may have."""
