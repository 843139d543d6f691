from __future__ import annotations

from datetime import UTC, datetime
from signal import SIGINT, SIGTERM

import pytest

from truecaller_async import errors
from truecaller_async.cli.exit_codes import MEANINGS, ExitCode, exit_for_campaign, exit_for_error, exit_for_summary
from truecaller_async.models import NumberJob, Problem, Summary

from .shell import REPOSITORY

CODES: dict[type[errors.TruecallerError], int] = {
    errors.TruecallerError: 1,
    errors.ClientClosed: 1,
    errors.ConfigError: 3,
    errors.AuthenticationFailed: 3,
    errors.Forbidden: 3,
    errors.UnexpectedRedirect: 3,
    errors.ValidationError: 4,
    errors.APIStatusError: 5,
    errors.BadRequest: 5,
    errors.NotFound: 5,
    errors.PushRejected: 5,
    errors.NumberJobIncomplete: 5,
    errors.SourceError: 5,
    errors.SourceChanged: 4,
    errors.RateLimited: 6,
    errors.TokenBudgetExhausted: 6,
    errors.WaitTooLong: 6,
    errors.DeadlineExceeded: 6,
    errors.JournalError: 6,
    errors.JournalBusy: 6,
    errors.TransportError: 7,
    errors.NotSent: 7,
    errors.ResponseLost: 7,
    errors.ServerError: 7,
    errors.DecodeError: 7,
}


def test_every_exit_code_is_explained_and_documented() -> None:
    documented = (REPOSITORY / "docs" / "reference" / "cli.md").read_text("utf-8")
    assert list(MEANINGS) == [*(str(int(code)) for code in ExitCode), "130, 143"]
    table = [f"| {code} | {meaning} |" for code, meaning in MEANINGS.items()]
    assert [line for line in table if line not in documented.splitlines()] == []


def classes_under(root: type[errors.TruecallerError]) -> set[type[errors.TruecallerError]]:
    return {root}.union(*(classes_under(child) for child in root.__subclasses__()))


def instance_of(cls: type[errors.TruecallerError]) -> errors.TruecallerError:
    arguments: dict[type[errors.TruecallerError], tuple[object, ...]] = {
        errors.ValidationError: ([Problem("reason", "reason.length", "is too short")],),
        errors.TokenBudgetExhausted: (datetime(2030, 1, 1, tzinfo=UTC),),
        errors.WaitTooLong: (400.0, 300.0),
        errors.PushRejected: ("reason", "refused"),
        errors.NumberJobIncomplete: (NumberJob(), 1, 2, errors.NotSent("refused")),
    }
    status = (500,) if issubclass(cls, errors.APIStatusError) else ("message",)
    error = cls(*arguments.get(cls, status))
    if isinstance(error, errors.SourceError):
        error.row = 7
    return error


def test_every_library_error_has_an_exit_code() -> None:
    assert {cls for cls in classes_under(errors.TruecallerError) if cls.__module__ == errors.__name__} == CODES.keys()


@pytest.mark.parametrize("cls", CODES)
def test_each_error_has_its_code(cls: type[errors.TruecallerError]) -> None:
    assert exit_for_error(instance_of(cls)) == CODES[cls]


def test_source_that_fails_before_any_row_is_refused_input() -> None:
    assert exit_for_error(errors.SourceError("no such file")) == 4


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (Summary(), 0),
        (Summary(read=2, delivered=2), 0),
        (Summary(read=3, delivered=2, duplicate=1), 0),
        (Summary(read=2, invalid=2), 4),
        (Summary(read=2, expired=2), 4),
        (Summary(read=3, invalid=2, expired=1), 4),
        (Summary(read=2, delivered=1, invalid=1), 5),
        (Summary(read=2, failed=2), 5),
        (Summary(read=3, delivered=1, duplicate=1, unknown=1), 5),
        (Summary(read=2, delivered=1, unsent=1), 6),
        (Summary(read=3, failed=1, invalid=1, unsent=1), 6),
    ],
)
def test_summary_has_its_code(summary: Summary, code: int) -> None:
    assert exit_for_summary(summary) == code


def test_exit_code_prefers_signal_over_fault_over_counts() -> None:
    left = Summary(read=2, delivered=1, unsent=1)
    assert exit_for_campaign(left, errors.NotSent("x"), SIGINT) == 130
    assert exit_for_campaign(left, None, SIGTERM) == 143
    assert exit_for_campaign(left, errors.NotSent("x"), None) == 7
    assert exit_for_campaign(left, None, None) == 6
