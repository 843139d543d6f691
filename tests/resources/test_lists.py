"""Lists of labels, feature sets and numbers: the documented requests and answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.resources.script import ACCOUNT, Script, answer, client_of, playing, throttled
from tests.virtual import run_virtual
from truecaller_async import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    DecodeError,
    FeatureSet,
    Forbidden,
    Label,
    NotFound,
    NotSent,
    Number,
    Page,
    RateLimited,
    ResponseLost,
    RetryPolicy,
    ServerError,
    TruecallerClient,
    UnexpectedRedirect,
    ValidationError,
)
from truecaller_async.models import Answer
from truecaller_async.resources import Listing

SAMPLES = Path(__file__).parents[1] / "samples"
SET = "069d2e3a-41e6-41f9-a768-157d7e3bd6b9"

List = Callable[..., Listing[Any]]
LISTS: dict[str, Callable[[TruecallerClient], List]] = {
    "labels": lambda client: client.labels.list,
    "feature_sets": lambda client: client.feature_sets.list,
    "numbers": lambda client: client.numbers.list,
}
EMPTY = {"labels": [], "feature_sets": {"feature_sets": []}, "numbers": {"numbers": []}}


def sample(name: str) -> Answer:
    return Answer(200, {"content-type": "application/json"}, (SAMPLES / name).read_bytes())


def paths(script: Script) -> list[str]:
    return [request.path.removeprefix(f"/clients/{ACCOUNT}") for _, request in script.sent]


def labels_page(start: int, count: int) -> Answer:
    return answer(200, [{"id": f"label-{number}"} for number in range(start, start + count)])


def numbers_page(*numbers: str, total: int | None = None) -> Answer:
    info = {} if total is None else {"pagination_information": {"total_page_count": total}}
    return answer(200, {"numbers": [{"phone_number": number, "status": "listed"} for number in numbers], **info})


def test_documented_labels_are_listed() -> None:
    async def scene() -> None:
        script = playing(sample("labels_response.json"))
        page: Page[Label] = await client_of(script).labels.list()
        assert [label.name for label in page.items] == ["FlowerEra", "test-label-priority"]
        assert (page.page, page.total_pages) == (1, None)
        assert paths(script) == ["/labels?page=1&limit=1000"]

    run_virtual(scene)


def test_documented_feature_sets_are_listed() -> None:
    async def scene() -> None:
        script = playing(sample("feature_sets_response.json"))
        page: Page[FeatureSet] = await client_of(script).feature_sets.list()
        assert [found.name for found in page.items] == ["prio1", "New Feature Set-7"]
        assert (page.page, page.total_pages) == (1, 2)
        assert paths(script) == ["/number_management/feature_sets?page=1"]

    run_virtual(scene)


def test_documented_numbers_are_listed() -> None:
    async def scene() -> None:
        script = playing(sample("number_details_response.json"))
        page: Page[Number] = await client_of(script).numbers.list(feature_set_id=SET)
        assert [(number.phone_number, number.status) for number in page.items] == [
            ("918848628575230", "listed"),
            ("918735783247237", "listed"),
        ]
        assert (page.page, page.total_pages) == (1, 8)
        assert paths(script) == [f"/number_management/numbers?feature_set_id={SET}&page=1"]

    run_virtual(scene)


def test_documented_job_instead_of_numbers_is_a_decode_error() -> None:
    async def scene() -> None:
        script = playing(sample("number_details_response_failed_as_printed.json"))
        with pytest.raises(DecodeError) as caught:
            await client_of(script, retry=RetryPolicy(attempts=1)).numbers.list()
        assert caught.value.path == "$.numbers"

    run_virtual(scene)


def test_labels_end_at_a_page_shorter_than_the_limit() -> None:
    async def scene() -> None:
        script = playing(labels_page(0, 3), labels_page(3, 3), labels_page(6, 1))
        found = [label.id async for label in client_of(script).labels.list(limit=3)]
        assert found == [f"label-{number}" for number in range(7)]
        assert [path.partition("?")[2] for path in paths(script)] == [f"page={number}&limit=3" for number in (1, 2, 3)]

    run_virtual(scene)


def test_numbers_end_at_the_total_and_keep_filter_and_limit() -> None:
    async def scene() -> None:
        script = playing(numbers_page("911", "912", total=2), numbers_page("913", total=2))
        listing = client_of(script).numbers.list(process_id=SET, limit=2)
        assert [number.phone_number async for number in listing] == ["911", "912", "913"]
        expected = [f"/number_management/numbers?process_id={SET}&limit=2&page={number}" for number in (1, 2)]
        assert paths(script) == expected

    run_virtual(scene)


@pytest.mark.parametrize("part", ["feature_set_name", "phone_type", "department", "operation", "process", "subprocess"])
def test_repeated_number_is_no_repeated_page(part: str) -> None:
    async def scene() -> None:
        def page(name: str) -> Answer:
            return answer(200, {"numbers": [{"phone_number": "911", "feature_set_name": "set", part: name}]})

        script = playing(page("a"), page("b"), numbers_page())
        assert [getattr(number, part) async for number in client_of(script).numbers.list()] == ["a", "b"]

    run_virtual(scene)


@pytest.mark.parametrize("name", LISTS)
def test_empty_list_is_an_empty_page_without_items(name: str) -> None:
    async def scene() -> None:
        script = playing(answer(200, EMPTY[name]))
        listing = LISTS[name](client_of(script))()
        assert (await listing).items == ()
        assert [item async for item in listing] == []
        assert len(script.sent) == 2

    run_virtual(scene)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "wrong", [{"page": 0}, {"page": True}, {"limit": 0}, {"limit": "7"}, {"page": -1, "limit": 1.5}]
)
def test_wrong_page_or_limit_is_refused_when_the_listing_is_made(name: str, wrong: dict[str, Any]) -> None:
    async def scene() -> None:
        script = playing(answer(200, EMPTY[name]))
        with pytest.raises(ValidationError) as caught:
            LISTS[name](client_of(script))(**wrong)
        assert [problem.field for problem in caught.value.problems] == list(wrong)
        assert (script.sent, script.minted) == ([], [])

    run_virtual(scene)


@pytest.mark.parametrize("name", ["feature_sets", "numbers"])
@pytest.mark.parametrize(
    "wrong",
    [{"department_id": "7"}, {"operation_id": "../x"}, {"process_id": ""}, {"process_id": SET, "operation_id": SET}],
)
def test_wrong_filter_is_refused_when_the_listing_is_made(name: str, wrong: dict[str, Any]) -> None:
    async def scene() -> None:
        script = playing(answer(200, EMPTY[name]))
        with pytest.raises(ValidationError):
            LISTS[name](client_of(script))(**wrong)
        assert (script.sent, script.minted) == ([], [])

    run_virtual(scene)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, AuthenticationFailed),
        (403, Forbidden),
        (404, NotFound),
        (429, RateLimited),
        (307, UnexpectedRedirect),
        (500, ServerError),
    ],
)
def test_error_is_of_the_class_of_its_status(name: str, status: int, kind: type[APIStatusError]) -> None:
    async def scene() -> None:
        script = playing(answer(status, {"slug": "some-slug", "message": "said so"}))
        with pytest.raises(kind) as caught:
            await LISTS[name](client_of(script, retry=RetryPolicy(attempts=1)))()
        assert (type(caught.value), caught.value.status, caught.value.slug) == (kind, status, "some-slug")

    run_virtual(scene)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "sample_name", ["labels_error_forbidden.json", "number_details_error_forbidden.json", "error_forbidden.json"]
)
def test_key_without_access_is_forbidden_by_its_slug_and_not_retried(name: str, sample_name: str) -> None:
    async def scene() -> None:
        script = playing(sample(sample_name))
        with pytest.raises(Forbidden, match="contact your admin"):
            await LISTS[name](client_of(script))()
        assert len(script.sent) == 1

    run_virtual(scene)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "trouble", [answer(503), ResponseLost("broke"), NotSent("refused"), throttled(1), answer(200, "odd")]
)
def test_list_is_a_read_and_is_retried(name: str, trouble: Any) -> None:
    async def scene() -> None:
        script = playing(trouble, answer(200, EMPTY[name]))
        assert (await LISTS[name](client_of(script))()).items == ()
        assert len(script.sent) == 2

    run_virtual(scene)


@pytest.mark.parametrize(
    ("name", "body", "path"),
    [
        ("labels", [{"id": "a"}, {"name": "b"}], "$[1].id"),
        (
            "feature_sets",
            {"feature_sets": [{"id": "a"}, {"id": "b", "updated_at": []}]},
            "$.feature_sets[1].updated_at",
        ),
        ("numbers", {"numbers": [{"phone_number": "9", "created_at": {}}]}, "$.numbers[0].created_at"),
    ],
)
def test_answer_in_another_form_is_reported_with_its_json_path(name: str, body: object, path: str) -> None:
    async def scene() -> None:
        script = playing(answer(200, body))
        with pytest.raises(DecodeError) as caught:
            await LISTS[name](client_of(script, retry=RetryPolicy(attempts=1)))()
        assert caught.value.path == path

    run_virtual(scene)


def test_thousand_labels_fit_into_one_answer() -> None:
    label = {
        "id": SET,
        "name": "N" * 40,
        "logo_url": "https://logos.example/" + "x" * 200,
        "created_by_email": "x" * 60,
    }
    size = len(msgspec.json.encode([label] * 1000))

    async def scene() -> None:
        script = playing(labels_page(0, 1))
        await client_of(script).labels.list()
        assert script.sent[0][1].body_max_bytes > 2 * size

    run_virtual(scene)
