"""Define a feature set: the label, call reason and options that apply to the calls of its numbers."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen
class FeatureSet:
    """One feature set. From "Truecaller for Business: Feature sets".

    It belongs to a hierarchy of department, operation, process and sub-process. Each attribute but `id` is None if the
    answer does not contain it.
    """

    id: str
    """Id of the feature set."""
    name: str | None = None
    """Name of the feature set."""
    description: str | None = None
    """Description of the feature set."""
    status: str | None = None
    """Status as the server wrote it."""
    label_id: str | None = None
    """Id of the label; a new feature set may have none."""
    call_reason_id: str | None = None
    """Id of the call reason; a new feature set may have none."""
    video_caller_id: str | None = None
    """Id of the video caller id."""
    business_profile_id: str | None = None
    """Id of the business profile."""
    call_me_back: bool | None = None
    """Whether "call me back" is enabled."""
    survey: bool | None = None
    """Whether the survey is enabled."""
    client_account_id: str | None = None
    """Id of the client account."""
    department_id: str | None = None
    """Id of the department."""
    department_name: str | None = None
    """Name of the department."""
    operation_id: str | None = None
    """Id of the operation."""
    calling_operation_id: str | None = None
    """Id of the calling operation."""
    calling_operation_name: str | None = None
    """Name of the calling operation."""
    process_id: str | None = None
    """Id of the process."""
    process_name: str | None = None
    """Name of the process."""
    sub_process_name: str | None = None
    """Name of the sub-process."""
    created_at: datetime | None = None
    """Time at which the feature set was created."""
    updated_at: datetime | None = None
    """Time at which the feature set was last changed."""
