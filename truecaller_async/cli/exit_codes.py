"""Exit codes of the command line.

If more than one code fits, the cause has precedence over its consequence: a signal over an error, an error over the
counts of a campaign.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from truecaller_async import errors
from truecaller_async.models import Summary


class ExitCode(IntEnum):
    """Exit codes, except those of a process that a signal stopped."""

    DONE = 0
    INTERNAL_ERROR = 1
    USAGE = 2
    CONFIG = 3
    INPUT = 4
    PARTIAL = 5
    STOPPED = 6
    UNREACHABLE = 7


SIGNAL_OFFSET_CODE = 128
"""Added to the number of the signal that stopped a process, as shells do."""

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "0": "every record was delivered, or is a duplicate of one; nothing to do",
        "1": "internal error",
        "2": "wrong usage",
        "3": "configuration or credentials",
        "4": "the input was refused before anything was sent",
        "5": "finished, and some records are not delivered",
        "6": "limit or deadline: stopped with records unsent; journal: it cannot be used, or refuses the command",
        "7": "the service was not reached, or gave no usable answer",
        "130, 143": "interrupted (SIGINT), terminated (SIGTERM)",
    }
)
"""Meaning of each exit code, for `truecaller --help` and the documentation."""


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
        errors.TruecallerError: ExitCode.INTERNAL_ERROR,
    }
)
"""Exit code of each error class; a class that is missing has the code of its nearest base class."""


def exit_for_error(error: errors.TruecallerError) -> int:
    """Return the exit code of a command that ended with an error."""
    if isinstance(error, errors.SourceError) and error.row == 0:
        return ExitCode.INPUT
    return next(BY_ERROR[cls] for cls in type(error).__mro__ if cls in BY_ERROR)


def exit_for_summary(summary: Summary) -> int:
    """Return the exit code of a campaign that ran to its end."""
    successful = summary.delivered + summary.duplicate
    if successful == summary.read:
        return ExitCode.DONE
    if summary.unsent:
        return ExitCode.STOPPED
    if summary.invalid + summary.expired == summary.read:
        return ExitCode.INPUT
    return ExitCode.PARTIAL


def exit_for_campaign(summary: Summary, error: errors.TruecallerError | None, signum: int | None) -> int:
    """Return the exit code of a campaign: of the signal, the error, or the counts, in this order."""
    if signum is not None:
        return SIGNAL_OFFSET_CODE + signum
    return exit_for_summary(summary) if error is None else exit_for_error(error)
