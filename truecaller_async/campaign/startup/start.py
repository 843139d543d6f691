"""Start a run: of a new campaign, or of a campaign that its journal describes.

Algorithm:
    - New campaign: open the source, create the journal, write the first entry (account, options, source), then create
      the run.
    - Resumed campaign: take API version, options and source from the journal. Check that the source is unchanged
      (`source_check`). `resume` then continues its batches.

Failure modes:
    If the start fails, the journal and the source are closed and the error is raised. A resumed journal is then
    unchanged.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from truecaller_async._version import __version__
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.recorder import wait_durable
from truecaller_async.campaign.rows.dedupe import Dedupe
from truecaller_async.campaign.run import CampaignDeps, Run
from truecaller_async.campaign.startup.source_check import RecoveredRows, reread_open_rows
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.models.journal_entries import (
    CampaignStarted,
    JournalEntry,
    NoteAdded,
    RunStarted,
    SourceDescriptor,
)
from truecaller_async.options import CampaignOptions, PollPolicy
from truecaller_async.ports import Journal
from truecaller_async.sources import FileSource, RowReader, is_unchanged, reopen_source

SALT_BYTES = 16


@attrs.frozen
class CampaignRequest:
    """Arguments of a campaign, as the caller gave them."""

    deps: Callable[[str | None], CampaignDeps]
    """Returns the dependencies for an API version; None means the version of the client."""
    source: object
    """Source of records. None in a resumed campaign: reopen the source of the journal, if one is needed."""
    options: CampaignOptions | None
    """Options. None in a resumed campaign: use those of the journal."""
    journal: Callable[[], Journal]
    """Creates the journal, not yet open."""
    resumed: bool = False
    """Whether the campaign continues from its journal."""


async def start_campaign(request: CampaignRequest, notes: Sequence[NoteAdded] = ()) -> tuple[Run, RecoveredRows]:
    """Start or resume the campaign; return the run and the rows that were read again.

    Args:
        request: Arguments of the campaign.
        notes: Notes to write in the same transaction as the first entry of the run.

    Returns:
        The run, and the recovered rows with the reader that continues the source.

    Raises:
        ConfigError: The options, the account or the source do not fit the campaign.
        JournalError: The journal cannot be used.
        SourceChanged: The source differs from what an earlier run read.
        SourceError: The source cannot be read.
    """
    if request.resumed:
        journal = request.journal()
        state = await journal.open(is_new=False)
        async with _close_unless_started(journal):
            return await _resume(request, journal, state)
    fresh = RecoveredRows(RowReader(request.source), Dedupe((request.options or CampaignOptions()).dedupe))
    async with _close_unless_started(fresh):
        deps = request.deps(None)
        journal = request.journal()
        if journal.resumable and fresh.reader is not None:
            # Before the journal is created: a file that cannot be read must not leave a journal behind.
            await fresh.reader.prefetch()
        state = await journal.open(is_new=True)
        async with _close_unless_started(journal):
            return await _start_new(request, deps, journal, state, notes), fresh


@asynccontextmanager
async def _close_unless_started(opened: Journal | RecoveredRows) -> AsyncIterator[None]:
    """Close what was opened, if the start of the run fails."""
    try:
        yield
    except BaseException:
        await opened.aclose()
        raise


def options_of(started: CampaignStarted) -> CampaignOptions:
    """Return the options with which a campaign was started.

    Raises:
        JournalError: This version does not know one of the options.
    """
    try:
        return CampaignOptions(**{**started.options, "poll": PollPolicy(**started.options["poll"])})
    except (TypeError, KeyError, ConfigError) as error:
        raise JournalError(
            f"the journal has options that this version does not know: {error}. Resume with the version that wrote it"
        ) from None


async def _start_new(
    request: CampaignRequest, deps: CampaignDeps, journal: Journal, state: CampaignState, notes: Sequence[NoteAdded]
) -> Run:
    options = request.options or CampaignOptions()
    descriptor = request.source.descriptor() if isinstance(request.source, FileSource) and journal.resumable else None
    at = deps.clock.wall()
    started = CampaignStarted(
        at,
        __version__,
        deps.account,
        deps.api_version,
        _options_as_dict(options),
        descriptor,
        secrets.token_bytes(SALT_BYTES),
    )
    run = Run(deps, options, journal, state)
    run.stores_records = journal.resumable and descriptor is None
    try:
        await wait_durable(run.recorder.record(started, *first_entries(run, notes)))
    except BaseException:
        run.lifecycle.cancel_start()
        raise
    return run


def first_entries(run: Run, notes: Sequence[NoteAdded]) -> list[JournalEntry]:
    """Return the entries with which a run starts."""
    options = run.options
    return [RunStarted(run.deps.clock.wall(), os.getpid(), options.on_ambiguous, options.max_resends), *notes]


async def _resume(request: CampaignRequest, journal: Journal, state: CampaignState) -> tuple[Run, RecoveredRows]:
    started = state.started
    if started is None:
        raise JournalError("the journal holds no campaign. Start one with push_many")
    deps = request.deps(started.api_version)
    if deps.account != started.account:
        raise ConfigError(
            f"the campaign was started with the account {started.account}, and this client has another account. "
            "Resume it with the credentials of that account"
        )
    run = Run(deps, _resumed_options(request.options, started), journal, state)
    run.stores_records = started.source is None
    source, is_unchanged = _source_to_read(request.source, started.source, state)
    recovered = await reread_open_rows(run, source, is_unchanged=is_unchanged)
    return run, recovered


def _resumed_options(requested: CampaignOptions | None, started: CampaignStarted) -> CampaignOptions:
    journaled = options_of(started)
    if requested is None:
        return journaled
    if requested.correlate != journaled.correlate:
        raise ConfigError(
            f"CampaignOptions.correlate is {requested.correlate!r}, but the campaign was started with "
            f"{journaled.correlate!r}: sent batches cannot be correlated in another way. Keep the original value"
        )
    return requested


def _source_to_read(source: object, descriptor: SourceDescriptor | None, state: CampaignState) -> tuple[object, bool]:
    """Return the source to read, if any, and whether it is known to be unchanged."""
    if source is not None:
        return source, isinstance(source, FileSource) and descriptor is not None and source.descriptor() == descriptor
    if descriptor is None or state.complete:
        return None, True
    return reopen_source(descriptor), is_unchanged(descriptor)


def _options_as_dict(options: CampaignOptions) -> Mapping[str, Any]:
    return attrs.asdict(options)
