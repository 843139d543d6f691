"""The words: what a user of the library holds in the hand."""

from truecaller_async.models.batches import Batch, BatchStatus, PushAnswer, RecordStatus
from truecaller_async.models.campaign import Effort, Progress, Summary
from truecaller_async.models.columns import Columns
from truecaller_async.models.entries import (
    AttemptEnded,
    Begun,
    Entry,
    GivenUp,
    Intent,
    Judged,
    Noted,
    Place,
    Planned,
    Read,
    RunBegan,
    Settled,
    SourceEnded,
    SourceNote,
    Spent,
)
from truecaller_async.models.feature_sets import FeatureSet
from truecaller_async.models.labels import Label
from truecaller_async.models.numbers import Number, NumberJob
from truecaller_async.models.pages import Page
from truecaller_async.models.records import CallRecord, Outcome, Problem, RecordResult, Row, Rows
from truecaller_async.models.results import Answered, Kind, Results
from truecaller_async.models.secret import Secret, mask_number
from truecaller_async.models.tokens import Token
from truecaller_async.models.wire import Answer, Request

__all__ = [
    "Answer",
    "Answered",
    "AttemptEnded",
    "Batch",
    "BatchStatus",
    "Begun",
    "CallRecord",
    "Columns",
    "Effort",
    "Entry",
    "FeatureSet",
    "GivenUp",
    "Intent",
    "Judged",
    "Kind",
    "Label",
    "Noted",
    "Number",
    "NumberJob",
    "Outcome",
    "Page",
    "Place",
    "Planned",
    "Problem",
    "Progress",
    "PushAnswer",
    "Read",
    "RecordResult",
    "RecordStatus",
    "Request",
    "Results",
    "Row",
    "Rows",
    "RunBegan",
    "Secret",
    "Settled",
    "SourceEnded",
    "SourceNote",
    "Spent",
    "Summary",
    "Token",
    "mask_number",
]
