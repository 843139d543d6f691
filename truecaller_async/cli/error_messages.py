"""Format an error as a message: what happened, and what to do on the command line.

The library's messages name the rule and the value. They do not mention options and environment variables, because the
caller may be a program, so advice about those is added here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from truecaller_async import errors
from truecaller_async.cli.formatting import masked, printable

ADVICE: Mapping[type[errors.TruecallerError], str] = MappingProxyType(
    {
        errors.AuthenticationFailed: (
            "Check TRUECALLER_KEY_ID and TRUECALLER_API_KEY against the console page 'Manage API Keys', "
            "and check that TRUECALLER_BASE_URL is the server of this account."
        ),
        errors.Forbidden: "The key may not use this feature. Ask the administrator of the account to allow it.",
        errors.NotFound: "Check the id, TRUECALLER_BASE_URL, TRUECALLER_CLIENT_ACCOUNT_ID and --api-version.",
        errors.RateLimited: "Wait, or lower the rate with --limit, such as --limit batch=30/60.",
        errors.UnexpectedRedirect: "Check TRUECALLER_BASE_URL.",
        errors.NumberJobIncomplete: (
            "Before you send the remaining numbers again, run `truecaller numbers list` to find out which were applied."
        ),
        errors.ServerError: (
            "The service failed and may have applied the request. Check whether it did before you send it again."
        ),
        errors.NotSent: "Check the network, the proxy and TRUECALLER_BASE_URL.",
        errors.ResponseLost: "Check whether the request was applied before you send it again.",
        errors.DecodeError: "Check that TRUECALLER_BASE_URL is the Truecaller for Business API; check --api-version.",
    }
)
"""Advice by error class; an error without advice explains itself."""

AMBIGUOUS = (errors.ServerError, errors.ResponseLost)
"""Errors after which a write may or may not have been applied."""

WITH_SERVER_TEXT = (errors.APIStatusError, errors.PushRejected, errors.DecodeError, errors.NumberJobIncomplete)
"""Errors whose message contains text of the server."""


def error_text(error: errors.TruecallerError) -> str:
    """Return the message for stderr; its first line starts with `Error:`, further lines are indented."""
    if isinstance(error, errors.ValidationError):
        problems = [printable(str(problem)) for problem in error.problems]
        return "\n  ".join(["Error: the values are not valid, and nothing was sent:", *problems])
    advice = advice_for(error)
    return f"Error: {message_of(error)}" + (f"\n  {advice}" if advice else "")


def message_of(error: errors.TruecallerError) -> str:
    """Return the message of an error on one line, long numbers in server text masked."""
    has_server_text = isinstance(error, WITH_SERVER_TEXT) and not isinstance(error, errors.UnexpectedRedirect)
    return masked(str(error)) if has_server_text else printable(str(error))


def advice_for(error: errors.TruecallerError) -> str | None:
    """Return what to do about an error; None if its message says it."""
    if isinstance(error, AMBIGUOUS) and error.sent == "no":
        return "Nothing was sent. Try again later."
    if isinstance(error, AMBIGUOUS) and error.retryable:
        return "Try again later."
    return next((ADVICE[cls] for cls in type(error).__mro__ if cls in ADVICE), None)


def internal_error_text(error: Exception) -> str:
    """Return one line for an unexpected exception."""
    text = masked(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    return f"Error: internal error: {text}. Set TRUECALLER_DEBUG=1 to get a traceback, and report it."
