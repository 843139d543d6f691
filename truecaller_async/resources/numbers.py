"""List, publish and delist the phone numbers of the business.

Algorithm:
    The server publishes and delists asynchronously, and its answer has no id with which the progress could be read. So
    `publish` and `delist` return what was accepted, and `wait_listed` polls the number details until all are "listed".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter

from truecaller_async.errors import DeadlineExceeded, NumberJobIncomplete, TruecallerError
from truecaller_async.models import Answer, Number, NumberJob, Page, Request
from truecaller_async.options import PollPolicy
from truecaller_async.protocol.arguments import check_poll, check_seconds, raise_problems
from truecaller_async.protocol.number_requests import Id, Paging, delist_request, numbers_request, publish_request
from truecaller_async.protocol.responses import read_number_job, read_numbers
from truecaller_async.redaction import VALUE_MAX_CHARS, redact
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.pagination import ListedKind, Listing
from truecaller_async.resources.poll_timer import PollTimer
from truecaller_async.validation.number_lists import clean_numbers, merge_jobs, split_numbers

LISTED = "listed"
SHOWN_STATUSES_MAX = 5
"""The most different statuses that a `DeadlineExceeded` of `wait_listed` names."""

NUMBER_IDENTITY = attrgetter(
    "phone_number", "phone_type", "department", "operation", "process", "subprocess", "feature_set_name"
)
"""Tells two details apart: a number may be in many feature sets, and sets of different processes may share a name."""


class Numbers:
    """`client.numbers`: the phone numbers of the business, listed under feature sets."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

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
        """List the numbers of the account with their details.

        From "Truecaller for Business: Number details". At most one filter may be given; each is a UUID.

        Args:
            feature_set_id: List only the numbers of this feature set.
            department_id: List only the numbers of this department.
            operation_id: List only the numbers of this operation.
            process_id: List only the numbers of this process or sub-process.
            page: The first page, from 1.
            limit: The most items of a page; the server decides if None.

        Returns:
            A `Listing`: `await` it for one page, `async for` it for all numbers from that page on. Both raise
            `Forbidden` (the key has no access to number management), the other errors of `APIStatusError` and
            `TransportError`, and `DecodeError` with the JSON path, such as `$.numbers[2].phone_number`.

        Raises:
            ValidationError: `page` or `limit` is not a whole number from 1, a filter is not a UUID, or there are two.
        """
        build = partial(
            numbers_request,
            self._context.account,
            department_id=department_id,
            operation_id=operation_id,
            process_id=process_id,
            feature_set_id=feature_set_id,
        )
        return self._listing(build, Paging(page, limit))

    async def publish(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """List numbers under a feature set.

        From "Truecaller for Business: List numbers". More than 10,000 numbers are sent in several requests, one after
        the other, and the answers are merged. The server ignores a number whose delisting still runs. To wait until the
        numbers are listed, call `wait_listed`.

        Args:
            feature_set_id: The feature set, a UUID.
            numbers: The numbers with country code, with or without `+`. A duplicate is sent once.

        Returns:
            The job. Its `status` is "pending" if it was accepted.

        Raises:
            ValidationError: Numbers are wrong; it lists each with its index. Nothing was sent.
            Forbidden: The key has no access to number management.
            ResponseLost: The answer was lost. The job may have been accepted.
            NumberJobIncomplete: A request failed after an earlier one was answered; it has the answers so far.
            APIStatusError: The server answered with another error; see its subclasses.
            TruecallerError: No request could be sent: `NotSent`, `TokenBudgetExhausted`, `WaitTooLong`, `ClientClosed`.
        """
        return await self._change(publish_request, feature_set_id, numbers)

    async def delist(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """Remove numbers from a feature set.

        From "Truecaller for Business: Delist numbers". Numbers are sent as by `publish`.

        Args:
            feature_set_id: The feature set, a UUID.
            numbers: The numbers, as for `publish`.

        Returns:
            The job. Its `status` is "pending" if it was accepted, and "failed" if the numbers were not listed.

        Raises:
            TruecallerError: As `publish`.
        """
        return await self._change(delist_request, feature_set_id, numbers)

    async def wait_listed(
        self, feature_set_id: Id, numbers: Iterable[str], *, timeout: float, poll: PollPolicy | None = None
    ) -> tuple[Number, ...]:
        """Poll the details of a feature set until all these numbers are "listed".

        From "Truecaller for Business: Number details". Each poll reads as many pages as needed.

        Args:
            feature_set_id: The feature set, a UUID.
            numbers: The numbers, as for `publish`.
            timeout: The longest wait, in seconds. The deadline of `poll` also ends it.
            poll: When to poll; `PollPolicy()` if None.

        Returns:
            The details of the numbers, in the order given.

        Raises:
            DeadlineExceeded: No further poll fits into the time. It names how many numbers are missing, and their
                statuses.
            ValidationError: An argument is wrong; `timeout` must be a finite number above 0. Nothing was sent.
            TruecallerError: What `list` raises.
        """
        raise_problems(check_seconds("timeout", timeout), check_poll(poll))
        wanted = _WantedNumbers(clean_numbers(numbers))
        build = partial(numbers_request, self._context.account, feature_set_id=feature_set_id)
        timer = PollTimer(poll, timeout, self._context.rng)
        listing = self._listing(build, Paging(), timer.end)
        async for _ in timer:
            try:
                if await wanted.are_listed_in(listing):
                    return wanted.details()
            except DeadlineExceeded:
                break
        raise DeadlineExceeded(
            f"{wanted.missing()}, and no further poll fits into the {timer.span:g} s. They may be listed later",
            sent="yes",
        )

    def _listing(
        self, build: Callable[[Paging], Request], paging: Paging, deadline: float | None = None
    ) -> Listing[Number]:
        build(paging)

        async def fetch(number: int) -> Page[Number]:
            return await self._context.call(build(Paging(number, paging.limit)), self._read_page, deadline)

        return Listing(ListedKind("numbers", fetch, NUMBER_IDENTITY), paging.page, paging.limit)

    async def _change(
        self, build: Callable[[str, Id, Sequence[str]], Request], feature_set_id: Id, numbers: Iterable[str]
    ) -> NumberJob:
        cleaned = clean_numbers(numbers)
        requests = [(build(self._context.account, feature_set_id, part), len(part)) for part in split_numbers(cleaned)]
        jobs: list[NumberJob] = []
        done = 0
        for request, size in requests:
            try:
                jobs.append(await self._context.call(request, self._read_job))
            except TruecallerError as error:
                if not jobs:
                    raise
                raise NumberJobIncomplete(merge_jobs(jobs), done, len(cleaned), error) from error
            done += size
        return merge_jobs(jobs)

    def _read_page(self, answer: Answer) -> Page[Number]:
        return read_numbers(answer, now=self._context.clock.wall())

    def _read_job(self, answer: Answer) -> NumberJob:
        return read_number_job(answer, now=self._context.clock.wall())


class _WantedNumbers:
    """The numbers that `wait_listed` waits for, and their details in the last complete poll.

    Polls are not combined: a number that was listed and is gone again is not listed.
    """

    def __init__(self, numbers: tuple[str, ...]) -> None:
        self._numbers = numbers
        self._found: dict[str, Number] | None = None

    async def are_listed_in(self, listing: Listing[Number]) -> bool:
        """Read the pages as far as needed. Return whether all numbers are listed."""
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
        """Return the details of all numbers. Call it when all are listed."""
        found = self._found or {}
        return tuple(found[digits] for digits in self._numbers)

    def missing(self) -> str:
        """Describe how many numbers are not listed, with their statuses in the last complete poll."""
        found = self._found or {}
        missing = [number for digits in self._numbers if not _is_listed(number := found.get(digits))]
        absent = "not among the numbers" if self._found is not None else "no poll was complete"
        statuses = Counter(
            absent if number is None else repr(redact(number.status, VALUE_MAX_CHARS)) for number in missing
        )
        shown = ", ".join(f"{status}: {count}" for status, count in statuses.most_common(SHOWN_STATUSES_MAX))
        return f"{len(missing)} of {len(self._numbers)} numbers are not {LISTED} ({shown})"


def _is_listed(number: Number | None) -> bool:
    return number is not None and (number.status or "").casefold() == LISTED
