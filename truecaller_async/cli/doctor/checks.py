"""What the doctor says of what it found: each check is ok, warn, fail or skipped, with a sentence and what to do.

Every judgement is a function of facts. Gathering them is the `doctor`'s work.
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

CheckState: TypeAlias = Literal["ok", "warn", "fail", "skipped"]

DAYS_LEFT_MIN = 14
SKEW_MAX = 30.0
"""Seconds that our clock and the server's may differ."""
ADDRESSES_SHOWN = 3
MINT_COST = "--mint tries it, at the cost of one of the ten tokens that may be made in 30 minutes"
MISSING_ADVICE = (
    "Set each, or the same name with _FILE to the path of a file that holds it; the values are on the console page "
    "'Manage API Keys'. No account yet? Try: truecaller sandbox"
)
CLOCK_MATTERS = (
    "Set the clock of this machine: starts_at and ends_at of a record are judged by the server's clock, "
    "and the life of a token is counted by ours."
)


@attrs.frozen
class StateFile:
    """The file of tokens: its permissions, None where it is not there yet, and whether it can be written."""

    path: str
    mode: int | None
    is_writable: bool


@attrs.frozen
class Configuration:
    """Names of variables, and where they lead; no value of a credential.

    `credentials` are those that are read, `missing` those that are not set, `settings` the other ones that are set,
    `strange` those that nothing reads. `state` is None where tokens are not kept in a file.
    """

    credentials: tuple[str, ...]
    missing: tuple[str, ...]
    settings: tuple[str, ...]
    strange: tuple[str, ...]
    base_url: str
    base_url_from: str
    state: StateFile | None


@attrs.frozen
class CheckResult:
    """One check: what was found, and what to do about it. `code` is the exit code that a failure asks for."""

    check: str
    state: CheckState
    said: str
    advice: str | None = None
    code: int = ExitCode.DONE

    @property
    def has_passed(self) -> bool:
        """Whether later checks can build on it."""
        return self.state in ("ok", "warn")


def exit_for(verdicts: Sequence[CheckResult]) -> int:
    """The code of the first failure: the cause of those after it."""
    return next((verdict.code for verdict in verdicts if verdict.state == "fail"), int(ExitCode.DONE))


def skipped(check: str, because: str) -> CheckResult:
    """A check that needs another one to have passed."""
    return CheckResult(check, "skipped", f"needs the check of the {because}")


def of_error(check: str, error: TruecallerError) -> CheckResult:
    """A check that the library ended with an error."""
    return CheckResult(check, "fail", message_of(error), advice_for(error), exit_for_error(error))


def of_configuration(facts: Configuration) -> CheckResult:
    """Whether everything is there that a client needs, and where it comes from; never what it is."""
    if facts.missing:
        said = f"{_listed(facts.missing)} {'is' if len(facts.missing) == 1 else 'are'} not set"
        return CheckResult("configuration", "fail", said, MISSING_ADVICE, ExitCode.CONFIG)
    state = facts.state
    if state is not None and not state.is_writable:
        said = f"the state file {state.path} cannot be written by this user"
        return CheckResult(
            "configuration", "fail", said, "Correct its permissions, or name another with --state.", ExitCode.CONFIG
        )
    said = f"credentials from {_listed(facts.credentials)}; server {facts.base_url} ({facts.base_url_from})"
    if facts.settings:
        said = f"{said}; also set: {_listed(facts.settings)}"
    said = f"{said}; {'tokens are kept in memory only' if state is None else _kept(state)}"
    if facts.strange:
        advice = f"Nothing reads {_listed(facts.strange)}; look for a slip of the pen."
        return CheckResult("configuration", "warn", said, advice)
    return CheckResult("configuration", "ok", said)


def _kept(state: StateFile) -> str:
    mode = "not there yet" if state.mode is None else f"mode {state.mode:o}"
    return f"tokens are kept in {state.path} ({mode})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def of_target(found: ProbeFailure) -> CheckResult:
    """The base URL names no server."""
    advice = "Write TRUECALLER_BASE_URL as https://host, or leave it unset."
    return CheckResult("name", "fail", f"TRUECALLER_BASE_URL cannot be used: {found.why}", advice, ExitCode.CONFIG)


def of_names(target: ProbeTarget, found: tuple[str, ...] | ProbeFailure, *, has_proxy: bool) -> CheckResult:
    """Whether the host has an address. Behind a proxy it is the proxy that must know it."""
    if found == (target.host,):
        return CheckResult("name", "ok", f"{target.host} is an address; there is no name to look up")
    if not isinstance(found, ProbeFailure):
        more = len(found) - ADDRESSES_SHOWN
        shown = ", ".join(found[:ADDRESSES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return CheckResult("name", "ok", f"{target.host} is {shown}")
    said = f"{target.host}: {found.why}"
    if has_proxy:
        return CheckResult(
            "name", "warn", said, "Nothing, if the next checks pass: the proxy looks the name up itself."
        )
    advice = "Check TRUECALLER_BASE_URL, and the resolver of this machine."
    return CheckResult("name", "fail", said, advice, ExitCode.UNREACHABLE)


def of_proxy(target: ProbeTarget, found: ProbeProxy | ProbeFailure | None) -> CheckResult:
    """Which proxy requests go through."""
    if isinstance(found, ProbeFailure):
        return CheckResult("proxy", "fail", found.why, "Correct the variable, or unset it.", ExitCode.CONFIG)
    if found is not None:
        return CheckResult("proxy", "ok", f"requests go through {found.shown}, says {found.source}")
    why = "never for this machine itself" if target.is_loopback else "the environment names none for this host"
    return CheckResult("proxy", "ok", f"none: {why}")


def of_connection(target: ProbeTarget, found: Handshake | ProbeFailure, now: datetime) -> CheckResult:
    """Whether a connection can be had, and how long its certificate still holds."""
    place = f"{target.host} port {target.port}"
    if isinstance(found, ProbeFailure):
        return CheckResult(
            "connection", "fail", f"{place}: {found.why}", _connection_advice(found), ExitCode.UNREACHABLE
        )
    if not target.is_tls:
        where = "on this machine" if target.is_loopback else "readable by everybody on the way"
        return CheckResult("connection", "ok", f"{place} answers; plain HTTP, {where}")
    said = f"{place}: {found.protocol}, certificate from {printable(found.issuer or 'an unnamed issuer')}"
    if found.expires is None:
        return CheckResult("connection", "ok", said)
    days = (found.expires - now).days
    said = f"{said}, {counted(days, 'day')} left"
    if days < DAYS_LEFT_MIN:
        return CheckResult(
            "connection", "warn", said, "Look out for a new certificate; when this one ends nothing is sent."
        )
    return CheckResult("connection", "ok", said)


def of_service(found: ProbeAnswer | ProbeFailure, now: datetime) -> CheckResult:
    """Whether HTTP is spoken, and what the server's clock says. Any status will do: nobody asked for anything."""
    if isinstance(found, ProbeFailure):
        advice = "Check the proxy and the firewall: a connection can be had, and no answer comes over it."
        return CheckResult("service", "fail", found.why, advice, ExitCode.UNREACHABLE)
    said = f"answers (HTTP {found.status} to a request without a token)"
    if found.location is not None:
        said = f"{said}, and points to {printable(found.location)}"
        return CheckResult("service", "warn", said, "Redirects are never followed; check TRUECALLER_BASE_URL.")
    if found.status >= 500:
        return CheckResult(
            "service", "warn", said, "The service, or a gateway before it, has a fault; try again later."
        )
    if found.date is None:
        return CheckResult("service", "ok", f"{said}; it does not tell its time, so the clocks were not compared")
    ahead = (now - found.date).total_seconds()
    if abs(ahead) > SKEW_MAX:
        word = "ahead of" if ahead > 0 else "behind"
        return CheckResult("service", "warn", f"{said}; our clock is {duration(abs(ahead))} {word} its", CLOCK_MATTERS)
    return CheckResult("service", "ok", f"{said}; its clock and ours agree")


def of_stored_token(status: TokenStatus) -> CheckResult | None:
    """Whether there is a token to use; then the key itself is not tried. None where one must be made."""
    free = [token for token in status.tokens if token.used_by != "other"]
    if not free:
        return None
    age = duration(max(token.age for token in free))
    return CheckResult(
        "credentials", "ok", f"a stored token, {age} old, is used; the key itself was not tried ({MINT_COST})"
    )


def of_made_token(token_id: str | None) -> CheckResult:
    """A token was made, or there are as many as may be."""
    if token_id is None:
        said = "the key was not tried: as many tokens are live as TRUECALLER_MAX_TOKENS allows"
        return CheckResult("credentials", "warn", said, "Allow one more with --tokens, or wait until one expires.")
    return CheckResult("credentials", "ok", "the key was taken, and a token was made; it is kept for the next commands")


def of_labels(found: int | TruecallerError, *, is_whole: bool = True) -> CheckResult:
    """How many labels there are to show; a key may do without the right to list them."""
    if isinstance(found, Forbidden):
        said = "forbidden: the key may not list labels"
        advice = "Records can be pushed all the same, if you know the id of a label; else ask the administrator."
        return CheckResult("labels", "warn", said, advice)
    if isinstance(found, TruecallerError):
        return of_error("labels", found)
    if found == 0:
        return CheckResult("labels", "warn", "the account has none", "Make a dynamic label in the console.")
    return CheckResult("labels", "ok", f"{counted(found, 'dynamic label')}{'' if is_whole else ' or more'}")


def _connection_advice(found: ProbeFailure) -> str:
    if "certificate" in found.why:
        return "If a proxy of your own opens TLS, name its certificates in SSL_CERT_FILE; else do not go on."
    return "Check TRUECALLER_BASE_URL, the firewall and the proxy."
