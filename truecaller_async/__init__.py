"""Asyncio SDK and rate-limited batch engine for the Truecaller for Business API.

An independent project, not an official Truecaller product.

A name is loaded when it is first asked for, so that a program pays only for what it uses: the engine, say, only where
campaigns are run. Programs that are not asynchronous find the same client in `truecaller_async.blocking`.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from truecaller_async._version import __version__

if TYPE_CHECKING:
    from truecaller_async.client import TruecallerClient
    from truecaller_async.engine import CampaignStream
    from truecaller_async.errors import (
        APIStatusError,
        AuthenticationFailed,
        BadRequest,
        ClientClosed,
        ConfigError,
        DeadlineExceeded,
        DecodeError,
        Forbidden,
        JournalBusy,
        JournalError,
        NotFound,
        NotSent,
        NumberJobIncomplete,
        PushRejected,
        RateLimited,
        ResponseLost,
        ServerError,
        SourceChanged,
        SourceError,
        TokenBudgetExhausted,
        TransportError,
        TruecallerDeprecationWarning,
        TruecallerError,
        UnexpectedRedirect,
        ValidationError,
        WaitTooLong,
    )
    from truecaller_async.models import (
        Batch,
        BatchStatus,
        CallRecord,
        Effort,
        FeatureSet,
        Label,
        Number,
        NumberJob,
        Outcome,
        Page,
        Problem,
        Progress,
        PushAnswer,
        RecordResult,
        RecordStatus,
        Row,
        Secret,
        Summary,
    )
    from truecaller_async.models.tokens import (
        TokenFacts,
        TokenStatus,
    )
    from truecaller_async.options import (
        NO_RETRY,
        CampaignOptions,
        Limits,
        PollPolicy,
        RateLimit,
        RetryPolicy,
        Timeouts,
    )
    from truecaller_async.resources.pagination import Listing
    from truecaller_async.sources import (
        Fill,
        open_sink,
        read_csv,
        read_jsonl,
    )

__all__ = [
    "NO_RETRY",
    "APIStatusError",
    "AuthenticationFailed",
    "BadRequest",
    "Batch",
    "BatchStatus",
    "CallRecord",
    "CampaignOptions",
    "CampaignStream",
    "ClientClosed",
    "ConfigError",
    "DeadlineExceeded",
    "DecodeError",
    "Effort",
    "FeatureSet",
    "Fill",
    "Forbidden",
    "JournalBusy",
    "JournalError",
    "Label",
    "Limits",
    "Listing",
    "NotFound",
    "NotSent",
    "Number",
    "NumberJob",
    "NumberJobIncomplete",
    "Outcome",
    "Page",
    "PollPolicy",
    "Problem",
    "Progress",
    "PushAnswer",
    "PushRejected",
    "RateLimit",
    "RateLimited",
    "RecordResult",
    "RecordStatus",
    "ResponseLost",
    "RetryPolicy",
    "Row",
    "Secret",
    "ServerError",
    "SourceChanged",
    "SourceError",
    "Summary",
    "Timeouts",
    "TokenBudgetExhausted",
    "TokenFacts",
    "TokenStatus",
    "TransportError",
    "TruecallerClient",
    "TruecallerDeprecationWarning",
    "TruecallerError",
    "UnexpectedRedirect",
    "ValidationError",
    "WaitTooLong",
    "__version__",
    "open_sink",
    "read_csv",
    "read_jsonl",
]

# Where each name lives. That it is the same list as the one for type checkers above, a house test holds.
_ROOMS = {
    "client": ("TruecallerClient",),
    "engine": ("CampaignStream",),
    "errors": (
        "APIStatusError",
        "AuthenticationFailed",
        "BadRequest",
        "ClientClosed",
        "ConfigError",
        "DeadlineExceeded",
        "DecodeError",
        "Forbidden",
        "JournalBusy",
        "JournalError",
        "NotFound",
        "NotSent",
        "NumberJobIncomplete",
        "PushRejected",
        "RateLimited",
        "ResponseLost",
        "ServerError",
        "SourceChanged",
        "SourceError",
        "TokenBudgetExhausted",
        "TransportError",
        "TruecallerDeprecationWarning",
        "TruecallerError",
        "UnexpectedRedirect",
        "ValidationError",
        "WaitTooLong",
    ),
    "models": (
        "Batch",
        "BatchStatus",
        "CallRecord",
        "Effort",
        "FeatureSet",
        "Label",
        "Number",
        "NumberJob",
        "Outcome",
        "Page",
        "Problem",
        "Progress",
        "PushAnswer",
        "RecordResult",
        "RecordStatus",
        "Row",
        "Secret",
        "Summary",
    ),
    "models.tokens": ("TokenFacts", "TokenStatus"),
    "options": (
        "NO_RETRY",
        "CampaignOptions",
        "Limits",
        "PollPolicy",
        "RateLimit",
        "RetryPolicy",
        "Timeouts",
    ),
    "resources.pagination": ("Listing",),
    "sources": (
        "Fill",
        "open_sink",
        "read_csv",
        "read_jsonl",
    ),
}
_HOME = {name: f"{__name__}.{room}" for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(_import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
