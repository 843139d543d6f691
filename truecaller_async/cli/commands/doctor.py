"""Command `truecaller doctor`: check configuration, network and credentials, and give advice.

Algorithm:
    The checks follow the order of a request: configuration, name, proxy, connection, service, credentials, labels. A
    check that needs a failed one is skipped. Each step takes at most 10 s, each API call at most 30 s.
    A live token from the state file is used instead of minting one, because ten may be minted in 30 minutes and the
    doctor is run repeatedly. Then the key itself is not tested, and the result says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from truecaller_async.cli.account_options import AccountOptions, account_options
from truecaller_async.clock import Clock
from truecaller_async.errors import DeadlineExceeded, TruecallerError
from truecaller_async.options import RetryPolicy, Timeouts

if TYPE_CHECKING:
    from truecaller_async.cli.doctor.checks import CheckResult, Configuration
    from truecaller_async.client import TruecallerClient
    from truecaller_async.models.tokens import TokenStatus

# Modules that import aiohttp are imported inside the functions, so that --help stays fast.

Answer = TypeVar("Answer")

CHECKS = ("configuration", "name", "proxy", "connection", "service", "credentials", "labels")
STEP_SECONDS = 10.0
"""Longest time of one step."""
CALL_SECONDS = 30.0
"""Longest time of one API call, with its retry."""

STEP_TIMEOUTS = Timeouts(connect=STEP_SECONDS, read=STEP_SECONDS)
ONE_RETRY = RetryPolicy(attempts=2, total=CALL_SECONDS / 2)
"""A stored token may have been revoked; the second attempt uses a new one."""

LABELS_PER_PAGE = 1000


@click.command()
@click.option(
    "--mint", is_flag=True, help="Test the key even if there is a token; mints one of ten tokens in 30 minutes."
)
@account_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(mint: bool, as_json: bool, **params: Any) -> None:
    """Check the configuration, the network and the credentials.

    Exits with 0 if no check failed, otherwise with the code of the first check that failed: with 3 for the
    configuration or the credentials; with 5 if the service refuses a call for another reason; with 6 for a limit, a
    used-up mint limit or a timeout; with 7 if the service is not reached or gives no usable answer.
    """
    from truecaller_async.cli.doctor.checks import exit_for
    from truecaller_async.cli.doctor.output import DoctorOutput, JsonOutput, TextOutput

    output: DoctorOutput = JsonOutput() if as_json else TextOutput()
    checks = Doctor(AccountOptions.pop_from(params), mint=mint, on_result=output.add)
    asyncio.run(checks.run())
    output.finish(checks.results)
    click.get_current_context().exit(exit_for(checks.results))


class _CheckFailed(Exception):
    """A check failed, and no later one can be made."""

    def __init__(self, check: str) -> None:
        self.check = check
        super().__init__(check)


class Doctor:
    """Makes all checks in order, and passes each result to `on_result` as soon as it is known."""

    def __init__(self, account: AccountOptions, *, mint: bool, on_result: Callable[[CheckResult], None]) -> None:
        self._account = attrs.evolve(account, read_timeout=min(account.read_timeout, STEP_SECONDS))
        self._mint = mint
        self._on_result = on_result
        self.results: list[CheckResult] = []

    async def run(self) -> None:
        """Make every check that can be made, and skip the others."""
        from truecaller_async.cli.doctor.checks import skipped
        from truecaller_async.cli.doctor.environment import read_environment

        try:
            await self._run_checks(read_environment(self._account))
        except _CheckFailed as failed:
            for check in CHECKS[len(self.results) :]:
                self._add(skipped(check, failed.check))

    async def _run_checks(self, facts: Configuration) -> None:
        client = self._client(facts)
        if client is None:
            await self._check_network(facts.base_url)
            raise _CheckFailed("configuration")
        async with client:
            status = await self._token_status(client, facts)
            await self._check_network(facts.base_url)
            if status is None:
                raise _CheckFailed("configuration")
            self._require(await self._credentials(client, status))
            self._add(await self._labels(client))

    def _client(self, facts: Configuration) -> TruecallerClient | None:
        """Return the client; None after adding the failure if the configuration is wrong."""
        from truecaller_async.cli.doctor.checks import of_configuration, of_error

        result = of_configuration(facts)
        if not result.has_passed:
            self._add(result)
            return None
        try:
            return self._account.client().with_options(retry=ONE_RETRY)
        except TruecallerError as error:
            self._add(of_error("configuration", error))
            return None

    async def _token_status(self, client: TruecallerClient, facts: Configuration) -> TokenStatus | None:
        """Read the stored tokens and add the result of the configuration; None if they cannot be read."""
        from truecaller_async.cli.doctor.checks import of_configuration, of_error

        try:
            status = await client.tokens.status()
        except TruecallerError as error:
            self._add(of_error("configuration", error))
            return None
        self._add(of_configuration(facts))
        return status

    async def _check_network(self, base_url: str) -> None:
        """Check name, proxy, connection and service."""
        from truecaller_async.cli.doctor import checks
        from truecaller_async.transport import diagnostics

        target = diagnostics.target_of(base_url)
        if isinstance(target, diagnostics.ProbeFailure):
            self._require(checks.of_target(target))
            return
        proxy = diagnostics.proxy_for(base_url)
        addresses = await diagnostics.resolve(target, STEP_SECONDS)
        self._require(checks.of_names(target, addresses, has_proxy=isinstance(proxy, diagnostics.ProbeProxy)))
        self._require(checks.of_proxy(target, proxy))
        through = proxy if isinstance(proxy, diagnostics.ProbeProxy) else None
        handshake = await diagnostics.tls_handshake(target, STEP_SECONDS, proxy=through)
        self._require(checks.of_connection(target, handshake, _now()))
        self._require(checks.of_service(await diagnostics.request_once(base_url, STEP_TIMEOUTS), _now()))

    async def _credentials(self, client: TruecallerClient, status: TokenStatus) -> CheckResult:
        from truecaller_async.cli.doctor import checks

        stored = None if self._mint else checks.of_stored_token(status)
        if stored is not None:
            return stored
        try:
            return checks.of_minted_token(await _within_call_limit(client.tokens.make()))
        except TruecallerError as error:
            return checks.of_error("credentials", error)

    async def _labels(self, client: TruecallerClient) -> CheckResult:
        from truecaller_async.cli.doctor.checks import of_labels

        try:
            count = await _within_call_limit(_label_count(client))
        except TruecallerError as error:
            return of_labels(error)
        return of_labels(count, is_complete=count < LABELS_PER_PAGE)

    def _add(self, result: CheckResult) -> None:
        self.results.append(result)
        self._on_result(result)

    def _require(self, result: CheckResult) -> None:
        self._add(result)
        if not result.has_passed:
            raise _CheckFailed(result.check)


async def _label_count(client: TruecallerClient) -> int:
    return len((await client.labels.list(limit=LABELS_PER_PAGE)).items)


async def _within_call_limit(call: Awaitable[Answer]) -> Answer:
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await call
    except TimeoutError:
        raise DeadlineExceeded(f"no answer came within {CALL_SECONDS:g} s", sent="maybe") from None


def _now() -> datetime:
    return datetime.fromtimestamp(Clock().wall(), UTC)
