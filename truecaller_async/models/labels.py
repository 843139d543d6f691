"""A dynamic label: the name and logo that a call record may show. Labels are created in the console only."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen
class Label:
    """One label of the account. From "Truecaller for Business: Details of Dynamic Label".

    `id` is what a call record names as `label_id`. `label_type` is kept as the server wrote it.
    """

    id: str
    name: str | None = None
    label_type: str | None = None
    logo_url: str | None = None
    category: int | None = None
    sub_category: int | None = None
    client_account_id: str | None = None
    created_by_email: str | None = attrs.field(default=None, repr=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
