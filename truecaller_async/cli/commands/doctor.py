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

from truecaller_async.cli.account_options import AccountOptions, connection_options
from truecaller_async.clock import Clock
from truecaller_async.errors import DeadlineExceeded, TruecallerError
from truecaller_async.options import RetryPolicy, Timeouts

if TYPE_CHECKING:
    from truecaller_async.cli.doctor.checks import CheckResult, Configuration
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
    from truecaller_async.cli.doctor.checks import exit_for
    from truecaller_async.cli.doctor.output import DoctorOutput, JsonOutput, TextOutput

    report: DoctorOutput = JsonOutput() if as_json else TextOutput()
    examination = Doctor(AccountOptions.out_of(given), mint=mint, tell=report.add)
    asyncio.run(examination.run())
    report.finish(examination.verdicts)
    click.get_current_context().exit(exit_for(examination.verdicts))


class _Stopped(Exception):
    """This check failed, and no later one can be made."""

    def __init__(self, check: str) -> None:
        self.check = check
        super().__init__(check)


class Doctor:
    """All checks, in their order. Each verdict is told as soon as it is known, and kept."""

    def __init__(self, connection: AccountOptions, *, mint: bool, tell: Callable[[CheckResult], None]) -> None:
        self._connection = attrs.evolve(connection, read_timeout=min(connection.read_timeout, STEP_SECONDS))
        self._mint = mint
        self._tell = tell
        self.verdicts: list[CheckResult] = []

    async def run(self) -> None:
        """Make every check that can be made, and skip the others."""
        from truecaller_async.cli.doctor.checks import skipped
        from truecaller_async.cli.doctor.environment import read_environment

        try:
            await self._checks(read_environment(self._connection))
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
        from truecaller_async.cli.doctor.checks import of_configuration, of_error

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
        from truecaller_async.cli.doctor.checks import of_configuration, of_error

        try:
            status = await client.tokens.status()
        except TruecallerError as error:
            self._note(of_error("configuration", error))
            return None
        self._note(of_configuration(facts))
        return status

    async def _way(self, base_url: str) -> None:
        """Name, proxy, connection, service."""
        from truecaller_async.cli.doctor import checks
        from truecaller_async.transport import diagnostics

        target = diagnostics.target_of(base_url)
        if isinstance(target, diagnostics.ProbeFailure):
            self._demand(checks.of_target(target))
            return
        proxy = diagnostics.proxy_for(base_url)
        addresses = await diagnostics.resolve(target, STEP_SECONDS)
        self._demand(checks.of_names(target, addresses, has_proxy=isinstance(proxy, diagnostics.ProbeProxy)))
        self._demand(checks.of_proxy(target, proxy))
        through = proxy if isinstance(proxy, diagnostics.ProbeProxy) else None
        handshake = await diagnostics.tls_handshake(target, STEP_SECONDS, proxy=through)
        self._demand(checks.of_connection(target, handshake, _now()))
        self._demand(checks.of_service(await diagnostics.request_once(base_url, STEP), _now()))

    async def _credentials(self, client: TruecallerClient, status: TokenStatus) -> CheckResult:
        from truecaller_async.cli.doctor import checks

        stored = None if self._mint else checks.of_stored_token(status)
        if stored is not None:
            return stored
        try:
            return checks.of_made_token(await _in_time(client.tokens.make()))
        except TruecallerError as error:
            return checks.of_error("credentials", error)

    async def _labels(self, client: TruecallerClient) -> CheckResult:
        from truecaller_async.cli.doctor.checks import of_labels

        try:
            page = await _in_time(_one_page(client))
        except TruecallerError as error:
            return of_labels(error)
        return of_labels(page, is_whole=page < LABELS_ASKED)

    def _note(self, verdict: CheckResult) -> None:
        self.verdicts.append(verdict)
        self._tell(verdict)

    def _demand(self, verdict: CheckResult) -> None:
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
