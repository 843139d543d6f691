"""The business's own numbers: which are listed, list more, delist some, wait until it is done.

Listing and delisting are asynchronous, and an answer has no id by which one could ask for its progress. So `publish`
and `delist` return what was taken, and `wait_listed` looks at the number details until they say "listed".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter

from truecaller_async.errors import DeadlineExceeded, NumberJobIncomplete, TruecallerError
from truecaller_async.models import Answer, Number, NumberJob, Page, Request
from truecaller_async.options import PollPolicy
from truecaller_async.protocol.arguments import SHOWN, check_poll, check_seconds, raise_problems
from truecaller_async.protocol.number_requests import Id, Paging, delist_request, numbers_request, publish_request
from truecaller_async.protocol.responses import read_number_job, read_numbers
from truecaller_async.redaction import redact
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.pagination import Listed, Listing
from truecaller_async.resources.poll_timer import PollTimer
from truecaller_async.validation.number_lists import clean_numbers, merge_jobs, split_numbers

LISTED = "listed"
WORDS_TOLD = 5

PLACE = attrgetter("phone_number", "phone_type", "department", "operation", "process", "subprocess", "feature_set_name")
"""What tells details apart: a number may stand in many places, and sets in different places may have one name."""


class Numbers:
    """`client.numbers`: the business's own numbers, listed under feature sets."""

    def __init__(self, service: ApiContext) -> None:
        self._service = service

    def list(
        self,
        *,
        feature_set_id: Id | None = None,
        department_id: Id | None = None,
        operation_id: Id | None = None,
        process_id: Id | None = None,
        page: int = 1,
        limit: int | None = None,
    ) -> Listing[Number]:
        """The numbers of the account and their details. From "Truecaller for Business: Number details".

        `await` it for one page, `async for` it for every number from that page on. At most one filter may be given;
        each is a UUID, and `process_id` takes the id of a process or of a sub-process. Without a `limit` a page has as
        many items as the server likes. `.total_pages` is what the server says.

        Raises `ValidationError` at once for a `page` or `limit` that is not a whole number from 1, a filter that is no
        UUID, and two filters. Awaited or iterated it raises `Forbidden` (the key has no access to number
        management), the other errors of `APIStatusError` and `TransportError`, and `DecodeError` with the place in the
        answer, such as `$.numbers[2].phone_number`.
        """
        build = partial(
            numbers_request,
            self._service.account,
            department_id=department_id,
            operation_id=operation_id,
            process_id=process_id,
            feature_set_id=feature_set_id,
        )
        return self._listing(build, Paging(page, limit))

    async def publish(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """List numbers under a feature set. From "Truecaller for Business: List numbers".

        `numbers` are any iterable of numbers with country code, with or without `+`; one that comes twice is sent
        once. More than 10,000 go in several requests, one after the other, and the answers are merged. The job's
        `status` is "pending" where it was taken; the server ignores a number whose delisting still runs. See
        `wait_listed`.

        Raises `ValidationError` before sending, with all bad numbers by their index; `Forbidden`, `ResponseLost` when
        nobody can know whether it was taken, and the other errors of `APIStatusError` and `TransportError`; and, where
        a request failed after an earlier one was answered, `NumberJobIncomplete` with the answers so far.
        """
        return await self._change(publish_request, feature_set_id, numbers)

    async def delist(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """Take numbers off a feature set. From "Truecaller for Business: Delist numbers".

        As `publish`. The job's `status` is "pending" where it was taken, and "failed" where the numbers were not
        listed; that is an answer and no error.
        """
        return await self._change(delist_request, feature_set_id, numbers)

    async def wait_listed(
        self, feature_set_id: Id, numbers: Iterable[str], *, timeout: float, poll: PollPolicy | None = None
    ) -> tuple[Number, ...]:
        """Look at the details of the feature set until every one of these numbers is "listed"; their details, in the
        order given.

        Looks at all pages each time, at most for `timeout` seconds and until the policy's deadline. Numbers are cleaned
        as by `publish`. From "Truecaller for Business: Number details".

        Raises `DeadlineExceeded` that says how many are missing and which words they have instead; `ValidationError`
        before sending, also for a `timeout` that is not a finite number above 0; and what `list` raises.
        """
        raise_problems(check_seconds("timeout", timeout), check_poll(poll))
        wanted = _Wanted(clean_numbers(numbers))
        build = partial(numbers_request, self._service.account, feature_set_id=feature_set_id)
        looks = PollTimer(poll, timeout, self._service.rng)
        listing = self._listing(build, Paging(), looks.end)
        async for _ in looks:
            try:
                if await wanted.are_listed_in(listing):
                    return wanted.details()
            except DeadlineExceeded:
                break
        raise DeadlineExceeded(
            f"{wanted.lack()}, and no further look fits into the {looks.span:g} s; they may yet be", sent="yes"
        )

    def _listing(
        self, build: Callable[[Paging], Request], paging: Paging, deadline: float | None = None
    ) -> Listing[Number]:
        build(paging)

        async def fetch(number: int) -> Page[Number]:
            return await self._service.call(build(Paging(number, paging.limit)), self._read_page, deadline)

        return Listing(Listed("numbers", fetch, PLACE), paging.page, paging.limit)

    async def _change(
        self, build: Callable[[str, Id, Sequence[str]], Request], feature_set_id: Id, numbers: Iterable[str]
    ) -> NumberJob:
        cleaned = clean_numbers(numbers)
        requests = [(build(self._service.account, feature_set_id, part), len(part)) for part in split_numbers(cleaned)]
        jobs: list[NumberJob] = []
        done = 0
        for request, size in requests:
            try:
                jobs.append(await self._service.call(request, self._read_job))
            except TruecallerError as error:
                if not jobs:
                    raise
                raise NumberJobIncomplete(merge_jobs(jobs), done, len(cleaned), error) from error
            done += size
        return merge_jobs(jobs)

    def _read_page(self, answer: Answer) -> Page[Number]:
        return read_numbers(answer, now=self._service.clock.wall())

    def _read_job(self, answer: Answer) -> NumberJob:
        return read_number_job(answer, now=self._service.clock.wall())


class _Wanted:
    """The numbers that shall be listed, and what the last whole look found of them.

    Looks are not added up: a number that was listed and is gone again is not listed.
    """

    def __init__(self, numbers: tuple[str, ...]) -> None:
        self._numbers = numbers
        self._found: dict[str, Number] | None = None

    async def are_listed_in(self, listing: Listing[Number]) -> bool:
        """Look through the pages, as far as needed; whether all are listed."""
        left = set(self._numbers)
        found: dict[str, Number] = {}
        async for number in listing:
            digits = number.phone_number.removeprefix("+")
            if digits not in left:
                continue
            found[digits] = number
            if _is_listed(number):
                left.discard(digits)
            if not left:
                break
        self._found = found
        return not left

    def details(self) -> tuple[Number, ...]:
        """Of all numbers, once all are listed."""
        found = self._found or {}
        return tuple(found[digits] for digits in self._numbers)

    def lack(self) -> str:
        """How many are missing, and why, as far as it was seen."""
        seen = self._found or {}
        missing = [number for digits in self._numbers if not _is_listed(number := seen.get(digits))]
        absent = "not among the numbers" if self._found is not None else "no look came to its end"
        words = Counter(absent if number is None else repr(redact(number.status, SHOWN)) for number in missing)
        told = ", ".join(f"{word}: {count}" for word, count in words.most_common(WORDS_TOLD))
        return f"{len(missing)} of {len(self._numbers)} numbers are not {LISTED} ({told})"


def _is_listed(number: Number | None) -> bool:
    return number is not None and (number.status or "").casefold() == LISTED
