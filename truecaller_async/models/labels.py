"""Define a dynamic label: a name and a logo for call records. Labels are created in the console only."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen
class Label:
    """One label of the account. From "Truecaller for Business: Details of Dynamic Label".

    Each attribute but `id` is None if the answer does not contain it.
    """

    id: str
    """Id of the label: the `label_id` of a call record."""
    name: str | None = None
    """Name that is shown."""
    label_type: str | None = None
    """Type as the server wrote it."""
    logo_url: str | None = None
    """URL of the logo."""
    category: int | None = None
    """Number of the category."""
    sub_category: int | None = None
    """Number of the sub-category."""
    client_account_id: str | None = None
    """Id of the client account."""
    created_by_email: str | None = attrs.field(default=None, repr=False)
    """Email address of the creator; not part of the `repr`."""
    created_at: datetime | None = None
    """Time at which the label was created."""
    updated_at: datetime | None = None
    """Time at which the label was last changed."""
    deleted_at: datetime | None = None
    """Time at which the label was deleted, or None."""
