"""Response variants: other documented forms of an answer, and defects of status rows, by name.

Without variants the sandbox answers as the newest version of the documentation says. Variants can be combined, except
the two envelopes `CAMEL_STATUS_INFO` and `FLAT_STATUS_INFO`. `faults.status_rows` implements the row defects.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class ResponseVariant(StrEnum):
    """Alternative form of an answer. The values are the names that the command line accepts."""

    MASKED_NUMBERS = "masked-numbers"
    """Status answers have asterisks instead of numbers, as in the documented samples."""
    CAMEL_STATUS_INFO = "camel-status-info"
    """A real-time answer of v2 and v3 is wrapped in `statusInfo`, as one version of the documentation shows."""
    FLAT_STATUS_INFO = "flat-status-info"
    """A real-time answer of v2 and v3 is not wrapped, as the earliest version of the documentation shows."""
    PARSE_FAILURE = "parse-failure"
    """An unknown or expired token gets a 500 "500/50011 - Failed to parse token" instead of a 401."""
    EMPTY_V1_PUSH = "empty-v1-push"
    """An accepted real-time record of v1 is a 200 without a body."""
    FAILURE_IN_200 = "failure-in-200"
    """A rejected record, and a rejected batch of v1, is a 200 with a failure in its body.

    The bodies are documented; their status is not.
    """
    OPAQUE_BATCH_IDS = "opaque-batch-ids"
    """Batch ids of v2 and v3 are not UUIDs, as in one sample."""
    SHUFFLED_ROWS = "shuffled-rows"
    """Status rows are not in the order of the request; no order is documented."""
    LATE_BATCHES = "late-batches"
    """A new batch is unknown (404) for `SandboxSettings.late_for` seconds."""
    MISSING_ROWS = "missing-rows"
    """Some records of a batch never get a status row."""
    LATE_ROWS = "late-rows"
    """Some rows appear `SandboxSettings.late_for` seconds after the others are final."""
    REPEATED_ROWS = "repeated-rows"
    """Some rows occur twice, with equal content."""
    CONTRADICTING_ROWS = "contradicting-rows"
    """Some rows, once final, occur twice: with success and with failed."""
    FOREIGN_ROWS = "foreign-rows"
    """Some rows belong to another batch and other numbers. Only v1 rows name their batch."""
    OLD_NAMES_IN_ROWS = "old-names-in-rows"
    """Status rows of v2 and v3 have the field names of v1, as an early version of the documentation shows."""
    BARE_EMPTY_NUMBERS = "bare-empty-numbers"
    """Number details without a match are a bare `[]`."""
    FAILED_DELIST_IS_400 = "failed-delist-is-400"
    """A failed delisting has the status 400; its status is not documented."""
    BROKEN_EXPORTS = "broken-exports"
    """Exports return the documented error, because the vendor marks them "not working"."""
