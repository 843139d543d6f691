"""Number management: feature sets, the listing and delisting of numbers, and their details.

Documented: the fields of all answers; a list of 1 to 10,000 numbers; that number details take one filter at a time;
the two names of the pagination, `pagination_info` and `pagination_information`; that a delisting of numbers that were
never listed is "failed". The sandbox's own choices, because nothing is printed: the one-filter rule holds for feature
sets too; a filter that nothing has matches nothing; an unknown feature set is 404; a delisting is "pending" as soon as
one of its numbers is on its way out, and a listing is always "pending"; a listing for which the account has no room is
400 `invalid-input`; a list of numbers that is no list of texts is 400 `invalid-input`; details of a
number whose feature set is without a label have an empty `label_name`, and `call_me_back` "disabled" is the opposite
of the printed "enabled".
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from truecaller_async.sandbox.account import SandboxFeatureSet
from truecaller_async.sandbox.answers import EMAIL, MADE_AT, SandboxResponse, answer, invalid, not_found, stamp
from truecaller_async.sandbox.batches.records import INVALID_INPUT
from truecaller_async.sandbox.endpoints.number_store import Buckets, Entry, NumberStore
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
_WHEN_PUBLISHED = ("migrated_numbers", "delisted_numbers", "updated_numbers")


class _Numbers(msgspec.Struct):
    phone_numbers: list[str] | None = None

    def __repr__(self) -> str:
        return f"_Numbers({len(self.phone_numbers or ())})"


class NumberApi:
    """The feature sets of one account and the numbers in them."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._sets: Mapping[str, SandboxFeatureSet] = {one.id: one for one in settings.feature_sets}
        self._label_names = {label.id: label.name for label in settings.labels}
        self._book = NumberStore(settings.list_after, settings.numbers_limit)

    def feature_sets(self, target: RouteTarget) -> SandboxResponse:
        """A page of feature sets."""
        asked = _filter_of(target, SET_FILTERS)
        page = page_of(target, self._settings.page_limit)
        if isinstance(asked, SandboxResponse):
            return asked
        if isinstance(page, SandboxResponse):
            return page
        found = [one for one in self._settings.feature_sets if _fits(one, asked)]
        return answer(
            {
                "feature_sets": [self._shown_set(one) for one in page.cut(found)],
                "pagination_info": {
                    "total_page_count": page.total(len(found)),
                    "current_page": page.number,
                    "page_limit": page.limit,
                },
            }
        )

    def publish(self, target: RouteTarget, body: bytes, now: float) -> SandboxResponse:
        """Numbers on their way into a feature set."""
        numbers = self._numbers_of(target, body)
        if isinstance(numbers, SandboxResponse):
            return numbers
        buckets = self._book.publish(target.names["featureSetId"], numbers, now)
        if buckets is None:
            return invalid(f"an account has at most {self._settings.numbers_limit} numbers: delist some first")
        head = {
            "client_account_id": self._settings.client_account_id,
            "created_by_email": EMAIL,
            "phone_type": "verified",
        }
        return answer({**head, **_filled(_BUCKETS, buckets), "status": "pending", **_filled(_WHEN_PUBLISHED, buckets)})

    def delist(self, target: RouteTarget, body: bytes, now: float) -> SandboxResponse:
        """Numbers on their way out of a feature set."""
        numbers = self._numbers_of(target, body)
        if isinstance(numbers, SandboxResponse):
            return numbers
        buckets = self._book.delist(target.names["featureSetId"], numbers, now)
        leaving = "existing_numbers" in buckets or "processing_numbers" in buckets
        odd = not leaving and ResponseVariant.FAILED_DELIST_IS_400 in self._settings.oddities
        return answer(
            {
                "client_account_id": self._settings.client_account_id,
                "phone_type": "",
                **_filled(("processing_numbers", *_BUCKETS), buckets),
                "status": "pending" if leaving else "failed",
            },
            400 if odd else 200,
        )

    def numbers(self, target: RouteTarget, now: float) -> SandboxResponse:
        """A page of number details."""
        asked = _filter_of(target, NUMBER_FILTERS)
        page = page_of(target, self._settings.page_limit)
        if isinstance(asked, SandboxResponse):
            return asked
        if isinstance(page, SandboxResponse):
            return page
        wanted = {one.id for one in self._settings.feature_sets if _fits(one, asked)}
        found = [
            (entry, word)
            for entry in self._book.entries(now)
            if entry.feature_set_id in wanted and (word := self._word(entry, now)) is not None
        ]
        if not found and ResponseVariant.BARE_EMPTY_NUMBERS in self._settings.oddities:
            return answer([])
        return answer(
            {
                "numbers": [self._shown_number(entry, word, now) for entry, word in page.cut(found)],
                "pagination_information": {"total_page_count": page.total(len(found))},
            }
        )

    def _numbers_of(self, target: RouteTarget, body: bytes) -> list[str] | SandboxResponse:
        if target.names["featureSetId"] not in self._sets:
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

    def _word(self, entry: Entry, now: float) -> str | None:
        """The status that a number shows; None where it shows none yet."""
        listed = entry.was_listed(now)
        if self._settings.passage == "hidden":
            return "listed" if listed else None
        return "listed" if listed and entry.gone_at is None else "pending"

    def _shown_number(self, entry: Entry, word: str, now: float) -> dict[str, object]:
        owner = self._sets[entry.feature_set_id]
        return {
            "phone_number": entry.number,
            "phone_type": "verified",
            "status": word,
            "client_account_id": self._settings.client_account_id,
            "created_by_email": EMAIL,
            "department": owner.department_name,
            "operation": owner.calling_operation_name,
            "process": owner.process_name,
            "subprocess": owner.sub_process_name,
            "feature_set_name": owner.name,
            "call_me_back": "enabled" if owner.call_me_back else "disabled",
            "created_at": stamp(entry.published_at, 6),
            "updated_at": stamp(entry.changed_at(now), 6),
            "label_name": self._label_names.get(owner.label_id or "", ""),
        }

    def _shown_set(self, one: SandboxFeatureSet) -> dict[str, object]:
        return {
            "id": one.id,
            "name": one.name,
            "description": one.description,
            "status": one.status,
            "process_id": one.process_id,
            "client_account_id": self._settings.client_account_id,
            "label_id": one.label_id,
            "call_reason_id": one.call_reason_id,
            "video_caller_id": None,
            "business_profile_id": None,
            "call_me_back": one.call_me_back,
            "survey": one.survey,
            "department_id": one.department_id,
            "department_name": one.department_name,
            "operation_id": one.operation_id,
            "calling_operation_id": one.calling_operation_id,
            "calling_operation_name": one.calling_operation_name,
            "process_name": one.process_name,
            "sub_process_name": one.sub_process_name,
            "created_at": MADE_AT,
            "updated_at": MADE_AT,
        }


def _filter_of(target: RouteTarget, names: tuple[str, ...]) -> tuple[str, str] | SandboxResponse | None:
    """The one filter that is asked for, as name and value."""
    asked = [(name, value) for name in names if (value := target.asked(name)) is not None]
    if len(asked) > 1:
        return invalid(f"one filter at a time, not {' and '.join(name for name, _ in asked)}")
    return asked[0] if asked else None


def _fits(one: SandboxFeatureSet, asked: tuple[str, str] | None) -> bool:
    if asked is None:
        return True
    name, value = asked
    own: str = one.id if name == "feature_set_id" else getattr(one, name)
    return own == value


def _filled(names: tuple[str, ...], buckets: Buckets) -> Buckets:
    return {name: buckets.get(name, []) for name in names}
