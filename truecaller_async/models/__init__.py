"""The words: what a user of the library holds in the hand."""

from truecaller_async.models.batches import Batch, BatchStatus, PushAnswer, RecordStatus
from truecaller_async.models.campaign import Progress, Summary
from truecaller_async.models.entries import AttemptEnded, Entry, Intent, Planned, Settled
from truecaller_async.models.feature_sets import FeatureSet
from truecaller_async.models.labels import Label
from truecaller_async.models.numbers import Number, NumberJob
from truecaller_async.models.pages import Page
from truecaller_async.models.records import CallRecord, Outcome, Problem, RecordResult, Row
from truecaller_async.models.secret import Secret, mask_number
from truecaller_async.models.tokens import Token
from truecaller_async.models.wire import Answer, Request

__all__ = [
    "Answer",
    "AttemptEnded",
    "Batch",
    "BatchStatus",
    "CallRecord",
    "Entry",
    "FeatureSet",
    "Intent",
    "Label",
    "Number",
    "NumberJob",
    "Outcome",
    "Page",
    "Planned",
    "Problem",
    "Progress",
    "PushAnswer",
    "RecordResult",
    "RecordStatus",
    "Request",
    "Row",
    "Secret",
    "Settled",
    "Summary",
    "Token",
    "mask_number",
]
