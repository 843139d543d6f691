"""Errors survive pickling and copying unchanged, and no printable object shows a secret."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import attrs
import pytest

from truecaller_async import errors
from truecaller_async.errors import TruecallerError
from truecaller_async.models import Answer, CallRecord, NumberJob, Problem, RecordStatus, Request, Secret, Token
from truecaller_async.options import Credentials
from truecaller_async.redaction import BODY_MAX_CHARS

CANARY = "c4n4ry-0f-4-k3y"
ACCOUNT = "00000000-0000-4000-8000-000000000000"
NUMBER = "910000012345"


def unretryable() -> errors.NotSent:
    error = errors.NotSent("api.example:443: the certificate was not accepted")
    error.retryable = False
    return error


EXAMPLES: list[TruecallerError] = [
    TruecallerError("any"),
    errors.ConfigError("api_key is empty"),
    errors.ValidationError([Problem("receiver", "length", "is too short", "**345", "give 8 to 15 digits")]),
    errors.ValidationError([]),
    errors.APIStatusError(418, "teapot", "no coffee", "{}", field="cup", retryable=True),
    errors.BadRequest(400, "bad-request", None, "x" * 5000),
    errors.AuthenticationFailed(401, "authorization-error", "login again"),
    errors.Forbidden(403),
    errors.NotFound(404),
    errors.RateLimited(retry_after=7.5),
    errors.NumberJobIncomplete(NumberJob(status="pending"), 10_000, 25_000, errors.ResponseLost("reset")),
    errors.UnexpectedRedirect(307, location="https://elsewhere.example/"),
    errors.ServerError(503, body="<html>", retryable=True),
    errors.TransportError("no answer"),
    errors.NotSent("api.example:443: refused"),
    unretryable(),
    errors.ResponseLost("api.example:443: reset"),
    errors.DecodeError("not a list", path="$.data", status=200, body="{}"),
    errors.PushRejected("receiver_number", "not a user", status=200),
    errors.PushRejected(None, None),
    errors.SourceError("line 7 is not CSV", row=5),
    errors.SourceChanged("row 5 is not the row that was read", row=5),
    errors.JournalError("disk full"),
    errors.JournalBusy("in use", pid=4242),
    errors.TokenBudgetExhausted(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
    errors.WaitTooLong(900.0, 300.0),
    errors.DeadlineExceeded("10 s are over", sent="maybe"),
    errors.ClientClosed("closed"),
]


def every_class() -> set[type[TruecallerError]]:
    return {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, TruecallerError)}


def assert_same(twin: TruecallerError, error: TruecallerError) -> None:
    assert type(twin) is type(error)
    assert twin.args == error.args
    assert vars(twin) == vars(error)
    assert (twin.sent, twin.retryable, str(twin)) == (error.sent, error.retryable, str(error))


def test_every_error_has_an_example() -> None:
    assert {type(error) for error in EXAMPLES} == every_class()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_survives_pickling(error: TruecallerError, protocol: int) -> None:
    assert_same(pickle.loads(pickle.dumps(error, protocol)), error)  # noqa: S301 - bytes of this test


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_survives_copying(error: TruecallerError) -> None:
    assert_same(copy.copy(error), error)
    assert_same(copy.deepcopy(error), error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_error_has_retryable_sent_and_a_message(error: TruecallerError) -> None:
    assert error.sent in ("no", "maybe", "yes")
    assert isinstance(error.retryable, bool)
    assert str(error).strip()


def test_error_keeps_only_the_start_of_a_body() -> None:
    assert len(errors.BadRequest(400, body="x" * 5000).body) == BODY_MAX_CHARS
    assert len(errors.DecodeError("odd", body="x" * 5000).body) == BODY_MAX_CHARS


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Credentials(ACCOUNT, "key", Secret(CANARY + "\n")),
        lambda: Credentials(CANARY, "key", Secret(CANARY)),
        lambda: Credentials(ACCOUNT, CANARY + "\n", Secret(CANARY)),
        lambda: Credentials(ACCOUNT, "key", CANARY),  # type: ignore[arg-type]
    ],
)
def test_refused_setting_is_not_shown(wrong: Callable[[], Credentials]) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        wrong()
    error = caught.value
    shown = [str(error), repr(error), repr(error.args), repr(vars(error)), pickle.dumps(error).decode("latin-1")]
    assert not [text for text in shown if CANARY in text]
    assert CANARY not in "".join(traceback.format_exception_only(error))


@pytest.mark.parametrize(
    "holder",
    [
        Secret(CANARY),
        Credentials(ACCOUNT, "key", Secret(CANARY)),
        Token("id", Secret(CANARY), 0.0, 1.0),
        Request("mint", "POST", f"/{CANARY}", CANARY.encode(), {"X-Key": CANARY}, Secret(CANARY)),
        Answer(200, {"x-token": CANARY}, CANARY.encode()),
        errors.ConfigError(f"wrong: {Secret(CANARY)}, {Secret(CANARY)!r}, {Secret(CANARY):>40}"),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_nothing_that_holds_a_secret_shows_it(holder: object) -> None:
    assert not [text for text in (repr(holder), str(holder), f"{holder}", f"{holder!r:>80}") if CANARY in text]


def test_secret_shows_three_stars() -> None:
    assert repr(Secret(CANARY)) == "Secret('***')"
    assert f"{Secret(CANARY)}" == str(Secret(CANARY)) == "***"


@pytest.mark.parametrize(
    "way_out", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars], ids=lambda way: way.__name__
)
def test_secret_cannot_be_serialised(way_out: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        way_out(Secret(CANARY))


def test_secret_stays_hidden_in_the_values_of_its_holder() -> None:
    values = attrs.asdict(Credentials(ACCOUNT, "key", Secret(CANARY)))
    assert CANARY not in repr(values)
    assert CANARY not in json.dumps(values, default=str)


def test_secrets_are_compared_by_value_and_only_with_secrets() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("another")
    assert Secret(CANARY) != CANARY
    assert Secret("schlüssel") == Secret("schlüssel")


@pytest.mark.parametrize(
    "holder",
    [CallRecord(NUMBER, NUMBER, 0, 1), RecordStatus(caller=NUMBER, receiver=NUMBER)],
    ids=lambda holder: type(holder).__name__,
)
def test_number_is_shown_by_its_last_four_digits(holder: object) -> None:
    assert NUMBER not in repr(holder)
    assert NUMBER[-4:] in repr(holder)
    assert NUMBER[-5:] not in repr(holder)
