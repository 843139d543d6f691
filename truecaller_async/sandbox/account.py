"""Labels and feature sets of the sandbox account.

They are created in the vendor's console; the API only reads them. The default values are generated from the seed: the
same seed gives the same ids on every machine. The two label ids of the documentation's samples are included, so that
its sample requests work unchanged. The label id in the documentation's OpenAPI renderings is a placeholder and is not
included.
"""

from __future__ import annotations

import random
import uuid

import attrs


def seeded_uuid(seed: int, name: str) -> str:
    """Return a UUID that depends only on the seed and the name."""
    bits = random.Random(f"{name} {seed}").getrandbits(128)  # noqa: S311 - repeatable on purpose, guards nothing
    return str(uuid.UUID(int=bits, version=4))


@attrs.frozen
class SandboxLabel:
    """Dynamic label of the account.

    From "Truecaller for Business: Dynamic labels".
    """

    id: str
    """UUID of the label."""
    name: str
    """Display name."""
    category: int = 10
    """Category number."""
    sub_category: int = 142
    """Sub-category number."""


DOCUMENTED_LABELS = (
    SandboxLabel("c6d86658-008d-4c08-98fb-2bf2649d59a5", "Centro Bank"),
    SandboxLabel("255297eb-7f13-44f9-967a-f287ff0f5025", "FlowerEra"),
)


@attrs.frozen(kw_only=True)
class SandboxFeatureSet:
    """Feature set of the account; it belongs to a department, an operation and a process.

    From "Truecaller for Business: Feature sets".
    """

    id: str
    """UUID of the feature set."""
    name: str
    """Display name."""
    department_id: str
    """UUID of the department; a filter of the list."""
    department_name: str
    """Display name of the department."""
    operation_id: str
    """UUID of the operation; a filter of the list."""
    calling_operation_id: str
    """UUID that the documented sample shows next to `operation_id`."""
    calling_operation_name: str
    """Display name of the operation."""
    process_id: str
    """UUID of the process; a filter of the list."""
    process_name: str
    """Display name of the process."""
    sub_process_name: str = ""
    """Display name of the sub-process; can be empty."""
    description: str = ""
    """Free text."""
    status: str = "draft"
    """Status; "draft" is the only documented value."""
    label_id: str | None = None
    """UUID of the label; None in a new feature set."""
    call_reason_id: str | None = None
    """UUID of the call reason; None in a new feature set."""
    call_me_back: bool = False
    """True if users can ask to be called back."""
    survey: bool = False
    """True if a feedback survey is attached."""


def default_labels(seed: int) -> tuple[SandboxLabel, ...]:
    """Return two labels generated from the seed, and the two labels of the documentation."""
    return (
        SandboxLabel(seeded_uuid(seed, "label 1"), "Harbour Savings Bank"),
        SandboxLabel(seeded_uuid(seed, "label 2"), "Blue Fern Clinic", category=1, sub_category=16),
        *DOCUMENTED_LABELS,
    )


def default_feature_sets(seed: int) -> tuple[SandboxFeatureSet, ...]:
    """Return three feature sets: two processes of one department, and a new set of another."""

    def an_id(what: str) -> str:
        return seeded_uuid(seed, what)

    cards_id, delivery_id, calling_delivery_id = an_id("cards"), an_id("delivery"), an_id("calling delivery")
    return (
        SandboxFeatureSet(
            id=an_id("feature set 1"),
            name="New cards",
            description="Calls about a card on its way",
            department_id=cards_id,
            department_name="Cards",
            operation_id=delivery_id,
            calling_operation_id=calling_delivery_id,
            calling_operation_name="Delivery",
            process_id=an_id("first card"),
            process_name="First card",
            label_id=an_id("label 1"),
            call_reason_id=an_id("reason 1"),
            call_me_back=True,
            survey=True,
        ),
        SandboxFeatureSet(
            id=an_id("feature set 2"),
            name="Replaced cards",
            department_id=cards_id,
            department_name="Cards",
            operation_id=delivery_id,
            calling_operation_id=calling_delivery_id,
            calling_operation_name="Delivery",
            process_id=an_id("lost card"),
            process_name="Lost card",
            sub_process_name="Abroad",
            label_id=an_id("label 1"),
            call_reason_id=an_id("reason 2"),
        ),
        SandboxFeatureSet(
            id=an_id("feature set 3"),
            name="Appointments",
            department_id=an_id("clinic"),
            department_name="Clinic",
            operation_id=an_id("support"),
            calling_operation_id=an_id("calling support"),
            calling_operation_name="Support",
            process_id=an_id("reminder"),
            process_name="Reminder",
        ),
    )
