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
from truecaller_async.resources.exports import CAP


class Calls:
    """`client.calls`: real-time records, pushed one by one just before the call."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def push(self, record: CallRecord, *, deadline: float | None = None) -> PushAnswer:
        """Push one record. From "Truecaller for Business: Real-time" of the client's version.

        `deadline` is in seconds from now, a finite number above 0; without one the first permit is waited for as long
        as the limits require. With one, a push that would have to wait longer fails at once. Version 1 is deprecated
        and warns `TruecallerDeprecationWarning`.

        Returns and raises what `calls.push` of the async client does; its documentation has the details.
        """
        return self._portal.run(lambda client: client.calls.push(record, deadline=deadline))


class Batches:
    """`client.batches`: batches by hand. For more than a few, `client.push_many` does all of this by itself."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def submit(self, records: Iterable[CallRecord]) -> Batch:
        """Post 1 to 500 records in one request. From "Truecaller for Business: Batch" of the client's version.

        Returns and raises what `batches.submit` of the async client does; its documentation has the details.
        """
        records = read_here(records)
        return self._portal.run(lambda client: client.batches.submit(records))

    def status(self, batch_id: str) -> BatchStatus:
        """The status of every record of a batch. From "Truecaller for Business: Batch status" of the version.

        Returns and raises what `batches.status` of the async client does; its documentation has the details.
        """
        return self._portal.run(lambda client: client.batches.status(batch_id))

    def wait(self, batch_id: str, *, timeout: float, poll: PollPolicy | None = None) -> BatchStatus:
        """Ask for the status until every record is final, at most `timeout` seconds and until the policy's deadline.

        Raises `DeadlineExceeded` when no poll is left in that time, `ValidationError` where `timeout` is not a finite
        number above 0, and what `status` raises. A 404 in the first minute means "not visible yet".

        Returns and raises what `batches.wait` of the async client does; its documentation has the details.
        """
        return self._portal.run(lambda client: client.batches.wait(batch_id, timeout=timeout, poll=poll))


class Labels:
    """`client.labels`: the dynamic labels that call records may name. They are made in the console."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def list(self, *, page: int = 1, limit: int = 1000) -> Listing[Label]:
        """The dynamic labels of the account. From "Truecaller for Business: Details of Dynamic Label".

        Returns and raises what `labels.list` of the async client does; its documentation has the details.
        """
        return Listing(self._portal, self._portal.client().labels.list(page=page, limit=limit))


class FeatureSets:
    """`client.feature_sets`: what numbers are listed under. They are made in the console."""

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
        """The feature sets of the account. From "Truecaller for Business: Feature sets".

        Returns and raises what `feature_sets.list` of the async client does; its documentation has the details.
        """
        return Listing(
            self._portal,
            self._portal.client().feature_sets.list(
                department_id=department_id, operation_id=operation_id, process_id=process_id, page=page, limit=limit
            ),
        )


class Numbers:
    """`client.numbers`: the business's own numbers, listed under feature sets."""

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
        """The numbers of the account and their details. From "Truecaller for Business: Number details".

        Returns and raises what `numbers.list` of the async client does; its documentation has the details.
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
        """List numbers under a feature set. From "Truecaller for Business: List numbers".

        `numbers` are any iterable of numbers with country code, with or without `+`; one that comes twice is sent
        once. More than 10,000 go in several requests, one after the other, and the answers are merged. The job's
        `status` is "pending" where it was taken; the server ignores a number whose delisting still runs. See
        `wait_listed`.

        Returns and raises what `numbers.publish` of the async client does; its documentation has the details.
        """
        numbers = read_here(numbers)
        return self._portal.run(lambda client: client.numbers.publish(feature_set_id, numbers))

    def delist(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """Take numbers off a feature set. From "Truecaller for Business: Delist numbers".

        Returns and raises what `numbers.delist` of the async client does; its documentation has the details.
        """
        numbers = read_here(numbers)
        return self._portal.run(lambda client: client.numbers.delist(feature_set_id, numbers))

    def wait_listed(
        self, feature_set_id: Id, numbers: Iterable[str], *, timeout: float, poll: PollPolicy | None = None
    ) -> tuple[Number, ...]:
        """Look at the details of the feature set until every one of these numbers is "listed"; their details, in the
        order given.

        Looks at all pages each time, at most for `timeout` seconds and until the policy's deadline. Numbers are cleaned
        as by `publish`. From "Truecaller for Business: Number details".

        Raises `DeadlineExceeded` that says how many are missing and which words they have instead; `ValidationError`
        before sending, also for a `timeout` that is not a finite number above 0; and what `list` raises.

        Returns and raises what `numbers.wait_listed` of the async client does; its documentation has the details.
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
        cap: int = CAP,
    ) -> Path:
        """Save the answers of a feedback campaign since `from_date` to `path`. From "Truecaller for Business: Export
        user feedback", deprecated.

        `from_date` is an aware datetime. The form of the file is documented nowhere. It may come from the API's own
        host, from hosts below truecaller.com, and from the `hosts` given here, such as "files.example" or
        "files.example:8443".
        It is written beside `path`, with `.part` at the end of its name, and renamed when it is whole; at most `cap`
        bytes are taken.

        Warns `TruecallerDeprecationWarning`. Raises `ValidationError` before sending, also where `path` exists and
        `overwrite` is false; `ConfigError` where the link leads to another host or the file cannot be written;
        `DecodeError` where the answer has no link or the file is larger than `cap`; the errors of `APIStatusError` and
        `TransportError`. After any of them there is no file. The fetching of the file is tried once: ask again.

        Returns and raises what `exports.user_feedback` of the async client does; its documentation has the details.
        """
        return self._portal.run(
            lambda client: client.exports.user_feedback(
                survey_id, path, from_date=from_date, hosts=hosts, overwrite=overwrite, cap=cap
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
        cap: int = CAP,
    ) -> Path:
        """Save the call-me-back log from `start` to `end` to `path`. From "Truecaller for Business: Export call me
        back", deprecated.

        `start` and `end` are aware datetimes. The documentation contradicts itself about the `unit` in which they are
        sent: its examples are seconds, its text says milliseconds. All else, warning and errors too, as
        `user_feedback`.

        Returns and raises what `exports.call_me_back` of the async client does; its documentation has the details.
        """
        return self._portal.run(
            lambda client: client.exports.call_me_back(
                path, start=start, end=end, unit=unit, hosts=hosts, overwrite=overwrite, cap=cap
            )
        )


class Tokens:
    """`client.tokens`: what there is, and what may still be made. Requests take care of tokens by themselves."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def status(self) -> TokenStatus:
        """The live tokens of the account, and the budget of new ones, as this client's state knows them.

        Returns and raises what `tokens.status` of the async client does; its documentation has the details.
        """
        return self._portal.run(lambda client: client.tokens.status())

    def make(self) -> str | None:
        """Create one more token, which requests then use; its `token_id`. None where `max_tokens` are live, or where
        another task made one in the meantime.

        Returns and raises what `tokens.make` of the async client does; its documentation has the details.
        """
        return self._portal.run(lambda client: client.tokens.make())
