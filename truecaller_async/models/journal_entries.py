"""Define the entries of a campaign: what happened, in the order in which it happened.

Purpose:
    `CampaignState.apply` changes the state by one entry, and `Journal.append` stores one or more entries in one
    transaction. All times are wall-clock seconds since the epoch. Row numbers are those of the source, from 1. `rows`
    is a `range` if no row is missing, otherwise an ascending tuple.

Invariants:
    - Entries are stored in the order of the events. A batch is POSTed only after its `AttemptStarted` is durable, and a
      result is final only after its `RowsSettled` is.
    - An `AttemptStarted` without an `AttemptEnded` means that the batch may have been applied.
    - `RowsSettled` stores final outcomes only. Rows that a stopped run leaves open stay open for the next run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from truecaller_async.models.records import Outcome


class SourcePosition(msgspec.Struct, frozen=True, gc=False):
    """The end of a row in a file."""

    row: int
    """Number of the row."""
    line: int
    """Number of physical lines up to the end of the row."""
    offset: int
    """Number of bytes (after decompression) up to the end of the row."""


class SourceDescriptor(msgspec.Struct, frozen=True, gc=False):
    """The data needed to open a source file again and read the same rows."""

    kind: str
    """Format of the file: "csv" or "jsonl"."""
    path: str
    """Path of the file."""
    columns: Mapping[str, str] = {}
    """Name of the column in the file, by field of the record, if the caller chose it."""
    defaults: Mapping[str, Any] = {}
    """Values for columns that the file does not have: the arguments of `ColumnDefaults`."""
    size: int = 0
    """Size of the file in bytes when it was first opened."""
    modified: int = 0
    """Modification time of the file when it was first opened, in nanoseconds since the epoch."""


class CampaignStarted(msgspec.Struct, frozen=True, gc=False):
    """The campaign began: the first entry of every journal."""

    at: float
    """Time of the entry."""
    library: str
    """Version of this package."""
    account: str
    """Id of the client account."""
    api_version: str
    """API version, such as "v2"."""
    options: Mapping[str, Any]
    """The `CampaignOptions` as JSON values."""
    source: SourceDescriptor | None
    """The source file, or None if the source cannot be opened again; then each `BatchPlanned` has a `payload`."""
    salt: bytes
    """Random key of the row fingerprints of this campaign."""


class RunStarted(msgspec.Struct, frozen=True, gc=False):
    """A process began to work on the campaign."""

    at: float
    """Time of the entry."""
    pid: int
    """Id of the process."""
    on_ambiguous: str = "hold"
    """Policy of this run for an ambiguous batch: "hold" or "resend"."""
    max_resends: int = 0
    """Number of lost answers up to which this run sends a batch again."""


class RowsRead(msgspec.Struct, frozen=True, gc=False):
    """Rows were read, and each of them was planned or settled before this entry."""

    position: SourcePosition
    """End of the last row that was read."""
    fingerprints: bytes = b""
    """Fingerprint of the rows since the previous `RowsRead` (`campaign.rows.fingerprints`)."""


class SourceEnded(msgspec.Struct, frozen=True, gc=False):
    """The source was read to its end."""


class BatchPlanned(msgspec.Struct, frozen=True, gc=False):
    """Rows were assigned to a batch. A second entry for the same batch adds rows."""

    seq: int
    """Number of the batch."""
    rows: Sequence[int]
    """Row numbers, ascending."""
    parent: int | None = None
    """Number of the batch that owned the rows before, or None."""
    call: str = "submit"
    """Call that sends the batch: "submit" or "push"."""
    payload: bytes | None = None
    """The records (`campaign.rows.stored_records`) if the source cannot be read again, otherwise None."""

    def __repr__(self) -> str:
        # Without the payload: it contains phone numbers.
        return f"BatchPlanned(seq={self.seq}, rows={self.rows!r}, parent={self.parent}, call={self.call!r})"


class AttemptStarted(msgspec.Struct, frozen=True, gc=False):
    """A POST of the batch is about to begin."""

    seq: int
    """Number of the batch."""
    attempt: int
    """Number of the attempt, from 1."""
    token_id: str
    """Id (a short hash) of the access token."""
    at: float
    """Time of the entry."""


class AttemptEnded(msgspec.Struct, frozen=True, gc=False):
    """An attempt ended with an answer, an error, or the end of its process."""

    seq: int
    """Number of the batch."""
    attempt: int
    """Number of the attempt, from 1."""
    event: str
    """Value of `campaign.core.batch_state.BatchEvent`."""
    at: float
    """Time of the entry."""
    batch_id: str | None = None
    """Batch id, if the server accepted the batch and returned one."""
    detail: str | None = None
    """Error of the attempt, if there was one. `not_sent` without an error: no request was made."""
    reason: str | None = None
    """Message of the server, if it rejected the batch."""
    field: str | None = None
    """Field that the server named, if it rejected the batch."""


class BatchAbandoned(msgspec.Struct, frozen=True, gc=False):
    """The answer of a batch was lost, and this run does not send it again.

    Its rows are `unknown`, and later rows of the same pairs no longer wait for it.
    """

    seq: int
    """Number of the batch."""


class OperatorDecided(msgspec.Struct, frozen=True, gc=False):
    """The operator decided whether the server had applied an abandoned batch."""

    seq: int
    """Number of the batch."""
    applied: bool
    """Whether the server had applied the batch."""
    at: float
    """Time of the entry."""


class RowsSettled(msgspec.Struct, frozen=True, gc=False):
    """Rows got the same final outcome."""

    rows: Sequence[int]
    """Row numbers, ascending."""
    outcome: Outcome
    """Their outcome."""
    reason: str | None = None
    """Cause of the outcome."""
    seq: int | None = None
    """Number of their batch, or None if they were never planned."""
    field: str | None = None
    """Field that caused the outcome."""
    attempts: int = 0
    """Number of times that they may have reached the server."""
    possibly_duplicated: bool = False
    """Whether they may have been applied twice."""


class BatchReleased(msgspec.Struct, frozen=True, gc=False):
    """An open batch with which this run does nothing more; a later run may. Never stored.

    Its open rows get a provisional outcome in this run.
    """

    seq: int
    """Number of the batch."""
    outcome: Outcome
    """Outcome of the open rows, if no later run continues."""
    reason: str | None = None
    """Cause of the outcome."""


class CostReported(msgspec.Struct, frozen=True, gc=False):
    """The cost of the current run up to now. It replaces the previous entry of the same run."""

    requests: Mapping[str, int]
    """Number of HTTP requests by call."""
    retries: int
    """Number of requests that repeated an earlier one."""
    throttled: int
    """Number of answers with status 429."""
    tokens_minted: int
    """Number of access tokens that were created."""
    elapsed: float
    """Duration of the run in seconds."""


class NoteAdded(msgspec.Struct, frozen=True, gc=False):
    """A named text that the caller stores with the campaign, such as the path of the results."""

    name: str
    """Name of the note; a later note of the same name replaces it."""
    value: str
    """Text of the note."""


JournalEntry: TypeAlias = (
    CampaignStarted
    | RunStarted
    | RowsRead
    | SourceEnded
    | BatchPlanned
    | AttemptStarted
    | AttemptEnded
    | BatchAbandoned
    | OperatorDecided
    | RowsSettled
    | BatchReleased
    | CostReported
    | NoteAdded
)
