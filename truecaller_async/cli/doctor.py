"""`truecaller doctor`: one check after the other along the way from here to an answer, each with what to do.

The order is that of a request: the configuration, the name, the proxy, the connection, the service, the credentials,
and one call that uses them. A check that needs a failed one is skipped, and none waits longer than its own time.

A live token in the state file is used rather than a new one made, because ten in half an hour are few, and people run
a doctor again and again. Then the key itself was not tried, and the doctor says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from truecaller_async.cli.connection import Connection, connection_options
from truecaller_async.clock import Clock
from truecaller_async.errors import DeadlineExceeded, TruecallerError
from truecaller_async.options import RetryPolicy, Timeouts

if TYPE_CHECKING:
    from truecaller_async.cli.verdicts import Configuration, Verdict
    from truecaller_async.client import TruecallerClient
    from truecaller_async.models.tokens import TokenStatus

Found = TypeVar("Found")

CHECKS = ("configuration", "name", "proxy", "connection", "service", "credentials", "labels")
STEP_SECONDS = 10.0
CALL_SECONDS = 30.0
"""The most that one step, and one call of the API with all it needs, may take."""

STEP = Timeouts(connect=STEP_SECONDS, read=STEP_SECONDS)
TWICE = RetryPolicy(attempts=2, total=CALL_SECONDS / 2)
"""A stored token may have been revoked, and is then replaced."""

LABELS_ASKED = 1000


@click.command()
@click.option("--mint", is_flag=True, help="Try the key even where there is a token; makes one of ten in 30 minutes.")
@connection_options
@click.option("--json", "as_json", is_flag=True, help="All checks as one JSON object.")
def doctor(mint: bool, as_json: bool, **given: Any) -> None:
    """Check the way to the service, step by step.

    Ends with 0 where no check failed, and else as the first that failed asks for: with 3 where configuration or
    credentials are to blame; with 5 where the service refuses a call for another reason; with 6 where a limit, a spent
    budget or the time ends it (a 429, no more tokens for now); with 7 where the service is not reached, or gives no
    answer that can be relied on.
    """
    from truecaller_async.cli.report import ForPeople, ForPrograms, Report
    from truecaller_async.cli.verdicts import exit_for

    report: Report = ForPrograms() if as_json else ForPeople()
    examination = Examination(Connection.out_of(given), mint=mint, tell=report.tell)
    asyncio.run(examination.run())
    report.finish(examination.verdicts)
    click.get_current_context().exit(exit_for(examination.verdicts))


class _Stopped(Exception):
    """This check failed, and no later one can be made."""

    def __init__(self, check: str) -> None:
        self.check = check
        super().__init__(check)


class Examination:
    """All checks, in their order. Each verdict is told as soon as it is known, and kept."""

    def __init__(self, connection: Connection, *, mint: bool, tell: Callable[[Verdict], None]) -> None:
        self._connection = attrs.evolve(connection, read_timeout=min(connection.read_timeout, STEP_SECONDS))
        self._mint = mint
        self._tell = tell
        self.verdicts: list[Verdict] = []

    async def run(self) -> None:
        """Make every check that can be made, and skip the others."""
        from truecaller_async.cli.surroundings import configuration_of
        from truecaller_async.cli.verdicts import skipped

        try:
            await self._checks(configuration_of(self._connection))
        except _Stopped as stopped:
            for check in CHECKS[len(self.verdicts) :]:
                self._note(skipped(check, stopped.check))

    async def _checks(self, facts: Configuration) -> None:
        client = self._client(facts)
        if client is None:
            await self._way(facts.base_url)
            raise _Stopped("configuration")
        async with client:
            status = await self._state(client, facts)
            await self._way(facts.base_url)
            if status is None:
                raise _Stopped("configuration")
            self._demand(await self._credentials(client, status))
            self._note(await self._labels(client))

    def _client(self, facts: Configuration) -> TruecallerClient | None:
        """The client of this configuration; None, and the verdict, where it makes none."""
        from truecaller_async.cli.verdicts import of_configuration, of_error

        verdict = of_configuration(facts)
        if not verdict.has_passed:
            self._note(verdict)
            return None
        try:
            return self._connection.client().with_options(retry=TWICE)
        except TruecallerError as error:
            self._note(of_error("configuration", error))
            return None

    async def _state(self, client: TruecallerClient, facts: Configuration) -> TokenStatus | None:
        """What the state holds; None where it cannot be read. Either way the verdict on the configuration."""
        from truecaller_async.cli.verdicts import of_configuration, of_error

        try:
            status = await client.tokens.status()
        except TruecallerError as error:
            self._note(of_error("configuration", error))
            return None
        self._note(of_configuration(facts))
        return status

    async def _way(self, base_url: str) -> None:
        """Name, proxy, connection, service."""
        from truecaller_async.cli import verdicts
        from truecaller_async.transport import probe

        target = probe.target_of(base_url)
        if isinstance(target, probe.Failed):
            self._demand(verdicts.of_target(target))
            return
        proxy = probe.proxy_for(base_url)
        addresses = await probe.resolve(target, STEP_SECONDS)
        self._demand(verdicts.of_names(target, addresses, has_proxy=isinstance(proxy, probe.Proxy)))
        self._demand(verdicts.of_proxy(target, proxy))
        through = proxy if isinstance(proxy, probe.Proxy) else None
        handshake = await probe.shake_hands(target, STEP_SECONDS, proxy=through)
        self._demand(verdicts.of_connection(target, handshake, _now()))
        self._demand(verdicts.of_service(await probe.knock(base_url, STEP), _now()))

    async def _credentials(self, client: TruecallerClient, status: TokenStatus) -> Verdict:
        from truecaller_async.cli import verdicts

        stored = None if self._mint else verdicts.of_stored_token(status)
        if stored is not None:
            return stored
        try:
            return verdicts.of_made_token(await _in_time(client.tokens.make()))
        except TruecallerError as error:
            return verdicts.of_error("credentials", error)

    async def _labels(self, client: TruecallerClient) -> Verdict:
        from truecaller_async.cli.verdicts import of_labels

        try:
            page = await _in_time(_one_page(client))
        except TruecallerError as error:
            return of_labels(error)
        return of_labels(page, is_whole=page < LABELS_ASKED)

    def _note(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)
        self._tell(verdict)

    def _demand(self, verdict: Verdict) -> None:
        self._note(verdict)
        if not verdict.has_passed:
            raise _Stopped(verdict.check)


async def _one_page(client: TruecallerClient) -> int:
    return len((await client.labels.list(limit=LABELS_ASKED)).items)


async def _in_time(work: Awaitable[Found]) -> Found:
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await work
    except TimeoutError:
        raise DeadlineExceeded(f"no answer came within {CALL_SECONDS:g} s", sent="maybe") from None


def _now() -> datetime:
    return datetime.fromtimestamp(Clock().wall(), UTC)
