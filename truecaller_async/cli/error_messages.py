"""An error as one message: what was wrong and where, as the error itself says it, and what to do.

The library's messages name the rule and the value. What they cannot know is that a person sits at a command line, so
the advice that speaks of variables and options is added here.
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
            "and that TRUECALLER_BASE_URL is the server they belong to."
        ),
        errors.Forbidden: "The key may not use this feature; ask the administrator of the account to allow it.",
        errors.NotFound: (
            "Check the id that was given, TRUECALLER_BASE_URL, TRUECALLER_CLIENT_ACCOUNT_ID and --api-version."
        ),
        errors.RateLimited: "Wait, or lower the rate with --limit, such as --limit batch=30/60.",
        errors.UnexpectedRedirect: "Check TRUECALLER_BASE_URL.",
        errors.NumberJobIncomplete: "The numbers after those may be sent again; look at numbers list before you do.",
        errors.ServerError: "The service has a fault, and may have taken the request; look before you send it again.",
        errors.NotSent: "Check the network, the proxy and TRUECALLER_BASE_URL.",
        errors.ResponseLost: "Look whether it was applied before you send it again.",
        errors.DecodeError: "Check that TRUECALLER_BASE_URL names the Truecaller for Business API, and --api-version.",
    }
)
"""What to do, by class; an error without advice says it all itself."""

IN_DOUBT = (errors.ServerError, errors.ResponseLost)
"""Errors after which nobody knows whether a write was applied; a read, or what was not sent, is in no doubt."""

FROM_THE_SERVER = (errors.APIStatusError, errors.PushRejected, errors.DecodeError, errors.NumberJobIncomplete)


def error_text(error: errors.TruecallerError) -> str:
    """The message for stderr: its first line begins with `Error:`, further lines are indented."""
    if isinstance(error, errors.ValidationError):
        problems = [printable(str(problem)) for problem in error.problems]
        return "\n  ".join(["Error: what was given is not valid, and nothing was sent:", *problems])
    advice = advice_for(error)
    return f"Error: {message_of(error)}" + (f"\n  {advice}" if advice else "")


def message_of(error: errors.TruecallerError) -> str:
    """What was wrong, on one line, without a full number in a stranger's words."""
    foreign = isinstance(error, FROM_THE_SERVER) and not isinstance(error, errors.UnexpectedRedirect)
    return masked(str(error)) if foreign else printable(str(error))


def advice_for(error: errors.TruecallerError) -> str | None:
    """What to do, where the error itself does not say it."""
    if isinstance(error, IN_DOUBT) and error.sent == "no":
        return "Nothing was sent; try again later."
    if isinstance(error, IN_DOUBT) and error.retryable:
        return "Try again later."
    return next((ADVICE[cls] for cls in type(error).__mro__ if cls in ADVICE), None)


def internal_error_text(error: Exception) -> str:
    """The one line for an exception that nobody foresaw."""
    said = masked(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    return f"Error: a defect of truecaller: {said} (TRUECALLER_DEBUG=1 shows where; please report it)"
