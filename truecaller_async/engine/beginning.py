"""How a run comes to be: from nothing, or from a journal.

A new campaign writes its first entry before anything else happens: who, with which options, from which source. A
resumed one is what its journal says: the version of the API, the options, the source, and where it stands. Before it
changes anything it looks whether the source is still the same (`engine.recall`); only then it says that a new run has
begun, and that whatever was in flight when the last one died may have been applied.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from truecaller_async._version import __version__
from truecaller_async.engine.recall import Recalled, recall
from truecaller_async.engine.run import Core, Run
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.models import Begun, Noted, RunBegan, SourceNote
from truecaller_async.options import CampaignOptions, PollPolicy
from truecaller_async.planning.batch_state import State
from truecaller_async.planning.doubts import ended_by_crash
from truecaller_async.planning.replay import Standing
from truecaller_async.ports import Journal
from truecaller_async.sources import FileSource, RowReader, is_untouched, reopened

SALT_BYTES = 16


@attrs.frozen
class Undertaking:
    """What a caller asked for. `core` takes a version of the API, None for the client's own.

    `options` may be None where a campaign is resumed: then those of its journal hold. So may `source`, where the
    journal can open it again or need not.
    """

    core: Callable[[str | None], Core]
    source: object
    options: CampaignOptions | None
    journal: Callable[[], Journal]
    resumed: bool = False


async def begin(asked: Undertaking, noted: Sequence[Noted] = ()) -> tuple[Run, Recalled]:
    """The run, and where its reading begins. Raises what keeps it from beginning; the journal is let go then.

    `noted` is written with the first entry of the run.
    """
    if asked.resumed:
        journal = asked.journal()
        standing = await journal.open(anew=False)
        async with _let_go_unless_begun(journal):
            return await _resume(asked, journal, standing, noted)
    anew = Recalled(RowReader(asked.source))
    async with _let_go_unless_begun(anew):
        core = asked.core(None)
        journal = asked.journal()
        if journal.resumable and anew.reader is not None:
            await anew.reader.look()  # a file that cannot be read at all must not leave a journal behind
        standing = await journal.open(anew=True)
        async with _let_go_unless_begun(journal):
            return await _anew(asked, core, journal, standing, noted), anew


@asynccontextmanager
async def _let_go_unless_begun(held: Journal | Recalled) -> AsyncIterator[None]:
    """Close what was opened for a run that did not come to be."""
    try:
        yield
    except BaseException:
        await held.aclose()
        raise


def options_of(begun: Begun) -> CampaignOptions:
    """The options with which a campaign was begun. Raises `JournalError` where this version does not know them."""
    try:
        return CampaignOptions(**{**begun.options, "poll": PollPolicy(**begun.options["poll"])})
    except (TypeError, KeyError, ConfigError) as error:
        raise JournalError(f"the journal has options that this version does not know: {error}") from None


async def _anew(asked: Undertaking, core: Core, journal: Journal, standing: Standing, noted: Sequence[Noted]) -> Run:
    options = asked.options or CampaignOptions()
    note = asked.source.note() if isinstance(asked.source, FileSource) and journal.resumable else None
    at = core.clock.wall()
    begun = Begun(
        at, __version__, core.account, core.api_version, _plain(options), note, secrets.token_bytes(SALT_BYTES)
    )
    await journal.write(begun, RunBegan(at, os.getpid()), *noted)
    run = Run(core, options, journal, standing)
    run.keeps_payloads = journal.resumable and note is None
    return run


async def _resume(
    asked: Undertaking, journal: Journal, standing: Standing, noted: Sequence[Noted]
) -> tuple[Run, Recalled]:
    begun = standing.begun
    if begun is None:
        raise JournalError("the journal holds no campaign")
    core = asked.core(begun.api_version)
    if core.account != begun.account:
        raise ConfigError(
            f"the campaign was begun with the account {begun.account}, and this client has another; "
            "resume it with the credentials of that account"
        )
    run = Run(core, _options(asked.options, begun), journal, standing)
    run.keeps_payloads = begun.source is None
    source, same = _source(asked.source, begun.source, standing)
    recalled = await recall(run, source, same=same)
    at = core.clock.wall()
    crashed = [ended_by_crash(batch, at) for batch in standing.open if batch.state is State.IN_FLIGHT]
    async with _let_go_unless_begun(recalled):
        await journal.write(RunBegan(at, os.getpid()), *crashed, *noted)
    return run, recalled


def _options(given: CampaignOptions | None, begun: Begun) -> CampaignOptions:
    kept = options_of(begun)
    if given is None:
        return kept
    if given.correlate != kept.correlate:
        raise ConfigError(
            f"CampaignOptions.correlate is {given.correlate!r}, and the campaign was begun with {kept.correlate!r}: "
            "what was sent cannot be correlated in another way; leave it as it is"
        )
    return given


def _source(given: object, note: SourceNote | None, standing: Standing) -> tuple[object, bool]:
    """The source to read, None where there is nothing to read; and whether it is surely the one it was."""
    if given is not None:
        return given, isinstance(given, FileSource) and note is not None and given.note() == note
    if note is None or standing.complete:
        return None, True
    return reopened(note), is_untouched(note)


def _plain(options: CampaignOptions) -> Mapping[str, Any]:
    return attrs.asdict(options)
