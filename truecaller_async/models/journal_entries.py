"""What a journal is told, in the order in which it happens.

One `write` of one or more entries is one transaction. The order is the proof: a POST without an `AttemptStarted` cannot
exist, and an `AttemptStarted` without an `AttemptEnded` means the batch may have been applied.

Only final words are told (`RowsSettled`). What a run that stops has to leave open stays open in the journal, and the
next run goes on with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from truecaller_async.models.records import Outcome


@attrs.frozen
class SourcePosition:
    """The end of a row in a file: the number of the row, and the physical lines and bytes (unpacked) up to there."""

    row: int
    line: int
    offset: int


@attrs.frozen
class SourceDescriptor:
    """What it takes to open a file again and read the same rows from it.

    `kind` is "csv" or "jsonl", `columns` the names that were chosen for fields, `fill` the values for columns that the
    file does not have (the arguments of `sources.Fill`). `size` (bytes) and `changed` (nanoseconds since the epoch) are
    those of the file when it was opened first.
    """

    kind: str
    path: str
    columns: Mapping[str, str] = attrs.field(factory=dict)
    defaults: Mapping[str, Any] = attrs.field(factory=dict)
    size: int = 0
    modified: int = 0


@attrs.frozen
class CampaignStarted:
    """A campaign begins: the first entry of every journal.

    `salt` makes the prints of its rows its own. `source` is None where the source cannot be opened again; then each
    batch that is planned brings its `payload`. `options` are those of `CampaignOptions`, as JSON has them.
    """

    at: float
    library: str
    account: str
    api_version: str
    options: Mapping[str, Any]
    source: SourceDescriptor | None
    salt: bytes


@attrs.frozen
class RunStarted:
    """A process begins to work on the campaign, the first one or another. `at`: wall-clock seconds."""

    at: float
    pid: int


@attrs.frozen
class RowsRead:
    """The rows up to and with `place.row` have been read: each of them is planned or settled by now.

    `prints` tell these rows again (`planning.fingerprints`), those after the last `RowsRead`.
    """

    position: SourcePosition
    fingerprints: bytes = b""


@attrs.frozen
class SourceEnded:
    """The source has no more rows."""


@attrs.frozen
class BatchPlanned:
    """These rows (numbers of the source, ascending) belong to this batch now; said again, more rows join it.

    `parent` is the batch to which they belonged before. `via` is the call by which the batch is sent, "submit" or
    "push". `payload` holds the records where the source cannot be read again.
    """

    seq: int
    rows: tuple[int, ...]
    parent: int | None = None
    call: str = "submit"
    payload: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class AttemptStarted:
    """The batch is about to be posted for the `attempt`-th time, with this token. `at`: wall-clock seconds."""

    seq: int
    attempt: int
    token_id: str
    at: float


@attrs.frozen
class AttemptEnded:
    """What became of that attempt: a word of `planning.batch_state.Event`, and the batch id where there is one.

    `detail` names the error; `reason` and `field` are what the server said where it refused the batch.
    """

    seq: int
    attempt: int
    event: str
    at: float
    batch_id: str | None = None
    detail: str | None = None
    reason: str | None = None
    field: str | None = None


@attrs.frozen
class BatchAbandoned:
    """The answer of this batch was lost, and this run does not send it again: its rows are unknown as it stands.

    Later rows of the same pairs need not wait for it any more.
    """

    seq: int


@attrs.frozen
class OperatorDecided:
    """The operator says whether a batch that was given up had been applied. `at`: wall-clock seconds."""

    seq: int
    applied: bool
    at: float


@attrs.frozen
class RowsSettled:
    """Rows that have the same final word, and their batch where they were planned in one.

    `attempts` and `twice` are how often they were sent, and whether that may have applied them twice.
    """

    rows: tuple[int, ...]
    outcome: Outcome
    reason: str | None = None
    seq: int | None = None
    field: str | None = None
    attempts: int = 0
    possibly_duplicated: bool = False


@attrs.frozen
class CostReported:
    """What this run has cost up to now: requests by call, and the other figures of `RunCost`."""

    requests: Mapping[str, int]
    retries: int
    throttled: int
    tokens_minted: int
    elapsed: float


@attrs.frozen
class NoteAdded:
    """A word that the caller wants to find again, such as the path of the results."""

    name: str
    value: str


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
    | CostReported
    | NoteAdded
)
