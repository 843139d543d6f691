"""Results of the checks of the doctor: ok, warn, fail or skipped, with a message and advice.

Every function here is pure: it takes facts and returns a result. `commands.doctor` collects the facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from truecaller_async.cli.error_messages import advice_for, message_of
from truecaller_async.cli.exit_codes import ExitCode, exit_for_error
from truecaller_async.cli.formatting import counted, duration, printable
from truecaller_async.errors import Forbidden, TruecallerError
from truecaller_async.models.tokens import TokenStatus
from truecaller_async.transport.diagnostics import Handshake, ProbeAnswer, ProbeFailure, ProbeProxy, ProbeTarget

CheckStatus: TypeAlias = Literal["ok", "warn", "fail", "skipped"]

CERTIFICATE_DAYS_MIN = 14
CLOCK_DIFFERENCE_MAX_SECONDS = 30.0
ADDRESSES_MAX = 3
SERVER_ERROR_STATUS = 500
MINT_COST = "--mint tries it, and mints one of the ten tokens that are allowed in 30 minutes"
MISSING_ADVICE = (
    "Set each variable, or the same name with _FILE to the path of a file that contains the value. The values are on "
    "the console page 'Manage API Keys'. To try it without an account, run: truecaller sandbox"
)
CLOCK_ADVICE = (
    "Set the clock of this machine. The server's clock decides whether the window of a record is open, "
    "and the local clock decides when a token expires."
)


@attrs.frozen
class StateFile:
    """The file in which tokens are kept."""

    path: str
    """Path of the file."""
    mode: int | None
    """Permission bits; None if the file does not exist."""
    is_writable: bool
    """This user can write the file, or create it."""


@attrs.frozen
class Configuration:
    """Names of environment variables, and what they configure; no value of a credential."""

    credentials: tuple[str, ...]
    """Variables from which credentials are read."""
    missing: tuple[str, ...]
    """Credentials that are not set."""
    settings: tuple[str, ...]
    """Other variables that are set."""
    unknown: tuple[str, ...]
    """Variables with the prefix TRUECALLER_ that nothing reads."""
    base_url: str
    """URL of the server."""
    base_url_from: str
    """Where the URL comes from: the variable, or the default."""
    state_file: StateFile | None
    """The state file; None if tokens are not kept in a file."""


@attrs.frozen
class CheckResult:
    """Result of one check."""

    check: str
    """Name of the check."""
    status: CheckStatus
    """Whether the check passed."""
    message: str
    """What was found."""
    advice: str | None = None
    """What to do; None if there is nothing to do."""
    code: int = ExitCode.DONE
    """Exit code of the command if this is the first check that failed."""

    @property
    def has_passed(self) -> bool:
        """Return whether later checks can be made."""
        return self.status in ("ok", "warn")


def exit_for(results: Sequence[CheckResult]) -> int:
    """Return the exit code of the first check that failed; it is the cause of later failures."""
    return next((result.code for result in results if result.status == "fail"), int(ExitCode.DONE))


def skipped(check: str, failed_check: str) -> CheckResult:
    """Return the result of a check that was not made because an earlier check failed."""
    return CheckResult(check, "skipped", f"not checked, because the check '{failed_check}' failed")


def of_error(check: str, error: TruecallerError) -> CheckResult:
    """Return the result of a check that ended with an error."""
    return CheckResult(check, "fail", message_of(error), advice_for(error), exit_for_error(error))


def of_configuration(facts: Configuration) -> CheckResult:
    """Check that credentials are set and the state file is writable; report the origin of settings."""
    if facts.missing:
        message = f"{_listed(facts.missing)} {'is' if len(facts.missing) == 1 else 'are'} not set"
        return CheckResult("configuration", "fail", message, MISSING_ADVICE, ExitCode.CONFIG)
    state_file = facts.state_file
    if state_file is not None and not state_file.is_writable:
        message = f"the state file {state_file.path} cannot be written by this user"
        advice = "Correct its permissions, or name another file with --state."
        return CheckResult("configuration", "fail", message, advice, ExitCode.CONFIG)
    parts = [f"credentials from {_listed(facts.credentials)}", f"server {facts.base_url} ({facts.base_url_from})"]
    if facts.settings:
        parts.append(f"also set: {_listed(facts.settings)}")
    parts.append("tokens are kept in memory only" if state_file is None else _state_file_text(state_file))
    message = "; ".join(parts)
    if facts.unknown:
        variables = "variable" if len(facts.unknown) == 1 else "variables"
        advice = f"Unknown {variables} {_listed(facts.unknown)}; check the spelling."
        return CheckResult("configuration", "warn", message, advice)
    return CheckResult("configuration", "ok", message)


def _state_file_text(state_file: StateFile) -> str:
    mode = "does not exist yet" if state_file.mode is None else f"mode {state_file.mode:o}"
    return f"tokens are kept in {state_file.path} ({mode})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def of_target(found: ProbeFailure) -> CheckResult:
    """Return the failure of a base URL that names no server."""
    advice = "Write TRUECALLER_BASE_URL as https://host, or unset it."
    return CheckResult("name", "fail", f"TRUECALLER_BASE_URL cannot be used: {found.why}", advice, ExitCode.CONFIG)


def of_names(target: ProbeTarget, found: tuple[str, ...] | ProbeFailure, *, has_proxy: bool) -> CheckResult:
    """Check that the host name has an address; only a warning if a proxy resolves it."""
    if found == (target.host,):
        return CheckResult("name", "ok", f"{target.host} is an address; there is no name to resolve")
    if not isinstance(found, ProbeFailure):
        more = len(found) - ADDRESSES_MAX
        shown = ", ".join(found[:ADDRESSES_MAX]) + (f" and {more} more" if more > 0 else "")
        return CheckResult("name", "ok", f"{target.host} is {shown}")
    message = f"{target.host}: {found.why}"
    if has_proxy:
        advice = "Nothing to do if the next checks pass: the proxy resolves the name."
        return CheckResult("name", "warn", message, advice)
    advice = "Check TRUECALLER_BASE_URL and the DNS settings of this machine."
    return CheckResult("name", "fail", message, advice, ExitCode.UNREACHABLE)


def of_proxy(target: ProbeTarget, found: ProbeProxy | ProbeFailure | None) -> CheckResult:
    """Report which proxy is used."""
    if isinstance(found, ProbeFailure):
        return CheckResult("proxy", "fail", found.why, "Correct the variable, or unset it.", ExitCode.CONFIG)
    if found is not None:
        return CheckResult("proxy", "ok", f"requests use the proxy {found.shown} (from {found.source})")
    reason = (
        "this machine is never reached through one" if target.is_loopback else "no variable names one for this host"
    )
    return CheckResult("proxy", "ok", f"no proxy: {reason}")


def of_connection(target: ProbeTarget, found: Handshake | ProbeFailure, now: datetime) -> CheckResult:
    """Check that a connection is possible, and for how long the certificate is valid."""
    address = f"{target.host} port {target.port}"
    if isinstance(found, ProbeFailure):
        message = f"{address}: {found.why}"
        return CheckResult("connection", "fail", message, _connection_advice(found), ExitCode.UNREACHABLE)
    if not target.is_tls:
        warning = "on this machine" if target.is_loopback else "not encrypted"
        return CheckResult("connection", "ok", f"{address} accepts connections; plain HTTP, {warning}")
    message = f"{address}: {found.protocol}, certificate from {printable(found.issuer or 'an unnamed issuer')}"
    if found.expires is None:
        return CheckResult("connection", "ok", message)
    days = (found.expires - now).days
    message = f"{message}, {counted(days, 'day')} left"
    if days < CERTIFICATE_DAYS_MIN:
        advice = "The server needs a new certificate; nothing can be sent after this one has expired."
        return CheckResult("connection", "warn", message, advice)
    return CheckResult("connection", "ok", message)


def of_service(found: ProbeAnswer | ProbeFailure, now: datetime) -> CheckResult:
    """Check that an HTTP answer comes, with any status below 500, and that the clocks agree within 30 s."""
    if isinstance(found, ProbeFailure):
        advice = "Check the proxy and the firewall: a connection is possible, but no answer comes."
        return CheckResult("service", "fail", found.why, advice, ExitCode.UNREACHABLE)
    message = f"answers (HTTP {found.status} to a request without a token)"
    if found.location is not None:
        message = f"{message}, with a redirect to {printable(found.location)}"
        return CheckResult("service", "warn", message, "Redirects are never followed; check TRUECALLER_BASE_URL.")
    if found.status >= SERVER_ERROR_STATUS:
        return CheckResult("service", "warn", message, "The service, or a gateway before it, fails; try again later.")
    if found.date is None:
        return CheckResult("service", "ok", f"{message}; it sends no date, so the clocks were not compared")
    ahead_seconds = (now - found.date).total_seconds()
    if abs(ahead_seconds) > CLOCK_DIFFERENCE_MAX_SECONDS:
        direction = "ahead of" if ahead_seconds > 0 else "behind"
        difference = f"the local clock is {duration(abs(ahead_seconds))} {direction} the server's"
        return CheckResult("service", "warn", f"{message}; {difference}", CLOCK_ADVICE)
    return CheckResult("service", "ok", f"{message}; the local and the server's clock agree")


def of_stored_token(status: TokenStatus) -> CheckResult | None:
    """Return the result if a stored token can be used; None if a token must be minted."""
    usable = [token for token in status.tokens if token.used_by != "other"]
    if not usable:
        return None
    age = duration(max(token.age for token in usable))
    message = f"a stored token, {age} old, is used; the key itself was not tested ({MINT_COST})"
    return CheckResult("credentials", "ok", message)


def of_minted_token(token_id: str | None) -> CheckResult:
    """Return the result of minting a token; `token_id` is None if the maximum number of tokens is live."""
    if token_id is None:
        message = "the key was not tested: as many tokens are live as TRUECALLER_MAX_TOKENS allows"
        return CheckResult("credentials", "warn", message, "Allow one more with --tokens, or wait until one expires.")
    message = "the key was accepted and a token was minted; later commands use the token"
    return CheckResult("credentials", "ok", message)


def of_labels(found: int | TruecallerError, *, is_complete: bool = True) -> CheckResult:
    """Report the number of labels; a key without permission to list them is only a warning."""
    if isinstance(found, Forbidden):
        message = "forbidden: the key may not list labels"
        advice = "Records can be pushed anyway if you know the id of a label; otherwise ask the administrator."
        return CheckResult("labels", "warn", message, advice)
    if isinstance(found, TruecallerError):
        return of_error("labels", found)
    if found == 0:
        return CheckResult("labels", "warn", "the account has none", "Create a dynamic label in the console.")
    return CheckResult("labels", "ok", f"{counted(found, 'dynamic label')}{'' if is_complete else ' or more'}")


def _connection_advice(found: ProbeFailure) -> str:
    if "certificate" in found.why:
        return "If a proxy of your network inspects TLS, set SSL_CERT_FILE to its certificates; otherwise stop here."
    return "Check TRUECALLER_BASE_URL, the firewall and the proxy."
