"""What the account has in the console: its labels and its feature sets. Both are made there and only read here.

The defaults are invented from a seed: the same seed gives the same ids on every machine. They exist nowhere else, but
for the two label ids of the documentation's own samples, which are there so that its requests can be tried as printed;
the label id in its OpenAPI renderings is a placeholder and belongs to nobody.
"""

from __future__ import annotations

import random
import uuid

import attrs


def seeded_uuid(seed: int, name: str) -> str:
    """A UUID that depends on nothing but the seed and the name of the thing."""
    bits = random.Random(f"{name} {seed}").getrandbits(128)  # noqa: S311 - repeatable on purpose, guards nothing
    return str(uuid.UUID(int=bits, version=4))


@attrs.frozen
class SandboxLabel:
    """A dynamic label of the account. From "Truecaller for Business: Dynamic labels"."""

    id: str
    name: str
    category: int = 10
    sub_category: int = 142


DOCUMENTED_LABELS = (
    SandboxLabel("c6d86658-008d-4c08-98fb-2bf2649d59a5", "Centro Bank"),
    SandboxLabel("255297eb-7f13-44f9-967a-f287ff0f5025", "FlowerEra"),
)


@attrs.frozen(kw_only=True)
class SandboxFeatureSet:
    """A feature set of the account. From "Truecaller for Business: Feature sets".

    It stands in a department, an operation and a process. `operation_id` is what a filter means by an operation;
    `calling_operation_id` and `calling_operation_name` stand beside it in the documented sample. A fresh set has
    neither label nor call reason. `status` "draft" is the only word that is printed.
    """

    id: str
    name: str
    department_id: str
    department_name: str
    operation_id: str
    calling_operation_id: str
    calling_operation_name: str
    process_id: str
    process_name: str
    sub_process_name: str = ""
    description: str = ""
    status: str = "draft"
    label_id: str | None = None
    call_reason_id: str | None = None
    call_me_back: bool = False
    survey: bool = False


def default_labels(seed: int) -> tuple[SandboxLabel, ...]:
    """Two labels of the seed's own, and the two of the documentation."""
    return (
        SandboxLabel(seeded_uuid(seed, "label 1"), "Harbour Savings Bank"),
        SandboxLabel(seeded_uuid(seed, "label 2"), "Blue Fern Clinic", category=1, sub_category=16),
        *DOCUMENTED_LABELS,
    )


def default_feature_sets(seed: int) -> tuple[SandboxFeatureSet, ...]:
    """Three sets: two processes of one department, and a fresh set of another."""

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
