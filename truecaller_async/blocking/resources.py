"""The blocking mirrors of the async resource classes.

Generated from the signatures and docstrings of the async classes. Do not edit: change the async class, then run
`python -m truecaller_async.blocking._generate`. `tests/blocking/test_generated.py` checks that this file is current.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from os import PathLike
from pathlib import Path

from truecaller_async.blocking.pagination import Listing
from truecaller_async.blocking.portal import Portal, read_here
from truecaller_async.models import Batch, BatchStatus, CallRecord, FeatureSet, Label, Number, NumberJob, PushAnswer
from truecaller_async.models.tokens import TokenStatus
from truecaller_async.options import PollPolicy
from truecaller_async.protocol.export_requests import Unit
from truecaller_async.protocol.number_requests import Id
from truecaller_async.resources.exports import FILE_MAX_BYTES


class Calls:
    """`client.calls`: real-time records, each pushed just before its call."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def push(self, record: CallRecord, *, deadline: float | None = None) -> PushAnswer:
        """Push one record.

        Blocks until `calls.push` of the async client returns.

        Args:
            record: The record.
            deadline: Seconds from now, a finite number above 0. A push that would have to wait longer fails at once.
                Without a deadline it waits for its permit as long as the limits require.

        Returns:
            The answer of the server.

        Raises:
            ValidationError: The record or the deadline is wrong. Nothing was sent.
            PushRejected: The server rejected the record.
            ResponseLost: The answer was lost. The record may have been applied.
            DeadlineExceeded: The deadline passed, or would.
            TokenBudgetExhausted: There is no token, and none can be made before the deadline.
            APIStatusError: Another error of the server: `RateLimited`, `AuthenticationFailed`, `Forbidden`,
                `ServerError` (the record may have been applied) and others.
            TruecallerError: No request could be sent: `NotSent`, `WaitTooLong`, `ClientClosed`.
        """
        return self._portal.run(lambda client: client.calls.push(record, deadline=deadline))


class Batches:
    """`client.batches`: single batches. For more than a few batches use `client.push_many`."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def submit(self, records: Iterable[CallRecord]) -> Batch:
        """Submit 1 to 500 records in one request.

        Blocks until `batches.submit` of the async client returns.

        Args:
            records: The records.

        Returns:
            The id of the batch.

        Raises:
            ValidationError: Records are wrong; it has the problems of all of them. Nothing was sent.
            ResponseLost: The answer was lost. The batch may have been accepted.
            ServerError: The server answered 5xx. The batch may have been accepted.
            DecodeError: The batch was accepted, but its id cannot be decoded.
            APIStatusError: The server rejected the batch; see its subclasses.
            TruecallerError: No request could be sent: `NotSent`, `TokenBudgetExhausted`, `WaitTooLong`, `ClientClosed`.
        """
        records = read_here(records)
        return self._portal.run(lambda client: client.batches.submit(records))

    def status(self, batch_id: str) -> BatchStatus:
        """Return the status of all records of a batch.

        Blocks until `batches.status` of the async client returns.

        Args:
            batch_id: The id that `submit` returned.

        Returns:
            The status.

        Raises:
            ValidationError: The id is not 1 to 200 printable ASCII characters, or contains `../`. Nothing was sent.
            NotFound: The server does not know the batch; a new one may be unknown during its first minute.
            APIStatusError: The server answered with another error; see its subclasses.
            DecodeError: The answer has no documented form.
            TruecallerError: No answer: `TransportError`, `TokenBudgetExhausted`, `WaitTooLong`, `ClientClosed`.
        """
        return self._portal.run(lambda client: client.batches.status(batch_id))

    def wait(self, batch_id: str, *, timeout: float, poll: PollPolicy | None = None) -> BatchStatus:
        """Poll the status of a batch until all its records are final.

        Blocks until `batches.wait` of the async client returns.

        Args:
            batch_id: The id that `submit` returned.
            timeout: The longest wait, in seconds. The deadline of `poll` also ends it.
            poll: When to poll; `PollPolicy()` if None.

        Returns:
            The final status.

        Raises:
            DeadlineExceeded: No further poll fits into the time. The batch may still become final.
            ValidationError: An argument is wrong; `timeout` must be a finite number above 0. Nothing was sent.
            TruecallerError: What `status` raises.
        """
        return self._portal.run(lambda client: client.batches.wait(batch_id, timeout=timeout, poll=poll))


class Labels:
    """`client.labels`: the dynamic labels that call records may name. They are made in the console."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def list(self, *, page: int = 1, limit: int = 1000) -> Listing[Label]:
        """List the dynamic labels of the account.

        From "Truecaller for Business: Details of Dynamic Label". The answer does not contain the number of pages, so
        `.total_pages` is None, and a page with fewer labels than `limit` is the last.

        Returns a blocking `Listing`: call `page()` for one page, use `for` for all items from that page on.
        Both raise what awaiting `labels.list` of the async client raises.

        Args:
            page: The first page, from 1.
            limit: The most labels of a page.

        Raises:
            ValidationError: `page` or `limit` is not a whole number from 1.
        """
        return Listing(self._portal, self._portal.client().labels.list(page=page, limit=limit))


class FeatureSets:
    """`client.feature_sets`: the sets under which numbers are listed. They are made in the console."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def list(
        self,
        *,
        department_id: Id | None = None,
        operation_id: Id | None = None,
        process_id: Id | None = None,
        page: int = 1,
        limit: int | None = None,
    ) -> Listing[FeatureSet]:
        """List the feature sets of the account.

        Returns a blocking `Listing`: call `page()` for one page, use `for` for all items from that page on.
        Both raise what awaiting `feature_sets.list` of the async client raises.

        Args:
            department_id: List only the sets of this department.
            operation_id: List only the sets of this operation.
            process_id: List only the sets of this process.
            page: The first page, from 1.
            limit: The most items of a page; if None, the server decides (50 in the printed sample).

        Raises:
            ValidationError: `page` or `limit` is not a whole number from 1, a filter is not a UUID, or there are two.
        """
        return Listing(
            self._portal,
            self._portal.client().feature_sets.list(
                department_id=department_id, operation_id=operation_id, process_id=process_id, page=page, limit=limit
            ),
        )


class Numbers:
    """`client.numbers`: the phone numbers of the business, listed under feature sets."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

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

        Returns a blocking `Listing`: call `page()` for one page, use `for` for all items from that page on.
        Both raise what awaiting `numbers.list` of the async client raises.

        Args:
            feature_set_id: List only the numbers of this feature set.
            department_id: List only the numbers of this department.
            operation_id: List only the numbers of this operation.
            process_id: List only the numbers of this process or sub-process.
            page: The first page, from 1.
            limit: The most items of a page; the server decides if None.

        Raises:
            ValidationError: `page` or `limit` is not a whole number from 1, a filter is not a UUID, or there are two.
        """
        return Listing(
            self._portal,
            self._portal.client().numbers.list(
                feature_set_id=feature_set_id,
                department_id=department_id,
                operation_id=operation_id,
                process_id=process_id,
                page=page,
                limit=limit,
            ),
        )

    def publish(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """List numbers under a feature set.

        Blocks until `numbers.publish` of the async client returns.

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
        numbers = read_here(numbers)
        return self._portal.run(lambda client: client.numbers.publish(feature_set_id, numbers))

    def delist(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """Remove numbers from a feature set.

        Blocks until `numbers.delist` of the async client returns.

        Args:
            feature_set_id: The feature set, a UUID.
            numbers: The numbers, as for `publish`.

        Returns:
            The job. Its `status` is "pending" if it was accepted, and "failed" if the numbers were not listed.

        Raises:
            TruecallerError: As `publish`.
        """
        numbers = read_here(numbers)
        return self._portal.run(lambda client: client.numbers.delist(feature_set_id, numbers))

    def wait_listed(
        self, feature_set_id: Id, numbers: Iterable[str], *, timeout: float, poll: PollPolicy | None = None
    ) -> tuple[Number, ...]:
        """Poll the details of a feature set until all these numbers are "listed".

        Blocks until `numbers.wait_listed` of the async client returns.

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
        numbers = read_here(numbers)
        return self._portal.run(
            lambda client: client.numbers.wait_listed(feature_set_id, numbers, timeout=timeout, poll=poll)
        )


class Exports:
    """`client.exports`: the two downloads that the vendor deprecated."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def user_feedback(
        self,
        survey_id: str,
        path: str | PathLike[str],
        *,
        from_date: datetime,
        hosts: Collection[str] = (),
        overwrite: bool = False,
        max_bytes: int = FILE_MAX_BYTES,
    ) -> Path:
        """Save the answers of a feedback campaign to a file.

        From "Truecaller for Business: Export user feedback", deprecated: warns `TruecallerDeprecationWarning`. The form
        of the file is not documented. It is written beside `path`, with `.part` at the end of its name, and renamed
        when it is complete; after an error, `path` is unchanged. The download is tried once.

        Blocks until `exports.user_feedback` of the async client returns.

        Args:
            survey_id: The id of the feedback campaign.
            path: The path of the new file.
            from_date: The time from which answers are exported; an aware datetime.
            hosts: Hosts that the file may come from, such as "files.example" or "files.example:8443", besides the API's
                own host and hosts below truecaller.com.
            overwrite: Whether an existing file is replaced.
            max_bytes: The maximum size of the file, in bytes.

        Returns:
            The path.

        Raises:
            ValidationError: An argument is wrong, or the file exists and `overwrite` is False. Nothing was sent.
            ConfigError: The link leads to another host, or the file cannot be written.
            DecodeError: The answer has no link, or the file is larger than `max_bytes`.
            APIStatusError: The server answered with an error; see its subclasses.
            TruecallerError: No answer: `TransportError`, `TokenBudgetExhausted`, `WaitTooLong`, `ClientClosed`.
        """
        return self._portal.run(
            lambda client: client.exports.user_feedback(
                survey_id, path, from_date=from_date, hosts=hosts, overwrite=overwrite, max_bytes=max_bytes
            )
        )

    def call_me_back(
        self,
        path: str | PathLike[str],
        *,
        start: datetime,
        end: datetime,
        unit: Unit = "seconds",
        hosts: Collection[str] = (),
        overwrite: bool = False,
        max_bytes: int = FILE_MAX_BYTES,
    ) -> Path:
        """Save the call-me-back log to a file.

        Blocks until `exports.call_me_back` of the async client returns.

        Args:
            path: The path of the new file.
            start: The beginning of the log; an aware datetime.
            end: The end of the log; an aware datetime.
            unit: The unit in which both are sent, "seconds" or "milliseconds". The documentation contradicts itself:
                its examples are in seconds, its text says milliseconds.
            hosts: As in `user_feedback`.
            overwrite: As in `user_feedback`.
            max_bytes: As in `user_feedback`.

        Returns:
            The path.

        Raises:
            TruecallerError: As in `user_feedback`.
        """
        return self._portal.run(
            lambda client: client.exports.call_me_back(
                path, start=start, end=end, unit=unit, hosts=hosts, overwrite=overwrite, max_bytes=max_bytes
            )
        )


class Tokens:
    """`client.tokens`: live tokens and the token budget. Requests create and renew tokens automatically."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def status(self) -> TokenStatus:
        """Return the live tokens and the budget of new ones, as the client's state knows them.

        Blocks until `tokens.status` of the async client returns.

        Returns:
            The status. Its durations are seconds.

        Raises:
            ConfigError: The state file cannot be read.
            ClientClosed: The client is closed, or belongs to another event loop or process.
        """
        return self._portal.run(lambda client: client.tokens.status())

    def make(self) -> str | None:
        """Create one more token, which requests then use.

        Blocks until `tokens.make` of the async client returns.

        Returns:
            The `token_id`. None if `max_tokens` are live, or if another task created a token meanwhile.

        Raises:
            AuthenticationFailed: The server rejected the key.
            TokenBudgetExhausted: No token may be created now.
            TruecallerError: The errors of `TransportError` and `APIStatusError`, `WaitTooLong` and `ClientClosed`.
        """
        return self._portal.run(lambda client: client.tokens.make())
