"""Value classes: records, results, requests, answers and journal entries."""

from truecaller_async.models.batches import Batch, BatchStatus, PushAnswer, RecordStatus
from truecaller_async.models.campaign import Progress, RunCost, Summary
from truecaller_async.models.feature_sets import FeatureSet
from truecaller_async.models.http import Answer, Request
from truecaller_async.models.labels import Label
from truecaller_async.models.numbers import Number, NumberJob
from truecaller_async.models.pages import Page
from truecaller_async.models.record_columns import RecordColumns
from truecaller_async.models.records import CallRecord, Outcome, Problem, RecordResult, Row, Rows
from truecaller_async.models.results import BatchResults, OutcomeKey, ResultList
from truecaller_async.models.secret import Secret
from truecaller_async.models.tokens import Token
from truecaller_async.redaction import mask_number

__all__ = [
    "Answer",
    "Batch",
    "BatchResults",
    "BatchStatus",
    "CallRecord",
    "FeatureSet",
    "Label",
    "Number",
    "NumberJob",
    "Outcome",
    "OutcomeKey",
    "Page",
    "Problem",
    "Progress",
    "PushAnswer",
    "RecordColumns",
    "RecordResult",
    "RecordStatus",
    "Request",
    "ResultList",
    "Row",
    "Rows",
    "RunCost",
    "Secret",
    "Summary",
    "Token",
    "mask_number",
]
