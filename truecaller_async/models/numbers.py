"""Define the numbers of the business and the jobs that list or delist them.

Listing and delisting are asynchronous: a `pending` job was accepted, and its effect is visible in the number details.
The API documentation does not explain the buckets of a job; their descriptions here are derived from their names.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from truecaller_async.redaction import mask_number

NUMBERS_PER_REQUEST_MAX = 10_000
"""Maximum in one request to list or delist. From "Truecaller for Business: List numbers"."""


def _masked(number: str) -> str:
    return repr(mask_number(number))


def _counted(numbers: tuple[str, ...]) -> str:
    return f"<{len(numbers)} numbers>"


@attrs.frozen
class Number:
    """One listed number. From "Truecaller for Business: Number details".

    Texts are kept as the server wrote them. Each attribute but `phone_number` is None if the answer does not contain
    it.
    """

    phone_number: str = attrs.field(repr=_masked)
    """Digits with country code; masked in the `repr`."""
    status: str | None = None
    """Status of the number."""
    phone_type: str | None = None
    """Type of the number."""
    label_name: str | None = None
    """Name of the label."""
    feature_set_name: str | None = None
    """Name of the feature set."""
    department: str | None = None
    """Name of the department."""
    operation: str | None = None
    """Name of the operation."""
    process: str | None = None
    """Name of the process."""
    subprocess: str | None = None
    """Name of the sub-process."""
    call_me_back: str | None = None
    """State of the option "call me back", such as "enabled"."""
    client_account_id: str | None = None
    """Id of the client account."""
    created_by_email: str | None = attrs.field(default=None, repr=False)
    """Email address of the creator; not part of the `repr`."""
    created_at: datetime | None = None
    """Time at which the number was listed."""
    updated_at: datetime | None = None
    """Time at which the number was last changed."""


@attrs.frozen
class NumberJob:
    """The answer to a request that lists or delists numbers.

    From "Truecaller for Business: Number management".

    The attributes that end with `_numbers` are buckets: numbers as digits, empty if the answer does not contain them.
    The `repr` shows only how many numbers a bucket has.
    """

    status: str | None = None
    """Status as the server wrote it: "pending" if the job was accepted, "failed" if it was not."""
    phone_type: str | None = None
    """Type of the numbers."""
    client_account_id: str | None = None
    """Id of the client account."""
    created_by_email: str | None = attrs.field(default=None, repr=False)
    """Email address of the creator; not part of the `repr`."""
    new_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that were not listed before."""
    existing_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that were listed before."""
    processing_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that an earlier job still processes."""
    invalid_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that the server rejected."""
    others_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that belong to another account."""
    other_feature_set_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that belong to another feature set."""
    other_phonetype_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that are listed with another phone type."""
    migrated_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that were moved to the feature set."""
    delisted_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers that were delisted."""
    updated_numbers: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """Numbers whose data was changed."""


BUCKETS = tuple(field.name for field in attrs.fields(NumberJob) if field.name.endswith("_numbers"))
"""Names of the buckets of a job."""
