"""`numbers publish` and `numbers delist` with a sandbox, and the meaning of answers."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from truecaller_async import NumberJob
from truecaller_async.cli.commands.numbers import NOT_DELISTED, REFUSED, JobOutcome
from truecaller_async.sandbox import Sandbox

from .shell import Shell

FIRST, SECOND = "911140001234", "911140001235"
OTHER_ACCOUNT, OTHER_TYPE = "911140001265", "911140001278"


@pytest.fixture
def feature_set(sandbox: Sandbox) -> str:
    return sandbox.settings.feature_sets[0].id


def requests(sandbox: Sandbox) -> int:
    return sum(sum(statuses.values()) for statuses in sandbox.stats().requests.values())


async def test_published_numbers_are_polled_until_listed(shell: Shell, feature_set: str) -> None:
    path = shell.file("numbers.txt", f"+{FIRST}\n{SECOND}\n{FIRST}\n")
    result = await shell.call("numbers", "publish", feature_set, path, "--wait", "2s")
    assert result.code == 0
    assert result.stdout.splitlines()[1].split() == ["new", "2", f"{FIRST},", SECOND]
    assert result.stdout.splitlines()[-1] == "Job accepted; its status is 'pending'."
    assert "1 repeated number" in result.stderr
    assert result.stderr.splitlines()[-1] == "2 numbers listed."


async def test_numbers_are_read_from_standard_input(shell: Shell, feature_set: str) -> None:
    result = await shell.call("numbers", "publish", feature_set, "-", "--json", stdin=f"number\n{FIRST}\n")
    job = json.loads(result.stdout)
    assert (result.code, job["status"], job["new_numbers"]) == (0, "pending", [FIRST])


async def test_refused_numbers_exit_5_and_are_not_waited_for(shell: Shell, feature_set: str) -> None:
    path = shell.file("numbers.txt", f"{FIRST}\n{OTHER_ACCOUNT}\n{OTHER_TYPE}\n")
    result = await shell.call("numbers", "publish", feature_set, path, "--wait", "2s")
    assert result.code == 5
    assert "Refused: 2 numbers." in result.stdout
    assert "1 number listed." in result.stderr


async def test_numbers_not_listed_in_time_exit_6(shell: Shell, feature_set: str) -> None:
    path = shell.file("numbers.txt", FIRST)
    result = await shell.call("numbers", "publish", feature_set, path, "--wait", "0.02s")
    assert result.code == 6
    assert "not listed" in result.stderr


async def test_delisting_unlisted_numbers_exits_5(shell: Shell, feature_set: str) -> None:
    path = shell.file("numbers.txt", FIRST)
    result = await shell.call("numbers", "delist", feature_set, path)
    assert result.code == 5
    assert result.stdout.splitlines()[-1] == "The service did not accept the job; its status is 'failed'."


async def test_partial_delisting_exits_5_and_complete_delisting_exits_0(shell: Shell, feature_set: str) -> None:
    one, both = shell.file("one.txt", FIRST), shell.file("both.txt", f"{FIRST}\n{SECOND}")
    await shell.call("numbers", "publish", feature_set, one)
    assert (await shell.call("numbers", "delist", feature_set, both)).code == 5
    await shell.call("numbers", "publish", feature_set, both)
    assert (await shell.call("numbers", "delist", feature_set, shell.file("other.txt", SECOND))).code == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.txt", f"{FIRST}\n12\n"),
        ("empty.txt", ""),
        ("binary.txt", bytes(range(256))),
        ("book.xlsx", b"PK\x03\x04"),
        ("latin.txt", b"911140001234\xe9\n"),
    ],
)
@pytest.mark.parametrize("verb", ["publish", "delist"])
async def test_bad_number_file_exits_4_and_sends_nothing(
    verb: str, name: str, content: str | bytes, shell: Shell, sandbox: Sandbox, feature_set: str
) -> None:
    result = await shell.call("numbers", verb, feature_set, shell.file(name, content))
    assert (result.code, result.stdout) == (4, "")
    assert name in result.stderr
    assert requests(sandbox) == 0


@pytest.mark.parametrize("path", ["none.txt", ".", "../none.txt"])
async def test_missing_number_file_exits_4_and_sends_nothing(
    path: str, shell: Shell, sandbox: Sandbox, feature_set: str
) -> None:
    result = await shell.call("numbers", "publish", feature_set, str(shell.folder / path))
    assert (result.code, requests(sandbox)) == (4, 0)


async def test_unknown_feature_set_reports_what_to_check(shell: Shell) -> None:
    path = shell.file("numbers.txt", FIRST)
    result = await shell.call("numbers", "publish", "00000000-0000-4000-8000-000000000000", path)
    assert (result.code, result.stdout) == (5, "")
    assert "Check the id" in result.stderr


def published(job: NumberJob) -> JobOutcome:
    return JobOutcome(job, (FIRST, SECOND), REFUSED)


def test_number_in_no_bucket_is_not_accepted() -> None:
    outcome = published(NumberJob("pending", new_numbers=(f"+{SECOND}",)))
    assert (outcome.unmentioned, outcome.accepted, outcome.code) == ((FIRST,), (SECOND,), 5)
    assert "does not mention 1 number" in outcome.sentence


@pytest.mark.parametrize("bucket", REFUSED)
def test_each_negative_bucket_is_a_refusal(bucket: str) -> None:
    changes: dict[str, Any] = {bucket: (SECOND,)}
    outcome = published(attrs.evolve(NumberJob("pending", new_numbers=(FIRST,)), **changes))
    assert (outcome.refused, outcome.accepted, outcome.code) == ((SECOND,), (FIRST,), 5)


def test_new_numbers_are_accepted_by_listing_and_refused_by_delisting() -> None:
    job = NumberJob("pending", existing_numbers=(FIRST,), new_numbers=(SECOND,))
    assert published(job).code == 0
    assert JobOutcome(job, (FIRST, SECOND), NOT_DELISTED).refused == (SECOND,)


def test_failed_job_is_partial_whatever_its_buckets_contain() -> None:
    outcome = published(NumberJob("Failed", new_numbers=(FIRST, SECOND)))
    assert (outcome.code, outcome.sentence) == (5, "The service did not accept the job; its status is 'Failed'.")
