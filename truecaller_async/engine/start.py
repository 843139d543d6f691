"""How a run comes to be: from nothing, or from a journal.

A new campaign writes its first entry before anything else happens: who, with which options, from which source. A
resumed one is what its journal says: the version of the API, the options, the source, and where it stands. Before it
changes anything it looks whether the source is still the same (`engine.source_check`); only then it says that a new
run has begun, and that whatever was in flight when the last one died may have been applied.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from truecaller_async._version import __version__
from truecaller_async.engine.run import CampaignDeps, Run
from truecaller_async.engine.source_check import RecoveredRows, reread_open_rows
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.models import CampaignStarted, NoteAdded, RunStarted, SourceDescriptor
from truecaller_async.options import CampaignOptions, PollPolicy
from truecaller_async.planning.ambiguity import ended_by_crash
from truecaller_async.planning.batch_state import BatchState
from truecaller_async.planning.campaign_state import CampaignState
from truecaller_async.ports import Journal
from truecaller_async.sources import FileSource, RowReader, is_unchanged, reopen_source

SALT_BYTES = 16


@attrs.frozen
class CampaignRequest:
    """What a caller asked for. `core` takes a version of the API, None for the client's own.

    `options` may be None where a campaign is resumed: then those of its journal hold. So may `source`, where the
    journal can open it again or need not.
    """

    deps: Callable[[str | None], CampaignDeps]
    source: object
    options: CampaignOptions | None
    journal: Callable[[], Journal]
    resumed: bool = False


async def start_campaign(asked: CampaignRequest, noted: Sequence[NoteAdded] = ()) -> tuple[Run, RecoveredRows]:
    """The run, and where its reading begins. Raises what keeps it from beginning; the journal is let go then.

    `noted` is written with the first entry of the run.
    """
    if asked.resumed:
        journal = asked.journal()
        state = await journal.open(is_new=False)
        async with _close_unless_started(journal):
            return await _resume(asked, journal, state, noted)
    anew = RecoveredRows(RowReader(asked.source))
    async with _close_unless_started(anew):
        core = asked.deps(None)
        journal = asked.journal()
        if journal.resumable and anew.reader is not None:
            await anew.reader.prefetch()  # a file that cannot be read at all must not leave a journal behind
        state = await journal.open(is_new=True)
        async with _close_unless_started(journal):
            return await _start_new(asked, core, journal, state, noted), anew


@asynccontextmanager
async def _close_unless_started(held: Journal | RecoveredRows) -> AsyncIterator[None]:
    """Close what was opened for a run that did not come to be."""
    try:
        yield
    except BaseException:
        await held.aclose()
        raise


def options_of(begun: CampaignStarted) -> CampaignOptions:
    """The options with which a campaign was begun. Raises `JournalError` where this version does not know them."""
    try:
        return CampaignOptions(**{**begun.options, "poll": PollPolicy(**begun.options["poll"])})
    except (TypeError, KeyError, ConfigError) as error:
        raise JournalError(f"the journal has options that this version does not know: {error}") from None


async def _start_new(
    asked: CampaignRequest, core: CampaignDeps, journal: Journal, state: CampaignState, noted: Sequence[NoteAdded]
) -> Run:
    options = asked.options or CampaignOptions()
    note = asked.source.descriptor() if isinstance(asked.source, FileSource) and journal.resumable else None
    at = core.clock.wall()
    begun = CampaignStarted(
        at, __version__, core.account, core.api_version, _plain(options), note, secrets.token_bytes(SALT_BYTES)
    )
    await journal.write(begun, RunStarted(at, os.getpid()), *noted)
    run = Run(core, options, journal, state)
    run.stores_records = journal.resumable and note is None
    return run


async def _resume(
    asked: CampaignRequest, journal: Journal, state: CampaignState, noted: Sequence[NoteAdded]
) -> tuple[Run, RecoveredRows]:
    begun = state.started
    if begun is None:
        raise JournalError("the journal holds no campaign")
    core = asked.deps(begun.api_version)
    if core.account != begun.account:
        raise ConfigError(
            f"the campaign was begun with the account {begun.account}, and this client has another; "
            "resume it with the credentials of that account"
        )
    run = Run(core, _options(asked.options, begun), journal, state)
    run.stores_records = begun.source is None
    source, same = _source(asked.source, begun.source, state)
    recovered = await reread_open_rows(run, source, same=same)
    at = core.clock.wall()
    crashed = [ended_by_crash(batch, at) for batch in state.open if batch.state is BatchState.IN_FLIGHT]
    async with _close_unless_started(recovered):
        await journal.write(RunStarted(at, os.getpid()), *crashed, *noted)
    return run, recovered


def _options(given: CampaignOptions | None, begun: CampaignStarted) -> CampaignOptions:
    kept = options_of(begun)
    if given is None:
        return kept
    if given.correlate != kept.correlate:
        raise ConfigError(
            f"CampaignOptions.correlate is {given.correlate!r}, and the campaign was begun with {kept.correlate!r}: "
            "what was sent cannot be correlated in another way; leave it as it is"
        )
    return given


def _source(given: object, note: SourceDescriptor | None, state: CampaignState) -> tuple[object, bool]:
    """The source to read, None where there is nothing to read; and whether it is surely the one it was."""
    if given is not None:
        return given, isinstance(given, FileSource) and note is not None and given.descriptor() == note
    if note is None or state.complete:
        return None, True
    return reopen_source(note), is_unchanged(note)


def _plain(options: CampaignOptions) -> Mapping[str, Any]:
    return attrs.asdict(options)
