"""Asyncio SDK and rate-limited batch engine for the Truecaller for Business API.

An independent project, not an official Truecaller product.

A name is loaded when it is first used, so that a program pays only for what it uses: for the engine, for example, only
if it runs campaigns. Programs without asyncio use the same client from `truecaller_async.blocking`.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from truecaller_async._version import __version__

if TYPE_CHECKING:
    from truecaller_async.campaign.stream import CampaignStream
    from truecaller_async.client import TruecallerClient
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
        RunCost,
        Secret,
        Summary,
    )
    from truecaller_async.models.tokens import (
        TokenInfo,
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
    from truecaller_async.sinks import open_sink
    from truecaller_async.sources import (
        ColumnDefaults,
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
    "ColumnDefaults",
    "ConfigError",
    "DeadlineExceeded",
    "DecodeError",
    "FeatureSet",
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
    "RunCost",
    "Secret",
    "ServerError",
    "SourceChanged",
    "SourceError",
    "Summary",
    "Timeouts",
    "TokenBudgetExhausted",
    "TokenInfo",
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

# The module of each public name. tests/architecture checks that it lists the same names as the imports above.
_MODULES = {
    "client": ("TruecallerClient",),
    "campaign.stream": ("CampaignStream",),
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
        "RunCost",
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
    "models.tokens": ("TokenInfo", "TokenStatus"),
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
    "sinks": ("open_sink",),
    "sources": (
        "ColumnDefaults",
        "read_csv",
        "read_jsonl",
    ),
}
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(_import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
