"""What the doctor says, judged by calling: no network."""

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
    verdict = checks.of_configuration(GOOD)
    assert verdict.state == "ok"
    assert "TRUECALLER_KEY_ID and TRUECALLER_API_KEY_FILE" in verdict.said
    assert "https://api.example (the default)" in verdict.said
    assert "/state/state.db (mode 600)" in verdict.said


def test_all_missing_variables_are_reported_together() -> None:
    verdict = checks.of_configuration(attrs.evolve(GOOD, missing=("A", "B", "C")))
    assert (verdict.state, verdict.said, verdict.code) == ("fail", "A, B and C are not set", 3)
    assert "_FILE" in (verdict.advice or "")


@pytest.mark.parametrize(
    ("state", "said"),
    [(None, "kept in memory only"), (StateFile("/s.db", None, True), "/s.db (not there yet)")],
)
def test_token_store_location_is_reported(state: StateFile | None, said: str) -> None:
    assert said in checks.of_configuration(attrs.evolve(GOOD, state=state)).said


def test_state_file_that_cannot_be_written_fails() -> None:
    verdict = checks.of_configuration(attrs.evolve(GOOD, state=StateFile("/s.db", 0o400, False)))
    assert (verdict.state, verdict.code) == ("fail", 3)


def test_unused_variable_is_a_warning() -> None:
    verdict = checks.of_configuration(attrs.evolve(GOOD, strange=("TRUECALLER_APIKEY",), settings=("X",)))
    assert (verdict.state, verdict.has_passed) == ("warn", True)
    assert "TRUECALLER_APIKEY" in (verdict.advice or "")
    assert "also set: X" in verdict.said


def test_base_url_without_a_server_is_a_configuration_failure() -> None:
    verdict = checks.of_target(ProbeFailure("it is not a URL"))
    assert (verdict.check, verdict.state, verdict.code) == ("name", "fail", 3)


def test_only_some_addresses_are_listed_and_the_others_counted() -> None:
    verdict = checks.of_names(TARGET, ("1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"), has_proxy=False)
    assert (verdict.state, verdict.said) == ("ok", "api.example is 1.1.1.1, 2.2.2.2, 3.3.3.3 and 1 more")
    assert "no name to look up" in checks.of_names(HERE, ("127.0.0.1",), has_proxy=False).said


def test_unresolvable_name_fails_unless_a_proxy_resolves_it() -> None:
    unknown = ProbeFailure("the name could not be resolved")
    assert checks.of_names(TARGET, unknown, has_proxy=False).code == 7
    assert checks.of_names(TARGET, unknown, has_proxy=True).state == "warn"


def test_proxy_is_shown_with_its_source_and_without_its_password() -> None:
    verdict = checks.of_proxy(TARGET, PROXY)
    assert (verdict.state, verdict.said) == ("ok", "requests go through proxy.example:3128, says HTTPS_PROXY")
    assert checks.of_proxy(TARGET, None).said.startswith("none: the environment")
    assert checks.of_proxy(HERE, None).said.startswith("none: never for this machine")
    assert checks.of_proxy(TARGET, ProbeFailure("HTTPS_PROXY cannot be used")).code == 3


@pytest.mark.parametrize(
    ("days", "state", "said"), [(60, "ok", "60 days left"), (13, "warn", "13 days left"), (1, "warn", "1 day left")]
)
def test_certificate_that_expires_soon_is_a_warning(days: int, state: str, said: str) -> None:
    seen = Handshake("TLSv1.3", "Some Authority", NOW + timedelta(days=days, hours=1))
    verdict = checks.of_connection(TARGET, seen, NOW)
    assert verdict.state == state
    assert said in verdict.said
    assert "TLSv1.3, certificate from Some Authority" in verdict.said


def test_plain_http_is_reported() -> None:
    assert "plain HTTP, on this machine" in checks.of_connection(HERE, Handshake(), NOW).said
    away = checks.of_connection(ProbeTarget("api.example", 80, False), Handshake(), NOW)
    assert "readable by everybody" in away.said


def test_failed_connection_exits_7_and_certificates_have_own_advice() -> None:
    refused = checks.of_connection(TARGET, ProbeFailure("connection refused"), NOW)
    untrusted = checks.of_connection(TARGET, ProbeFailure("the server's certificate was not accepted: expired"), NOW)
    assert (refused.state, refused.code, untrusted.code) == ("fail", 7, 7)
    assert "SSL_CERT_FILE" in (untrusted.advice or "")
    assert "SSL_CERT_FILE" not in (refused.advice or "")


@pytest.mark.parametrize("status", [200, 401, 404, 429])
def test_any_answer_means_the_service_was_reached(status: int) -> None:
    assert checks.of_service(ProbeAnswer(status, NOW), NOW).state == "ok"


@pytest.mark.parametrize(
    ("ahead", "state", "said"),
    [
        (0, "ok", "agree"),
        (30, "ok", "agree"),
        (-30, "ok", "agree"),
        (31, "warn", "ahead of"),
        (-3600, "warn", "behind"),
    ],
)
def test_clock_off_by_half_a_minute_is_a_warning(ahead: int, state: str, said: str) -> None:
    verdict = checks.of_service(ProbeAnswer(404, NOW), NOW + timedelta(seconds=ahead))
    assert verdict.state == state
    assert said in verdict.said
    assert (verdict.advice is not None) == (state == "warn")


def test_server_error_or_redirect_is_a_warning_and_missing_date_is_not() -> None:
    assert checks.of_service(ProbeAnswer(503, NOW), NOW).state == "warn"
    redirected = checks.of_service(ProbeAnswer(302, NOW, "https://x.example/\x1b[2J"), NOW)
    assert redirected.state == "warn"
    assert redirected.said.isprintable()
    assert "not compared" in checks.of_service(ProbeAnswer(200), NOW).said


def test_no_answer_exits_7() -> None:
    assert checks.of_service(ProbeFailure("the peer fell silent"), NOW).code == 7


def status_with(*users: str) -> TokenStatus:
    tokens = tuple(TokenInfo(f"token-{user}", 61.0, 3539.0, user) for user in users)  # type: ignore[arg-type]
    return TokenStatus(tokens, len(tokens), 10, 1800.0, 0.0)


def test_stored_token_is_used_and_key_is_reported_as_untested() -> None:
    verdict = checks.of_stored_token(status_with("other", "none"))
    assert verdict is not None
    assert (verdict.state, "--mint" in verdict.said, "1 min 1 s old" in verdict.said) == ("ok", True, True)


def test_token_of_another_process_is_not_used() -> None:
    assert checks.of_stored_token(status_with("other")) is None
    assert checks.of_stored_token(status_with()) is None


def test_minted_token_means_that_the_key_is_accepted() -> None:
    assert checks.of_made_token("0123456789ab").state == "ok"
    assert checks.of_made_token(None).state == "warn"


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (1, "ok", "1 dynamic label"),
        (4, "ok", "4 dynamic labels"),
        (0, "warn", "none"),
        (errors.Forbidden(403), "warn", "forbidden"),
    ],
)
def test_labels_are_counted(found: int | errors.TruecallerError, state: str, said: str) -> None:
    verdict = checks.of_labels(found)
    assert verdict.state == state
    assert said in verdict.said


def test_full_page_of_labels_is_reported_as_possibly_incomplete() -> None:
    assert checks.of_labels(1000, is_whole=False).said == "1,000 dynamic labels or more"


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
    assert checks.of_error("credentials", error).state == "fail"


def test_server_messages_are_masked() -> None:
    assert "919812" not in checks.of_error("labels", errors.BadRequest(400, message="919812345678")).said


def test_exit_code_is_that_of_the_first_failure() -> None:
    ok, warn = CheckResult("a", "ok", ""), CheckResult("b", "warn", "")
    down, wrong = CheckResult("c", "fail", "", code=7), CheckResult("d", "fail", "", code=3)
    assert checks.exit_for([ok, warn, checks.skipped("x", "y")]) == 0
    assert checks.exit_for([ok, down, wrong]) == 7
    assert checks.exit_for([wrong, down]) == 3
