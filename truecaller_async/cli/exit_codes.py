"""The exit codes: one number that says how a command ended.

    0      every record delivered, or a duplicate of one; nothing to do
    1      a defect of ours
    2      wrong usage
    3      configuration or credentials
    4      input refused before anything was sent
    5      finished, but some records are not delivered
    6      budget, deadline or journal: stopped with records unsent, or the journal cannot be used
    7      the service was not reached, or gave no answer that can be relied on
    130    interrupted (SIGINT); 143 terminated (SIGTERM)

Where more than one would fit, the cause goes before its consequence: a signal before a fault, a fault before the
counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from truecaller_async import errors
from truecaller_async.models import Summary


class ExitCode(IntEnum):
    """The codes that do not stand for a signal."""

    DONE = 0
    DEFECT = 1
    USAGE = 2
    CONFIG = 3
    INPUT = 4
    PARTIAL = 5
    STOPPED = 6
    UNREACHABLE = 7


BY_ERROR: Mapping[type[errors.TruecallerError], ExitCode] = MappingProxyType(
    {
        errors.ConfigError: ExitCode.CONFIG,
        errors.AuthenticationFailed: ExitCode.CONFIG,
        errors.Forbidden: ExitCode.CONFIG,
        errors.UnexpectedRedirect: ExitCode.CONFIG,
        errors.ValidationError: ExitCode.INPUT,
        errors.SourceError: ExitCode.PARTIAL,
        errors.SourceChanged: ExitCode.INPUT,
        errors.PushRejected: ExitCode.PARTIAL,
        errors.NumberJobIncomplete: ExitCode.PARTIAL,
        errors.APIStatusError: ExitCode.PARTIAL,
        errors.RateLimited: ExitCode.STOPPED,
        errors.TokenBudgetExhausted: ExitCode.STOPPED,
        errors.WaitTooLong: ExitCode.STOPPED,
        errors.DeadlineExceeded: ExitCode.STOPPED,
        errors.JournalError: ExitCode.STOPPED,
        errors.TransportError: ExitCode.UNREACHABLE,
        errors.ServerError: ExitCode.UNREACHABLE,
        errors.DecodeError: ExitCode.UNREACHABLE,
        errors.TruecallerError: ExitCode.DEFECT,
    }
)
"""The code of an error; one that is not named has the code of the class it comes from."""

SIGNALLED = 128
"""A process that a signal ended has this plus the signal's number, as shells have it."""


def exit_for_error(error: errors.TruecallerError) -> int:
    """The code of a command that ended with this error."""
    if isinstance(error, errors.SourceError) and error.row == 0:
        return ExitCode.INPUT
    return next(BY_ERROR[cls] for cls in type(error).__mro__ if cls in BY_ERROR)


def exit_for_summary(summary: Summary) -> int:
    """The code of a campaign that ran to its end."""
    good = summary.delivered + summary.duplicate
    if good == summary.read:
        return ExitCode.DONE
    if summary.unsent:
        return ExitCode.STOPPED
    if summary.invalid + summary.expired == summary.read:
        return ExitCode.INPUT
    return ExitCode.PARTIAL


def exit_for_campaign(summary: Summary, fault: errors.TruecallerError | None, signum: int | None) -> int:
    """The code of a campaign, however it ended."""
    if signum is not None:
        return SIGNALLED + signum
    return exit_for_summary(summary) if fault is None else exit_for_error(fault)
