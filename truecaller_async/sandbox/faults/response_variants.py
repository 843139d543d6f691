"""Where the documentation contradicts itself, or has a reading that a client should survive, each under a name.

A sandbox without oddities answers as the newest copy of the documentation prints it. Each name here switches one other
form on; they may be mixed, but for the two envelopes, of which an answer can have only one. What some rows of a
status do, and which, is decided in `odd_rows`.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class ResponseVariant(StrEnum):
    """One other form of an answer. The values are the names that the command line takes.

    `MASKED_NUMBERS`: asterisks for the numbers in a status answer, as in its samples.
    `CAMEL_STATUS_INFO`: a real-time answer of v2 and v3 is wrapped in `statusInfo`, as one rendering prints it.
    `FLAT_STATUS_INFO`: it is not wrapped at all, as in the earliest rendering.
    `PARSE_FAILURE`: a token that is unknown or expired is a 500 "500/50011 - Failed to parse token", not a 401.
    `EMPTY_V1_PUSH`: a real-time record of v1 that was taken is a 200 without a body.
    `FAILURE_IN_200`: a refused record, and a refused batch of v1, is a 200 that says so; documented bodies, whose
    status is printed nowhere.
    `OPAQUE_BATCH_IDS`: batch ids of v2 and v3 are no UUIDs, as in one sample.
    `SHUFFLED_ROWS`: the rows of a status answer are not in the order of the request, which nothing promises.
    `LATE_BATCHES`: a new batch is unknown (404) for `SandboxSettings.late_for` seconds.
    `MISSING_ROWS`: some records of a batch have no row in its status, for ever.
    `LATE_ROWS`: some rows appear only `SandboxSettings.late_for` seconds after the others are final.
    `REPEATED_ROWS`: some rows are there twice, equal.
    `CONTRADICTING_ROWS`: some rows, once final, are there twice, with success and with failed.
    `FOREIGN_ROWS`: between the rows are some of another batch, about other numbers. Only v1 rows say whose they are.
    `OLD_NAMES_IN_ROWS`: the rows of a v2 and v3 status have the names of v1, as in an early rendering.
    `BARE_EMPTY_NUMBERS`: number details that match nothing are a bare `[]`.
    `FAILED_DELIST_IS_400`: a delisting that failed has the status 400, which is printed nowhere.
    `BROKEN_EXPORTS`: the exports answer the documented error, as the vendor's remark "not working" says.
    """

    MASKED_NUMBERS = "masked-numbers"
    CAMEL_STATUS_INFO = "camel-status-info"
    FLAT_STATUS_INFO = "flat-status-info"
    PARSE_FAILURE = "parse-failure"
    EMPTY_V1_PUSH = "empty-v1-push"
    FAILURE_IN_200 = "failure-in-200"
    OPAQUE_BATCH_IDS = "opaque-batch-ids"
    SHUFFLED_ROWS = "shuffled-rows"
    LATE_BATCHES = "late-batches"
    MISSING_ROWS = "missing-rows"
    LATE_ROWS = "late-rows"
    REPEATED_ROWS = "repeated-rows"
    CONTRADICTING_ROWS = "contradicting-rows"
    FOREIGN_ROWS = "foreign-rows"
    OLD_NAMES_IN_ROWS = "old-names-in-rows"
    BARE_EMPTY_NUMBERS = "bare-empty-numbers"
    FAILED_DELIST_IS_400 = "failed-delist-is-400"
    BROKEN_EXPORTS = "broken-exports"
