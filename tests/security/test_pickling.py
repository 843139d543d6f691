"""S02 and S03: errors and models can be pickled; objects that hold a secret cannot."""

from __future__ import annotations

import copy
import hmac
import json
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any

import attrs
import cattrs
import msgspec
import pytest

import truecaller_async
from tests.architecture.test_errors import EXAMPLES as ERRORS
from tests.architecture.test_errors import assert_same
from truecaller_async import (
    Batch,
    BatchStatus,
    CallRecord,
    CampaignOptions,
    ColumnDefaults,
    FeatureSet,
    Label,
    Limits,
    Number,
    NumberJob,
    Outcome,
    Page,
    PollPolicy,
    Problem,
    Progress,
    PushAnswer,
    RateLimit,
    RecordResult,
    RecordStatus,
    RetryPolicy,
    Row,
    RunCost,
    Secret,
    Summary,
    Timeouts,
    TokenInfo,
    TokenStatus,
    TruecallerError,
    errors,
)
from truecaller_async.models import Request, Token
from truecaller_async.options import Credentials

CANARY = "ca9a2y0f-4cad-4e1b-9fac-b01dfaceb00c"
ACCOUNT = "00000000-0000-4000-8000-000000000001"
AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
RECORD = CallRecord("911140567123", "919900765432", AT, AT, key="k")
FACTS = TokenInfo("0123456789ab", 1.0, 3599.0, "this")
RULE = RateLimit("batch", 60, 60.0)

MODELS = (
    RECORD,
    Batch("b-1"),
    BatchStatus("b-1", ACCOUNT, (RecordStatus(caller="911140567123", status="success"),)),
    CampaignOptions(on_ambiguous="hold"),
    RunCost({"submit": 2}),
    FeatureSet("id", created_at=AT),
    ColumnDefaults(label_id="id"),
    Label("id", category=7),
    Limits((RULE,)),
    Number("911140998761"),
    NumberJob(new_numbers=("911140998761",)),
    Page((Label("id"),)),
    PollPolicy(),
    Problem("receiver", "length", "is too short", "**345"),
    Progress(outcomes={"delivered": 3}, waiting_until=AT),
    PushAnswer("success"),
    RULE,
    RecordResult(RECORD, 1, "k", Outcome.DELIVERED),
    RecordStatus(id="r"),
    RetryPolicy(),
    Row(1, 2, RECORD),
    Summary(read=3, delivered=3, requests={"submit": 1}),
    Timeouts(),
    FACTS,
    TokenStatus((FACTS,), 1, 10, 1800.0, 0.0),
)


def name_of(value: object) -> str:
    return type(value).__name__


def unpickled(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 - our own bytes


@pytest.mark.fault("S02")
def test_there_is_an_example_of_every_public_model_and_of_every_error() -> None:
    public = {getattr(truecaller_async, name) for name in truecaller_async.__all__}
    assert {type(model) for model in MODELS} == {
        value for value in public if isinstance(value, type) and attrs.has(value)
    }
    tree = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, TruecallerError)}
    assert {type(error) for error in ERRORS} == tree


@pytest.mark.fault("S02")
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_model_survives_pickling_and_copying(model: object) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert unpickled(pickle.dumps(model, protocol)) == model
    assert copy.deepcopy(model) == copy.copy(model) == model


def echoed(value: object) -> object:
    return value


def failing(error: TruecallerError) -> None:
    raise error


@pytest.mark.fault("S02")
def test_errors_and_models_come_back_from_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(echoed, MODELS)) == list(MODELS)
        for error in ERRORS:
            twin = pool.submit(failing, error).exception()
            assert isinstance(twin, TruecallerError)
            assert_same(twin, error)


HOLDERS = (
    Secret(CANARY),
    Credentials(ACCOUNT, "the-key-id", Secret(CANARY)),
    Token("0123456789ab", Secret(CANARY), 0.0, 1.0),
    Request("push", "POST", "/push", token=Secret(CANARY)),
)


@pytest.mark.fault("S03")
@pytest.mark.parametrize("holder", HOLDERS, ids=name_of)
@pytest.mark.parametrize(
    "operation", [pickle.dumps, copy.deepcopy, msgspec.json.encode], ids=lambda operation: operation.__name__
)
def test_holder_of_a_secret_refuses_pickling(operation: Callable[[object], object], holder: object) -> None:
    with pytest.raises(TypeError) as refused:
        operation(holder)
    assert CANARY not in str(refused.value)


@pytest.mark.fault("S03")
@pytest.mark.parametrize("holder", HOLDERS, ids=name_of)
def test_exported_value_of_a_holder_is_not_the_secret(holder: Any) -> None:
    parts = [holder] if isinstance(holder, Secret) else [attrs.asdict(holder), cattrs.unstructure(holder), holder]
    assert CANARY not in f"{parts} {json.dumps(parts, default=str)} {json.dumps(parts, default=repr)}"


@pytest.mark.fault("S03")
def test_secret_is_compared_in_constant_time_and_hides_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert Secret("one") != Secret("another")
    assert Secret("one") == Secret("one")
    assert len(compared) == 2
    measures: tuple[Callable[[Any], object], ...] = (len, list, sorted)
    for measure in measures:
        with pytest.raises(TypeError):
            measure(Secret(CANARY))
