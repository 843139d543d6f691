"""Number management: feature sets, publishing and delisting of numbers, number details.

Documented: the fields of all answers; a request has 1 to 10,000 numbers; number details take one filter at a time; the
pagination is called `pagination_info` or `pagination_information`; a delisting of numbers that were never listed is
"failed". Chosen by the sandbox:

- the rule of one filter also applies to feature sets; a filter value without a match gives an empty page;
- an unknown feature set is 404;
- a delisting is "pending" if at least one of its numbers is being removed; a listing is always "pending";
- a listing above the account's number limit, and a list that does not contain texts, is 400 `invalid-input`;
- number details without a label have an empty `label_name`; `call_me_back` is "disabled" as the opposite of the
  documented "enabled".
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from truecaller_async.sandbox.account import SandboxFeatureSet
from truecaller_async.sandbox.answers import (
    CONSOLE_CREATED_AT,
    CONSOLE_EMAIL,
    SandboxResponse,
    answer,
    invalid,
    not_found,
    rfc3339,
)
from truecaller_async.sandbox.batches.records import INVALID_INPUT
from truecaller_async.sandbox.endpoints.number_store import Buckets, NumberEntry, NumberStore
from truecaller_async.sandbox.endpoints.pagination import page_of
from truecaller_async.sandbox.faults.response_variants import ResponseVariant
from truecaller_async.sandbox.routing import RouteTarget
from truecaller_async.sandbox.settings import SandboxSettings

NUMBERS_MAX = 10_000
SET_FILTERS = ("department_id", "operation_id", "process_id")
NUMBER_FILTERS = ("feature_set_id", *SET_FILTERS)

_BUCKETS = (
    "new_numbers",
    "other_phonetype_numbers",
    "existing_numbers",
    "others_numbers",
    "invalid_numbers",
    "other_feature_set_numbers",
)
_PUBLISH_ONLY_BUCKETS = ("migrated_numbers", "delisted_numbers", "updated_numbers")


class _Numbers(msgspec.Struct):
    phone_numbers: list[str] | None = None

    def __repr__(self) -> str:
        return f"_Numbers({len(self.phone_numbers or ())})"


class NumberApi:
    """Feature sets of one account and their numbers."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._sets: Mapping[str, SandboxFeatureSet] = {
            feature_set.id: feature_set for feature_set in settings.feature_sets
        }
        self._label_names = {label.id: label.name for label in settings.labels}
        self._store = NumberStore(settings.list_after, settings.numbers_limit)

    def feature_sets(self, target: RouteTarget) -> SandboxResponse:
        """Return a page of feature sets."""
        requested = _filter_of(target, SET_FILTERS)
        page = page_of(target, self._settings.page_limit)
        if isinstance(requested, SandboxResponse):
            return requested
        if isinstance(page, SandboxResponse):
            return page
        found = [feature_set for feature_set in self._settings.feature_sets if _matches_filter(feature_set, requested)]
        return answer(
            {
                "feature_sets": [self._feature_set_json(feature_set) for feature_set in page.slice_of(found)],
                "pagination_info": {
                    "total_page_count": page.page_count(len(found)),
                    "current_page": page.number,
                    "page_limit": page.limit,
                },
            }
        )

    def publish(self, target: RouteTarget, body: bytes, now: float) -> SandboxResponse:
        """Start publishing numbers in a feature set."""
        numbers = self._numbers_of(target, body)
        if isinstance(numbers, SandboxResponse):
            return numbers
        buckets = self._store.publish(target.path_values["featureSetId"], numbers, now)
        if buckets is None:
            return invalid(f"an account has at most {self._settings.numbers_limit} numbers: delist some first")
        head = {
            "client_account_id": self._settings.client_account_id,
            "created_by_email": CONSOLE_EMAIL,
            "phone_type": "verified",
        }
        return answer(
            {
                **head,
                **_with_all_buckets(_BUCKETS, buckets),
                "status": "pending",
                **_with_all_buckets(_PUBLISH_ONLY_BUCKETS, buckets),
            }
        )

    def delist(self, target: RouteTarget, body: bytes, now: float) -> SandboxResponse:
        """Start removing numbers from a feature set."""
        numbers = self._numbers_of(target, body)
        if isinstance(numbers, SandboxResponse):
            return numbers
        buckets = self._store.delist(target.path_values["featureSetId"], numbers, now)
        leaving = "existing_numbers" in buckets or "processing_numbers" in buckets
        odd = not leaving and ResponseVariant.FAILED_DELIST_IS_400 in self._settings.response_variants
        return answer(
            {
                "client_account_id": self._settings.client_account_id,
                "phone_type": "",
                **_with_all_buckets(("processing_numbers", *_BUCKETS), buckets),
                "status": "pending" if leaving else "failed",
            },
            400 if odd else 200,
        )

    def numbers(self, target: RouteTarget, now: float) -> SandboxResponse:
        """Return a page of number details."""
        requested = _filter_of(target, NUMBER_FILTERS)
        page = page_of(target, self._settings.page_limit)
        if isinstance(requested, SandboxResponse):
            return requested
        if isinstance(page, SandboxResponse):
            return page
        matching_ids = {
            feature_set.id for feature_set in self._settings.feature_sets if _matches_filter(feature_set, requested)
        }
        found = [
            (entry, status)
            for entry in self._store.entries(now)
            if entry.feature_set_id in matching_ids and (status := self._status_of(entry, now)) is not None
        ]
        if not found and ResponseVariant.BARE_EMPTY_NUMBERS in self._settings.response_variants:
            return answer([])
        return answer(
            {
                "numbers": [self._number_json(entry, status, now) for entry, status in page.slice_of(found)],
                "pagination_information": {"total_page_count": page.page_count(len(found))},
            }
        )

    def _numbers_of(self, target: RouteTarget, body: bytes) -> list[str] | SandboxResponse:
        if target.path_values["featureSetId"] not in self._sets:
            return not_found("no feature set of this account has this id")
        try:
            numbers = msgspec.json.decode(body, type=_Numbers).phone_numbers
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return invalid(INVALID_INPUT)
        if numbers is None:
            return invalid("phone_numbers is required")
        if not 1 <= len(numbers) <= NUMBERS_MAX:
            return invalid(f"phone_numbers must have 1 to {NUMBERS_MAX} numbers, not {len(numbers)}")
        return numbers

    def _status_of(self, entry: NumberEntry, now: float) -> str | None:
        """Return the status of a number; None if the number is not shown yet."""
        listed = entry.was_listed(now)
        if self._settings.pending_numbers == "hidden":
            return "listed" if listed else None
        return "listed" if listed and entry.removed_at is None else "pending"

    def _number_json(self, entry: NumberEntry, status: str, now: float) -> dict[str, object]:
        owner = self._sets[entry.feature_set_id]
        return {
            "phone_number": entry.number,
            "phone_type": "verified",
            "status": status,
            "client_account_id": self._settings.client_account_id,
            "created_by_email": CONSOLE_EMAIL,
            "department": owner.department_name,
            "operation": owner.calling_operation_name,
            "process": owner.process_name,
            "subprocess": owner.sub_process_name,
            "feature_set_name": owner.name,
            "call_me_back": "enabled" if owner.call_me_back else "disabled",
            "created_at": rfc3339(entry.published_at, 6),
            "updated_at": rfc3339(entry.changed_at(now), 6),
            "label_name": self._label_names.get(owner.label_id or "", ""),
        }

    def _feature_set_json(self, feature_set: SandboxFeatureSet) -> dict[str, object]:
        return {
            "id": feature_set.id,
            "name": feature_set.name,
            "description": feature_set.description,
            "status": feature_set.status,
            "process_id": feature_set.process_id,
            "client_account_id": self._settings.client_account_id,
            "label_id": feature_set.label_id,
            "call_reason_id": feature_set.call_reason_id,
            "video_caller_id": None,
            "business_profile_id": None,
            "call_me_back": feature_set.call_me_back,
            "survey": feature_set.survey,
            "department_id": feature_set.department_id,
            "department_name": feature_set.department_name,
            "operation_id": feature_set.operation_id,
            "calling_operation_id": feature_set.calling_operation_id,
            "calling_operation_name": feature_set.calling_operation_name,
            "process_name": feature_set.process_name,
            "sub_process_name": feature_set.sub_process_name,
            "created_at": CONSOLE_CREATED_AT,
            "updated_at": CONSOLE_CREATED_AT,
        }


def _filter_of(target: RouteTarget, names: tuple[str, ...]) -> tuple[str, str] | SandboxResponse | None:
    """Return name and value of the requested filter."""
    requested = [(name, value) for name in names if (value := target.query_value(name)) is not None]
    if len(requested) > 1:
        return invalid(f"one filter at a time, not {' and '.join(name for name, _ in requested)}")
    return requested[0] if requested else None


def _matches_filter(feature_set: SandboxFeatureSet, wanted: tuple[str, str] | None) -> bool:
    if wanted is None:
        return True
    name, value = wanted
    actual: str = feature_set.id if name == "feature_set_id" else getattr(feature_set, name)
    return actual == value


def _with_all_buckets(names: tuple[str, ...], buckets: Buckets) -> Buckets:
    return {name: buckets.get(name, []) for name in names}
