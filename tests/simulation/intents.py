"""Check at the first byte of each POST of a campaign that its `AttemptStarted` is durable.

The records of the request are compared with those of the batches that are in flight in the *stored* state. Each stored
attempt explains one request.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tests.simulation.journals import SurvivingJournal
from truecaller_async import CallRecord
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.models import Request
from truecaller_async.sandbox.batches.records import FORMS, Record, RecordRejection
from truecaller_async.validation.normalise import canonical

CALLER_PREFIX = "9112345"
"""Start of the caller numbers of campaigns; the rest is the number of the campaign (`rows`)."""

Sent = tuple[str | None, str | None]
"""Receiver and reason of a record, which tell it from the others of its campaign."""


@attrs.define(eq=False)
class IntentWatch:
    """Knows what is stored, and looks at each request."""

    version: str
    """Version of the API."""
    journals: Sequence[SurvivingJournal]
    rows: list[list[Sent]] = attrs.field(factory=list)
    """The records of each campaign as they are sent, by row."""
    errors: list[str] = attrs.field(factory=list)
    """Requests without a durable intent."""
    posts: int = 0
    """Requests of campaigns that were looked at."""
    _used: set[tuple[int, int, int]] = attrs.field(factory=set)

    def add_rows(self, rows: Sequence[CallRecord]) -> None:
        """Add the rows of the next campaign."""
        self.rows.append([_sent(canonical(row)) for row in rows])

    def look(self, request: Request, token_id: str) -> None:
        """Look at a request whose first byte is sent now."""
        if request.call not in ("submit", "push"):
            return
        form, body = FORMS[self.version], request.body or b""
        records = form.read_batch(body) if request.call == "submit" else form.read_record(body)
        if isinstance(records, RecordRejection):
            return
        records = [records] if isinstance(records, Record) else records
        caller = (records[0].caller or "").removeprefix("+")
        campaign = int(caller.removeprefix(CALLER_PREFIX)) if caller.startswith(CALLER_PREFIX) else len(self.journals)
        if campaign >= len(self.journals):
            return  # a single call
        self.posts += 1
        sent = [((record.receiver or "").removeprefix("+"), record.reason) for record in records]
        if not self._is_explained(campaign, sent, token_id):
            self.errors.append(f"campaign {campaign}: {request.call} of {len(sent)} records without a durable intent")

    def _is_explained(self, campaign: int, sent: Sequence[Sent], token_id: str) -> bool:
        journal = self.journals[campaign]
        for batch in journal.stored.open:
            key = (campaign, batch.seq, batch.attempts)
            if batch.state is not BatchState.IN_FLIGHT or key in self._used:
                continue
            if journal.tokens[batch.seq, batch.attempts] == token_id and self._records_of(campaign, batch) == sent:
                self._used.add(key)
                return True
        return False

    def _records_of(self, campaign: int, batch: CampaignBatch) -> list[Sent]:
        rows = self.rows[campaign]
        return [rows[row - 1] for row in batch.rows if row not in batch.excluded_rows]


def _sent(record: CallRecord) -> Sent:
    return record.receiver, record.reason
