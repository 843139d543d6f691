"""`preflight`: each case of the fault catalogue, and properties over any input."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.models import CallRecord, Problem
from truecaller_async.redaction import masked
from truecaller_async.validation.field_predicates import LETTERS
from truecaller_async.validation.normalise import canonical
from truecaller_async.validation.record_rules import RULE_PAST, UNPRINTABLE, preflight
from truecaller_async.validation.timestamps import parse_time, utc

NOW = 1_752_760_800_000
HOUR = 3_600_000
LABEL = "c6d8a1b2-1111-4222-8333-abcdefabcdef"
GOOD = CallRecord(
    caller="911234567898",
    receiver="919234567898",
    starts_at=NOW,
    ends_at=NOW + 4 * HOUR,
    label_id=LABEL,
    label_name="Centro Bank",
    reason="Calling you for KYC verification",
    key="order-17",
)


def with_values(**values: Any) -> CallRecord:
    return attrs.evolve(GOOD, **values)


def problems(**values: Any) -> tuple[Problem, ...]:
    return preflight(with_values(**values), NOW)[1]


def rules(**values: Any) -> list[str]:
    return [problem.rule for problem in problems(**values)]


def only(**values: Any) -> Problem:
    (problem,) = problems(**values)
    return problem


def receiver_form(value: Any) -> str:
    formed, found = preflight(with_values(receiver=value), NOW)
    assert found == ()
    return formed.receiver


def test_valid_canonical_record_is_returned_unchanged() -> None:
    assert preflight(GOOD, NOW) == (GOOD, ())
    assert preflight(GOOD, NOW)[0] is GOOD
    assert canonical(GOOD) is GOOD


@pytest.mark.parametrize("reason", ["केवाईसी सत्यापन के लिए", "Ihr Rückruf über Weiß", "お客様への確認のお電話です"])
def test_valid_canonical_record_in_any_script_is_returned_unchanged(reason: str) -> None:
    record = with_values(reason=reason)
    formed, found = preflight(record, NOW)
    assert formed is record
    assert found == ()


def test_label_name_and_reason_are_optional_and_may_be_empty() -> None:
    formed, found = preflight(with_values(label_id="", label_name="", reason="", key=""), NOW)
    assert found == ()
    assert (formed.label_id, formed.label_name, formed.reason, formed.key) == (None, None, None, None)
    bare = CallRecord("911234567898", "919234567898", NOW, NOW + HOUR)
    assert preflight(bare, NOW) == (bare, ())


def test_seven_wrong_values_give_seven_problems() -> None:
    found = problems(
        caller="9.19877E+11",
        receiver="09876543210",
        label_id="none of mine",
        label_name="ab",
        reason="too short",
        starts_at=1_752_760_800,
        ends_at="2025-07-17 14:00",
    )
    assert [problem.field for problem in found] == [
        "caller",
        "receiver",
        "label_id",
        "label_name",
        "reason",
        "starts_at",
        "ends_at",
    ]


@pytest.mark.parametrize("other", [None, {}, "919876543210", 5, [GOOD]], ids=repr)
def test_value_that_is_no_record_is_one_problem(other: Any) -> None:
    form, (problem,) = preflight(other, NOW)
    assert form is other
    assert (problem.field, problem.rule) == ("record", "record.type")
    assert "CallRecord" in problem.hint


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"label_name": "ab"}, "add 1 or leave the field empty"),
        ({"label_name": "a" * 43}, "shorten it by 3"),
        ({"reason": "a" * 104}, "shorten it by 4"),
        ({"reason": "Delivery today!"}, "remove it: none of !@#"),
        ({"receiver": "911234"}, "missing or doubled"),
        ({"receiver": "nan"}, "'nan' means an empty cell; give the number with its country code"),
        ({"receiver": GOOD.caller}, "the number that is called"),
        ({"ends_at": NOW - 1, "starts_at": NOW - HOUR}, "in the future"),
        ({"ends_at": NOW + HOUR, "starts_at": NOW + HOUR}, "an end after the start"),
        ({"ends_at": NOW + 25 * HOUR}, "end it earlier"),
    ],
)
def test_every_hint_gives_advice(values: dict[str, Any], hint: str) -> None:
    assert hint in only(**values).hint


# Numbers


@pytest.mark.fault("B01")
@pytest.mark.parametrize("value", ["+919876543210", "919876543210"])
def test_leading_plus_is_ignored(value: str) -> None:
    assert receiver_form(value) == "919876543210"


@pytest.mark.fault("B02")
@pytest.mark.parametrize(
    "value",
    [
        "+91 98765-43210",
        "+91 (0) 98765 43210",
        "(91) 98765.43210",
        "91\N{NO-BREAK SPACE}9876543210",
        "91\N{NARROW NO-BREAK SPACE}98765\N{NON-BREAKING HYPHEN}43210",
        "\N{LEFT-TO-RIGHT MARK}+919876543210",
        "\N{LEFT-TO-RIGHT EMBEDDING}+919876543210\N{POP DIRECTIONAL FORMATTING}",
    ],
)
def test_separators_between_digits_are_removed(value: str) -> None:
    assert receiver_form(value) == "919876543210"


@pytest.mark.fault("B03")
def test_leading_double_zero_is_the_international_prefix() -> None:
    assert receiver_form("00919876543210") == "919876543210"
    assert receiver_form("00 91 98765 43210") == "919876543210"


@pytest.mark.fault("B04")
@pytest.mark.parametrize("value", ["09876543210", "9876543210", "7012345678", "(0)9876543210", "98765 43210"])
def test_national_number_is_refused_without_a_country_code(value: str) -> None:
    problem = only(receiver=value)
    assert problem.rule == "phone.country"
    assert "91 for India" in problem.hint


@pytest.mark.fault("B04")
@pytest.mark.parametrize("value", ["6581234567", "9607771234", "4712345678", "12025550123"])
def test_short_numbers_of_countries_that_have_them_are_accepted(value: str) -> None:
    assert receiver_form(value) == value


@pytest.mark.fault("B05")
@pytest.mark.parametrize(
    ("value", "script"),
    [("٩١٩٨٧٦٥٤٣٢١٠", "ARABIC-INDIC"), ("９１９８７６５４３２１０", "FULLWIDTH"), ("91987654321²", "SUPERSCRIPT")],  # noqa: RUF001
)
def test_digits_of_another_script_are_refused_and_the_script_is_named(value: str, script: str) -> None:
    problem = only(receiver=value)
    assert problem.rule == "phone.digits"
    assert script in problem.hint


@pytest.mark.fault("B06")
def test_trailing_line_end_is_never_sent() -> None:
    assert receiver_form("919876543210\n") == "919876543210"
    assert receiver_form("\r\n919876543210\r\n") == "919876543210"


@pytest.mark.fault("B06")
def test_line_break_inside_a_number_is_refused() -> None:
    problem = only(receiver="919876\n543210")
    assert problem.rule == "phone.digits"
    assert "quote" in problem.hint


@pytest.mark.fault("B07")
@pytest.mark.parametrize(
    ("digits", "found"), [(6, ["phone.length"]), (7, []), (15, []), (16, ["phone.length"]), (40, ["phone.length"])]
)
def test_number_has_7_to_15_digits(digits: int, found: list[str]) -> None:
    assert rules(receiver="4" * digits) == found


@pytest.mark.fault("B08")
@pytest.mark.parametrize(
    ("value", "rule", "hint"),
    [
        ("9.19877E+11", "phone.digits", "scientific"),
        ("9,19877e+11", "phone.digits", "scientific"),
        ("919876543210.0", "phone.digits", "decimal"),
        ("'919876543210", "phone.digits", "apostrophe"),
        ("-919876543210", "phone.digits", "negative"),
        ("nan", "phone.missing", "'nan'"),
        ("None", "phone.missing", "'None'"),
        ("-", "phone.missing", "'-'"),
        ("0000000000", "phone.digits", "zeros"),
        ("1-800-FLOWERS", "phone.digits", "'F' at position 5"),
        ("919876543210/919876543211", "phone.digits", "'/' at position 13"),
        ("()", "phone.digits", ""),
        ("", "phone.missing", ""),
        ("   ", "phone.missing", ""),
    ],
)
def test_each_kind_of_damaged_number_has_its_own_hint(value: str, rule: str, hint: str) -> None:
    problem = only(receiver=value)
    assert problem.rule == rule
    assert hint in problem.hint


@pytest.mark.fault("B09")
def test_caller_and_receiver_must_differ_in_canonical_form() -> None:
    assert rules(receiver="+91 12345 67898") == ["phone.same"]


class WholeNumber:
    """A numeric type of another library, such as those of numpy."""

    def __index__(self) -> int:
        return 919_876_543_210


@pytest.mark.fault("B10")
@pytest.mark.parametrize(
    "value", [919_876_543_210, Decimal(919_876_543_210), Decimal("9.1987654321E+11"), WholeNumber()]
)
def test_exact_integers_are_accepted_as_numbers(value: object) -> None:
    assert receiver_form(value).startswith("9198765432")


@pytest.mark.fault("B10")
@pytest.mark.parametrize(
    ("value", "rule", "hint"),
    [
        (919_876_543_210.0, "phone.type", "as text"),
        (float("nan"), "phone.missing", ""),
        (Decimal("NaN"), "phone.missing", ""),
        (Decimal("sNaN"), "phone.missing", ""),
        (Decimal("1E+999999"), "phone.type", "as text"),
        (Decimal("919876543210.5"), "phone.type", "as text"),
        (None, "phone.missing", ""),
        (b"919876543210", "phone.type", "decode"),
        (True, "phone.type", "as text"),
        (-919_876_543_210, "phone.type", "as text"),
        pytest.param(10**5000, "phone.type", "as text", id="5001 digits"),
        (["919876543210"], "phone.type", "as text"),
    ],
)
def test_values_of_other_types_are_refused_with_a_hint(value: object, rule: str, hint: str) -> None:
    problem = only(receiver=value)
    assert problem.rule == rule
    assert hint in problem.hint


# Texts


@pytest.mark.fault("B11")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ab", ["label_name.length"]),
        ("abc", []),
        ("a" * 40, []),
        ("a" * 41, ["label_name.length"]),
        (" Centro Bank", ["label_name.spaces"]),
        ("Centro Bank ", ["label_name.spaces"]),
        ("    ", ["label_name.spaces"]),
        ("Centro 🏦", []),
        ("Centro\N{RIGHT-TO-LEFT OVERRIDE}Bank", ["label_name.unprintable"]),
        ("Centro\nBank", ["label_name.unprintable"]),
        ("Centro\0Bank", ["label_name.unprintable"]),
        ("Centro\ud800Bank", ["label_name.unprintable"]),
        ("Centro\N{LINE SEPARATOR}Bank", ["label_name.unprintable"]),
        (b"Centro Bank", ["label_name.type"]),
        (17, ["label_name.type"]),
    ],
)
def test_label_name_rules(name: object, found: list[str]) -> None:
    assert rules(label_name=name) == found


@pytest.mark.fault("B11")
def test_name_is_measured_and_sent_in_composed_form() -> None:
    formed, found = preflight(with_values(label_name="e\N{COMBINING ACUTE ACCENT}" * 40), NOW)
    assert found == ()
    assert formed.label_name == "é" * 40


@pytest.mark.fault("B11")
def test_invisible_character_is_named_with_its_position() -> None:
    assert "U+202E at position 7" in only(label_name="Centro\N{RIGHT-TO-LEFT OVERRIDE}Bank").message


@pytest.mark.fault("B11")
def test_overlong_text_is_not_composed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composed: list[int] = []

    def compose(form: Any, text: str) -> str:
        composed.append(len(text))
        return text

    monkeypatch.setattr(unicodedata, "normalize", compose)
    monkeypatch.setattr(unicodedata, "is_normalized", lambda form, text: compose(form, text) == text)
    endless = "a" + "\N{COMBINING GRAVE ACCENT BELOW}\N{COMBINING ACUTE ACCENT}" * 5000
    assert rules(label_name=endless, reason=endless) == ["label_name.length", "reason.length"]
    assert max(composed, default=0) <= 1000


@pytest.mark.fault("B12")
@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("a" * 9, ["reason.length"]),
        ("a" * 10, []),
        ("a" * 100, []),
        ("a" * 101, ["reason.length"]),
        ("Delivery, no. 7-b today", []),
        (" Delivery today", ["reason.spaces"]),
        ("Delivery today ", ["reason.spaces"]),
        (" " * 12, ["reason.spaces"]),
        (3.5, ["reason.type"]),
    ],
)
def test_reason_rules(reason: object, found: list[str]) -> None:
    assert rules(reason=reason) == found


@pytest.mark.fault("B12")
@pytest.mark.parametrize("char", "!@#$%^&*()_+/")
@pytest.mark.parametrize("template", ["{}Delivery today", "Delivery {} today", "Delivery today{}"])
def test_forbidden_character_is_named_with_its_position(char: str, template: str) -> None:
    problem = only(reason=template.format(char))
    assert problem.rule == "reason.character"
    assert f"{char!r} at position {template.index('{') + 1}" in problem.message


@pytest.mark.fault("B12")
@pytest.mark.parametrize("char", ".,-")
def test_dot_comma_and_hyphen_are_allowed_only_inside(char: str) -> None:
    assert rules(reason=f"Delivery{char}today") == []
    assert "first" in only(reason=f"{char}Delivery today").message
    assert "last" in only(reason=f"Delivery today{char}").message


@pytest.mark.fault("B12")
def test_many_forbidden_characters_are_one_problem() -> None:
    assert "and 3 more" in only(reason="Delivery !!!!!!!! today").message


@pytest.mark.fault("B13")
@pytest.mark.parametrize(
    ("label_id", "form"),
    [
        (LABEL.upper(), LABEL),
        (f" {LABEL}\n", LABEL),
        (UUID(LABEL), LABEL),
        ("11111111-1111-4111-8111-111111111111", "11111111-1111-4111-8111-111111111111"),
        (float("nan"), None),
    ],
)
def test_label_ids_become_lower_case_uuids(label_id: object, form: str | None) -> None:
    formed, found = preflight(with_values(label_id=label_id), NOW)
    assert found == ()
    assert formed.label_id == form


@pytest.mark.fault("B13")
@pytest.mark.parametrize("label_id", ["{" + LABEL + "}", LABEL.replace("-", ""), f"urn:uuid:{LABEL}"])
def test_other_uuid_spellings_are_refused_with_the_right_spelling(label_id: str) -> None:
    problem = only(label_id=label_id)
    assert problem.rule == "label_id.uuid"
    assert "8-4-4-4-12" in problem.hint


@pytest.mark.fault("B13")
@pytest.mark.parametrize(
    ("label_id", "rule"),
    [
        ("gold", "label_id.uuid"),
        (LABEL + "0", "label_id.uuid"),
        (tuple(LABEL), "label_id.type"),
        (list(LABEL), "label_id.type"),
        (LABEL.encode(), "label_id.type"),
        (5, "label_id.type"),
    ],
)
def test_value_that_is_no_uuid_is_refused(label_id: object, rule: str) -> None:
    assert rules(label_id=label_id) == [rule]


def test_key_may_be_an_integer_or_text_only() -> None:
    assert preflight(with_values(key=17), NOW)[0].key == "17"
    assert rules(key=["17"]) == ["key.type"]


# Times


@pytest.mark.fault("B14")
@pytest.mark.parametrize(
    ("value", "rule", "hint"),
    [
        (1_752_760_800, "time.unit", "seconds (2025-07-17T14:00:00Z); multiply by 1000"),
        ("1752760800", "time.unit", "seconds"),
        (1_752_760_800_000_000, "time.unit", "microseconds; divide by 1000"),
        (1_752_760_800_000_000_000, "time.unit", "nanoseconds; divide by 1000000"),
        (1_752_760_800.5, "time.type", "int"),
        (0, "time.range", "13 digits"),
        (-1, "time.range", "13 digits"),
        (2**70, "time.range", "13 digits"),
        pytest.param(10**5000, "time.range", "13 digits", id="5001 digits"),
        (True, "time.type", "datetime"),
        (date(2025, 7, 17), "time.type", "datetime"),
        (b"1752760800000", "time.type", "datetime"),
        ("1.75276E+12", "time.format", "1752760800000"),
        ("tomorrow", "time.format", "1752760800000"),
        ("9" * 5000, "time.format", "1752760800000"),
        (None, "time.missing", "zone"),
        ("", "time.missing", "zone"),
        (float("nan"), "time.missing", "zone"),
    ],
)
def test_timestamp_in_another_unit_is_recognised(value: object, rule: str, hint: str) -> None:
    problem = parse_time(value, "starts_at")
    assert isinstance(problem, Problem)
    assert (problem.field, problem.rule) == ("starts_at", rule)
    assert hint in problem.hint


class NoOffset(tzinfo):
    """A time zone without offset: its datetimes are naive."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None

    def dst(self, dt: datetime | None) -> timedelta | None:
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        return None


@pytest.mark.fault("B15")
@pytest.mark.parametrize(
    "value",
    [
        datetime(2025, 7, 17, 14),  # noqa: DTZ001
        datetime(2025, 7, 17, 14, tzinfo=NoOffset()),
        "2025-07-17 14:00",
        "2025-07-17T14:00:00",
        "2025-07-17",
    ],
)
def test_timestamp_without_zone_is_refused(value: object) -> None:
    assert rules(starts_at=value) == ["time.zone"]


@pytest.mark.fault("B15")
@pytest.mark.parametrize(
    "value",
    [
        NOW,
        str(NOW),
        f" {NOW} ",
        Decimal(NOW),
        datetime(2025, 7, 17, 14, tzinfo=UTC),
        datetime(2025, 7, 17, 19, 30, tzinfo=ZoneInfo("Asia/Kolkata")),
        "2025-07-17T14:00:00Z",
        "2025-07-17t14:00:00z",
        "2025-07-17 19:30:00.000+05:30",
        "20250717T140000Z",
    ],
)
def test_accepted_timestamp_forms_give_the_same_time(value: object) -> None:
    assert parse_time(value, "starts_at") == NOW
    formed, found = preflight(with_values(starts_at=value), NOW)
    assert found == ()
    assert formed == GOOD
    assert type(formed.starts_at) is int


@pytest.mark.fault("B15")
def test_local_time_skipped_by_a_clock_change_is_accepted() -> None:
    skipped = datetime(2025, 3, 30, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert parse_time(skipped, "starts_at") == int(skipped.timestamp()) * 1000


@pytest.mark.fault("B16")
@pytest.mark.parametrize(
    ("starts", "ends", "found"),
    [
        (NOW + HOUR, NOW + HOUR, ["ends_at.order"]),
        (NOW + 2 * HOUR, NOW + HOUR, ["ends_at.order"]),
        (NOW, NOW + 24 * HOUR, []),
        (NOW, NOW + 24 * HOUR + 1, ["window.length"]),
        (NOW - HOUR, NOW + 59_000, []),
        (NOW - HOUR, NOW + 1, []),
        (NOW - HOUR, NOW, [RULE_PAST]),
        (NOW - 20 * HOUR, NOW - HOUR, [RULE_PAST]),
        (NOW - HOUR, NOW - 2 * HOUR, [RULE_PAST, "ends_at.order"]),
        (4_070_908_800_000, 4_070_908_800_000 + HOUR, ["starts_at.far"]),
        (-NOW, NOW + HOUR, ["time.range"]),
        (2**53, 2**53 + HOUR, ["time.unit", "time.unit"]),
        (datetime(6000, 1, 1, tzinfo=UTC), NOW + HOUR, ["time.range"]),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), NOW + HOUR, ["time.range"]),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), NOW + HOUR, ["time.range"]),
    ],
)
def test_window_rules(starts: object, ends: object, found: list[str]) -> None:
    assert rules(starts_at=starts, ends_at=ends) == found


@pytest.mark.fault("B16")
def test_both_ends_of_a_window_are_reported_in_utc() -> None:
    problem = only(ends_at=NOW + 24 * HOUR + 1)
    assert "2025-07-17T14:00:00Z" in str(problem)
    assert "2025-07-18T14:00:00.001Z" in str(problem)


# Shown values


def test_no_field_shows_a_full_number() -> None:
    number = "919234567898"
    for field in ("caller", "receiver", "label_id", "label_name", "reason", "starts_at", "ends_at"):
        for value in (f"+{number}x", f"x {number} call me! {'x' * 90}", float(number), number.encode(), [number]):
            text = " ".join(str(problem) for problem in problems(**{field: value}))
            assert number not in text
    found = problems(receiver=LABEL, label_id=number, label_name=number, starts_at=number, ends_at="Centro Bank")
    assert found
    assert not any(number in attribute for problem in found for attribute in attrs.astuple(problem))


def test_number_with_spaces_is_masked_in_text_too() -> None:
    assert masked("ring +91 92345 67898 today") == "ring +**********7898 today"


def test_scripts_without_a_detailed_check_have_no_invisible_character() -> None:
    first, last = LETTERS[0], LETTERS[2]
    second, end = LETTERS[3], LETTERS[5]
    for low, high in ((first, last), (second, end)):
        for point in range(ord(low), ord(high) + 1):
            assert unicodedata.category(chr(point)) not in UNPRINTABLE
            assert not chr(point).isspace()


# Properties

numbers = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="0123456789+-() .\u200e\n'eE", max_size=20),
    st.from_regex(r"(\+|00)?[0-9]{5,17}", fullmatch=True),
    st.integers(),
)
anything = st.one_of(
    numbers,
    st.none(),
    st.booleans(),
    st.floats(),
    st.decimals(),
    st.binary(max_size=20),
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.uuids(),
    st.lists(st.integers(), max_size=2),
    st.text(max_size=120),
    st.characters().map(lambda char: char * 12),
    st.integers(NOW - 48 * HOUR, NOW + 48 * HOUR),
)
fields = st.sampled_from([field.name for field in attrs.fields(CallRecord)])
records = st.dictionaries(fields, anything, max_size=8).map(lambda values: with_values(**values))


def values_of(record: CallRecord) -> Iterator[object]:
    return (getattr(record, field.name) for field in attrs.fields(CallRecord))


@given(records)
def test_values_of_any_type_give_a_record_and_problems(record: CallRecord) -> None:
    _, found = preflight(record, NOW)
    assert all(isinstance(problem, Problem) and str(problem) for problem in found)
    assert all(problem.field and problem.rule and problem.message and problem.hint for problem in found)


@given(numbers)
def test_accepted_number_is_seven_to_fifteen_ascii_digits(value: object) -> None:
    formed, found = preflight(with_values(receiver=value), NOW)
    if not found:
        assert re.fullmatch("[1-9][0-9]{6,14}", formed.receiver)


@given(records)
def test_normalising_is_idempotent(record: CallRecord) -> None:
    formed, found = preflight(record, NOW)
    if not found:
        again, still = preflight(formed, NOW)
        assert again is formed
        assert still == ()
        hash(formed)


@given(records)
def test_normalising_gives_the_same_with_and_without_checks(record: CallRecord) -> None:
    formed, _ = preflight(record, NOW)
    again = canonical(record)
    assert all(repr(left) == repr(right) for left, right in zip(values_of(formed), values_of(again), strict=True))


@given(st.integers(10**11, 10**14))
def test_timestamp_as_milliseconds_text_and_iso_is_the_same(ms: int) -> None:
    assert parse_time(ms, "starts_at") == ms
    assert parse_time(str(ms), "starts_at") == ms
    assert parse_time(utc(ms), "starts_at") == ms
