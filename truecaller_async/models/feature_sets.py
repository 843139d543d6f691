"""A feature set: what is shown and offered when one of its numbers calls."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen
class FeatureSet:
    """One feature set. From "Truecaller for Business: Feature sets".

    It stands in a hierarchy of department, operation, process and sub-process, and carries a label, a call reason
    and two switches. A fresh set may lack its label and its reason. `status` is kept as the server wrote it.
    """

    id: str
    name: str | None = None
    description: str | None = None
    status: str | None = None
    label_id: str | None = None
    call_reason_id: str | None = None
    video_caller_id: str | None = None
    business_profile_id: str | None = None
    call_me_back: bool | None = None
    survey: bool | None = None
    client_account_id: str | None = None
    department_id: str | None = None
    department_name: str | None = None
    operation_id: str | None = None
    calling_operation_id: str | None = None
    calling_operation_name: str | None = None
    process_id: str | None = None
    process_name: str | None = None
    sub_process_name: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
