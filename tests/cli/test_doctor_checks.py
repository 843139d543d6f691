"""Results of the checks of the doctor, without a network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from yarl import URL

from truecaller_async import errors
from truecaller_async.cli.doctor import checks
from truecaller_async.cli.doctor.checks import CheckResult, Configuration, StateFile
from truecaller_async.models.tokens import TokenInfo, TokenStatus
from truecaller_async.transport.diagnostics import Handshake, ProbeAnswer, ProbeFailure, ProbeProxy, ProbeTarget

NOW = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
TARGET = ProbeTarget("api.example", 443, True)
HERE = ProbeTarget("127.0.0.1", 8080, False)
PROXY = ProbeProxy(URL("http://user:hunter2@proxy.example:3128"), "HTTPS_PROXY")
GOOD = Configuration(
    ("TRUECALLER_CLIENT_ACCOUNT_ID", "TRUECALLER_KEY_ID", "TRUECALLER_API_KEY_FILE"),
    (),
    (),
    (),
    "https://api.example",
    "the default",
    StateFile("/state/state.db", 0o600, True),
)


def test_good_configuration_reports_the_origin_of_each_setting() -> None:
    result = checks.of_configuration(GOOD)
    assert result.status == "ok"
    assert "TRUECALLER_KEY_ID and TRUECALLER_API_KEY_FILE" in result.message
    assert "https://api.example (the default)" in result.message
    assert "/state/state.db (mode 600)" in result.message


def test_all_missing_variables_are_reported_together() -> None:
    result = checks.of_configuration(attrs.evolve(GOOD, missing=("A", "B", "C")))
    assert (result.status, result.message, result.code) == ("fail", "A, B and C are not set", 3)
    assert "_FILE" in (result.advice or "")


@pytest.mark.parametrize(
    ("state", "message"),
    [(None, "kept in memory only"), (StateFile("/s.db", None, True), "/s.db (does not exist yet)")],
)
def test_token_store_location_is_reported(state: StateFile | None, message: str) -> None:
    assert message in checks.of_configuration(attrs.evolve(GOOD, state_file=state)).message


def test_state_file_that_cannot_be_written_fails() -> None:
    result = checks.of_configuration(attrs.evolve(GOOD, state_file=StateFile("/s.db", 0o400, False)))
    assert (result.status, result.code) == ("fail", 3)


def test_unused_variable_is_a_warning() -> None:
    result = checks.of_configuration(attrs.evolve(GOOD, unknown=("TRUECALLER_APIKEY",), settings=("X",)))
    assert (result.status, result.has_passed) == ("warn", True)
    assert "TRUECALLER_APIKEY" in (result.advice or "")
    assert "also set: X" in result.message


def test_base_url_without_a_server_is_a_configuration_failure() -> None:
    result = checks.of_target(ProbeFailure("it is not a URL"))
    assert (result.check, result.status, result.code) == ("name", "fail", 3)


def test_only_some_addresses_are_listed_and_the_others_counted() -> None:
    result = checks.of_names(TARGET, ("1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"), has_proxy=False)
    assert (result.status, result.message) == ("ok", "api.example is 1.1.1.1, 2.2.2.2, 3.3.3.3 and 1 more")
    assert "no name to resolve" in checks.of_names(HERE, ("127.0.0.1",), has_proxy=False).message


def test_unresolvable_name_fails_unless_a_proxy_resolves_it() -> None:
    unknown = ProbeFailure("the name could not be resolved")
    assert checks.of_names(TARGET, unknown, has_proxy=False).code == 7
    assert checks.of_names(TARGET, unknown, has_proxy=True).status == "warn"


def test_proxy_is_shown_with_its_source_and_without_its_password() -> None:
    result = checks.of_proxy(TARGET, PROXY)
    assert (result.status, result.message) == ("ok", "requests use the proxy proxy.example:3128 (from HTTPS_PROXY)")
    assert checks.of_proxy(TARGET, None).message.startswith("no proxy: no variable")
    assert checks.of_proxy(HERE, None).message.startswith("no proxy: this machine")
    assert checks.of_proxy(TARGET, ProbeFailure("HTTPS_PROXY cannot be used")).code == 3


@pytest.mark.parametrize(
    ("days", "status", "message"), [(60, "ok", "60 days left"), (13, "warn", "13 days left"), (1, "warn", "1 day left")]
)
def test_certificate_that_expires_soon_is_a_warning(days: int, status: str, message: str) -> None:
    seen = Handshake("TLSv1.3", "Some Authority", NOW + timedelta(days=days, hours=1))
    result = checks.of_connection(TARGET, seen, NOW)
    assert result.status == status
    assert message in result.message
    assert "TLSv1.3, certificate from Some Authority" in result.message


def test_plain_http_is_reported() -> None:
    assert "plain HTTP, on this machine" in checks.of_connection(HERE, Handshake(), NOW).message
    away = checks.of_connection(ProbeTarget("api.example", 80, False), Handshake(), NOW)
    assert "not encrypted" in away.message


def test_failed_connection_exits_7_and_certificates_have_own_advice() -> None:
    refused = checks.of_connection(TARGET, ProbeFailure("connection refused"), NOW)
    untrusted = checks.of_connection(TARGET, ProbeFailure("the server's certificate was not accepted: expired"), NOW)
    assert (refused.status, refused.code, untrusted.code) == ("fail", 7, 7)
    assert "SSL_CERT_FILE" in (untrusted.advice or "")
    assert "SSL_CERT_FILE" not in (refused.advice or "")


@pytest.mark.parametrize("status", [200, 401, 404, 429])
def test_any_answer_means_the_service_was_reached(status: int) -> None:
    assert checks.of_service(ProbeAnswer(status, NOW), NOW).status == "ok"


@pytest.mark.parametrize(
    ("ahead", "status", "message"),
    [
        (0, "ok", "agree"),
        (30, "ok", "agree"),
        (-30, "ok", "agree"),
        (31, "warn", "ahead of"),
        (-3600, "warn", "behind"),
    ],
)
def test_clock_off_by_half_a_minute_is_a_warning(ahead: int, status: str, message: str) -> None:
    result = checks.of_service(ProbeAnswer(404, NOW), NOW + timedelta(seconds=ahead))
    assert result.status == status
    assert message in result.message
    assert (result.advice is not None) == (status == "warn")


def test_server_error_or_redirect_is_a_warning_and_missing_date_is_not() -> None:
    assert checks.of_service(ProbeAnswer(503, NOW), NOW).status == "warn"
    redirected = checks.of_service(ProbeAnswer(302, NOW, "https://x.example/\x1b[2J"), NOW)
    assert redirected.status == "warn"
    assert redirected.message.isprintable()
    assert "not compared" in checks.of_service(ProbeAnswer(200), NOW).message


def test_no_answer_exits_7() -> None:
    assert checks.of_service(ProbeFailure("the peer fell silent"), NOW).code == 7


def status_with(*users: str) -> TokenStatus:
    tokens = tuple(TokenInfo(f"token-{user}", 61.0, 3539.0, user) for user in users)  # type: ignore[arg-type]
    return TokenStatus(tokens, len(tokens), 10, 1800.0, 0.0)


def test_stored_token_is_used_and_key_is_reported_as_untested() -> None:
    result = checks.of_stored_token(status_with("other", "none"))
    assert result is not None
    assert (result.status, "--mint" in result.message, "1 min 1 s old" in result.message) == ("ok", True, True)


def test_token_of_another_process_is_not_used() -> None:
    assert checks.of_stored_token(status_with("other")) is None
    assert checks.of_stored_token(status_with()) is None


def test_minted_token_means_that_the_key_is_accepted() -> None:
    assert checks.of_minted_token("0123456789ab").status == "ok"
    assert checks.of_minted_token(None).status == "warn"


@pytest.mark.parametrize(
    ("found", "status", "message"),
    [
        (1, "ok", "1 dynamic label"),
        (4, "ok", "4 dynamic labels"),
        (0, "warn", "none"),
        (errors.Forbidden(403), "warn", "forbidden"),
    ],
)
def test_labels_are_counted(found: int | errors.TruecallerError, status: str, message: str) -> None:
    result = checks.of_labels(found)
    assert result.status == status
    assert message in result.message


def test_full_page_of_labels_is_reported_as_possibly_incomplete() -> None:
    assert checks.of_labels(1000, is_complete=False).message == "1,000 dynamic labels or more"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AuthenticationFailed(401), 3),
        (errors.ServerError(503), 7),
        (errors.TokenBudgetExhausted(NOW), 6),
        (errors.DeadlineExceeded("no answer came"), 6),
    ],
)
def test_error_is_a_failure_with_its_own_code_and_advice(error: errors.TruecallerError, code: int) -> None:
    assert checks.of_labels(error).code == code
    assert checks.of_error("credentials", error).status == "fail"


def test_server_messages_are_masked() -> None:
    assert "919812" not in checks.of_error("labels", errors.BadRequest(400, message="919812345678")).message


def test_exit_code_is_that_of_the_first_failure() -> None:
    ok, warn = CheckResult("a", "ok", ""), CheckResult("b", "warn", "")
    down, wrong = CheckResult("c", "fail", "", code=7), CheckResult("d", "fail", "", code=3)
    assert checks.exit_for([ok, warn, checks.skipped("x", "y")]) == 0
    assert checks.exit_for([ok, down, wrong]) == 7
    assert checks.exit_for([wrong, down]) == 3
