"""The account behind the sandbox: its tokens, its limits, its batches, its numbers. No socket, no clock, no chance.

`SandboxState.handle` takes one request and the moment (wall-clock seconds) and gives one reply; the same requests at
the same moments give the same replies, ids included. A clock that steps back stands still until it has caught up.

A request goes through these doors in this order, unless a fault plan has it end otherwise (`faults`):

1. the path and method (404, 405);
2. the token: a missing header is 401 "Missing authorization header", an unknown or expired token 401 "please login
   again". Both texts are documented, their status is inferred;
3. the account in the path: another one is 403, documented text, inferred status;
4. the limits (`counting`), each counted as documented. That a refusal is 429 with `Retry-After` is the sandbox's
   choice: the documentation names 429 in prose and prints no answer;
5. the content (`records`, `management`, `exports`). A request that fails here was admitted and has been charged. What
   it says of its content type is not looked at, nor are fields and parameters that nobody has heard of.

The rooms beside it do the work: `login` the tokens, `management` the numbers and feature sets, `exports` the links;
the records are dealt with here.

A batch id that is not known is 404 (undocumented). A batch may be asked for through the path of any version.
"""

from __future__ import annotations

import math
import random
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from truecaller_async.sandbox import answers
from truecaller_async.sandbox.answers import SandboxResponse, forbidden, invalid, not_found
from truecaller_async.sandbox.batches.applied_posts import AppliedPost, verdict_on
from truecaller_async.sandbox.batches.record_answers import RecordAnswers
from truecaller_async.sandbox.batches.records import FORMS, V1, Form, Inspector, Record, RecordRejection
from truecaller_async.sandbox.batches.status_rows import StatusRenderer
from truecaller_async.sandbox.endpoints.exports import ExportApi
from truecaller_async.sandbox.endpoints.number_api import NumberApi
from truecaller_async.sandbox.endpoints.pagination import page_of
from truecaller_async.sandbox.endpoints.token_api import TokenApi
from truecaller_async.sandbox.faults.plan import FaultInjector, reaches_api
from truecaller_async.sandbox.faults.response_variants import ResponseVariant
from truecaller_async.sandbox.routing import RouteTarget, find
from truecaller_async.sandbox.settings import SandboxSettings
from truecaller_async.sandbox.sliding_log import AdmissionControl
from truecaller_async.sandbox.truth import TruthEntry, TruthLog, digest_of

LABELS_PAGE_SIZE = 1000


@attrs.frozen
class Stats:
    """What the server has counted since it began.

    `requests`: what the API was asked, by call, by the status of its answer; one that a fault hid is among them, a
    request that a fault kept from the API is not. `faults`: what a fault plan did, by call, by name ("apply+reset"); a
    name that does not begin with "apply" is of requests that the API never saw, and they are found nowhere else.
    `admitted` and `refused`: requests that met the limits and passed, or got a 429. `violations`: by limit, requests
    that found no room under it, refused or not. `peaks`: by limit, the most requests admitted in any one window of one
    token (or of the account). `tokens_live`: at the latest request. `duplicates`: by call, POSTs applied whose very
    body had been applied before. `records_kept`: how many the truth log still has. `first_submit`, `last_submit`: when
    the first and the latest batch were accepted, wall-clock seconds.
    """

    requests: dict[str, dict[str, int]]
    faults: dict[str, dict[str, int]]
    admitted: int
    refused: int
    violations: dict[str, int]
    peaks: dict[str, int]
    mints: int
    tokens_live: int
    batches: int
    records_applied: int
    records_kept: int
    duplicates: dict[str, int]
    first_submit: float | None
    last_submit: float | None

    @property
    def reached_api(self) -> int:
        """Requests that reached the API."""
        return sum(sum(statuses.values()) for statuses in self.requests.values())

    @property
    def faulted(self) -> int:
        """Requests that were met by a fault, whether they reached the API or not."""
        return sum(sum(done.values()) for done in self.faults.values())

    @property
    def blocked_by_faults(self) -> int:
        """Requests that a fault kept from the API."""
        return sum(count for done in self.faults.values() for name, count in done.items() if not reaches_api(name))


@attrs.frozen(repr=False)
class _Post:
    """A write that passed the limits. `new_id` is the batch id of the answer, where the answer has one."""

    call: str
    form: Form
    token: int
    body: bytes
    now: float
    new_id: str


class SandboxState:
    """One account, from nothing. It began at that moment (wall-clock seconds), or with its first request."""

    def __init__(self, settings: SandboxSettings | None = None, began: float | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self._faults = FaultInjector(self.settings.faults, began)
        self._rng = random.Random(f"ids {self.settings.seed}")  # noqa: S311 - repeatable on purpose, guards nothing
        self._now = 0.0
        self._admission = AdmissionControl(self.settings.limits, enforce=self.settings.enforce)
        self._token_api = TokenApi(self.settings, self._admission, self._rng)
        self._number_api = NumberApi(self.settings)
        self._export_api = ExportApi(self.settings, self._new_id)
        self._truth = TruthLog(self.settings.truth_limit)
        self._record_answers = RecordAnswers(self.settings.response_variants)
        self._status_renderer = StatusRenderer.from_settings(self.settings)
        self._requests: Counter[tuple[str, int]] = Counter()
        self._first_submit: float | None = None
        self._last_submit: float | None = None
        label_ids = [label.id for label in self.settings.labels]
        self._inspectors = {
            version: Inspector(form, label_ids, label_required=self.settings.label_required)
            for version, form in FORMS.items()
        }

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        """Answer one request. Header names are lower case; `now` is wall-clock seconds, and the answer's `Date`.

        Raises nothing.
        """
        self._now = now = max(self._now, now)
        target = find(method, path_qs)
        fault = self._faults.select(None if isinstance(target, SandboxResponse) else target.route.action, now)
        if fault is None:
            return self._answer_at_api(target, headers, body, now).with_date(now)
        return fault.respond(self._answer_at_api(target, headers, body, now) if fault.applies else None, now).with_date(
            now
        )

    def _answer_at_api(
        self, target: RouteTarget | SandboxResponse, headers: Mapping[str, str], body: bytes, now: float
    ) -> SandboxResponse:
        """The request is at the API."""
        if isinstance(target, SandboxResponse):
            call, reply = "other", target
        else:
            call, reply = target.route.call, self._answer(target, headers, body, now)
        self._requests[call, reply.status] += 1
        return reply

    def stats(self) -> Stats:
        """The counts so far."""
        return Stats(
            requests=_by_call(self._requests),
            faults=_by_call(self._faults.injected),
            admitted=self._admission.admitted,
            refused=sum(count for (_, status), count in self._requests.items() if status == 429),
            violations=dict(self._admission.violations),
            peaks=self._admission.peaks(),
            mints=self._token_api.minted,
            tokens_live=self._token_api.live_count(self._now),
            batches=self._truth.batches,
            records_applied=self._truth.records,
            records_kept=self._truth.kept_records,
            duplicates=dict(self._truth.duplicates),
            first_submit=self._first_submit,
            last_submit=self._last_submit,
        )

    def truth(self, after: int = 0, limit: int = 1000) -> list[TruthEntry]:
        """The next `limit` applied records whose number is above `after`, in the order in which they were applied."""
        return self._truth.entries(after, limit)

    def export_file(self, name: str, now: float) -> SandboxResponse:
        """The file behind the link of an export; no token is asked for and nothing is counted."""
        self._now = now = max(self._now, now)
        return self._export_api.file(name, now)

    def _answer(self, target: RouteTarget, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        call = target.route.call
        if call == "mint":
            return self._token_api.mint(target.account, body, now)
        token = self._token_api.token_of(headers, now)
        if isinstance(token, SandboxResponse):
            return token
        if target.account != self.settings.client_account_id:
            return forbidden()
        wait = self._admission.admit(call, token, now)
        if wait:
            return answers.rate_limited(wait)
        if call in ("push", "submit"):
            post = _Post(call, target.route.form, token, body, now, self._new_batch_id(target.route.form))
            return self._submit(post) if call == "submit" else self._push(post)
        return self._answer_numbers(target, body, now) if call == "numbers" else self._answer_read(target, headers, now)

    def _answer_numbers(self, target: RouteTarget, body: bytes, now: float) -> SandboxResponse:
        action = target.route.action
        if action == "publish":
            return self._number_api.publish(target, body, now)
        if action == "delist":
            return self._number_api.delist(target, body, now)
        return self._number_api.numbers(target, now)

    def _answer_read(self, target: RouteTarget, headers: Mapping[str, str], now: float) -> SandboxResponse:
        action = target.route.action
        if action == "status":
            return self._status(target, now)
        if action == "labels":
            return self._labels(target)
        if action == "feature_sets":
            return self._number_api.feature_sets(target)
        if action == "user_feedback":
            return self._export_api.user_feedback(target, headers, now)
        return self._export_api.call_me_back(target, headers, now)

    def _submit(self, post: _Post) -> SandboxResponse:
        records = post.form.read_batch(post.body)
        if isinstance(records, RecordRejection):
            return self._record_answers.refused_batch(post.form, records, post.new_id)
        refused = self._refused(post, records)
        if refused and self.settings.batch_validation == "whole":
            return self._record_answers.refused_batch(post.form, refused[min(refused)], post.new_id)
        self._apply(post, records, refused)
        if self._first_submit is None:
            self._first_submit = post.now
        self._last_submit = post.now
        return self._record_answers.accepted_batch(post.form, post.new_id)

    def _push(self, post: _Post) -> SandboxResponse:
        record = post.form.read_record(post.body)
        if isinstance(record, RecordRejection):
            return self._record_answers.refused_push(post.form, record, post.new_id)
        refused = self._refused(post, [record])
        if refused:
            return self._record_answers.refused_push(post.form, refused[0], post.new_id)
        self._apply(post, [record], refused)
        return self._record_answers.pushed(post.form, verdict_on(record), post.new_id)

    def _refused(self, post: _Post, records: Sequence[Record]) -> dict[int, RecordRejection]:
        """The records that break a rule, by index."""
        refusal_of, now_ms = self._inspectors[post.form.version].refusal, math.floor(post.now * 1000)
        return {
            index: refusal
            for index, record in enumerate(records)
            if (refusal := refusal_of(record, now_ms)) is not None
        }

    def _apply(self, post: _Post, records: Sequence[Record], refused: Mapping[int, RecordRejection]) -> None:
        """From here on it has happened. A real-time record is final at once; only v1 tells an id for it."""
        batched = post.call == "submit"
        digest = digest_of(post.body)
        self._truth.append(
            AppliedPost(
                call=post.call,
                form=post.form,
                batch_id=post.new_id if batched or post.form is V1 else None,
                token=post.token,
                at=post.now,
                final_at=post.now + (self.settings.resolve_after if batched else 0.0),
                spread=self.settings.resolve_spread if batched else 0.0,
                records=records,
                refused=refused,
                id_seed=self._new_id(),
                digest=digest,
                post=self._truth.posts + 1,
                first=self._truth.records + 1,
                attempt=self._truth.next_attempt(digest),
            )
        )

    def _status(self, target: RouteTarget, now: float) -> SandboxResponse:
        batch_id = target.query_value("batchId")
        if batch_id is None:
            return invalid("batchId is required")
        applied = self._truth.batch(batch_id)
        late = ResponseVariant.LATE_BATCHES in self.settings.response_variants
        if applied is None or (late and now < applied.at + self.settings.late_for):
            return not_found("no batch of this account has this batchId")
        return self._status_renderer.answer(target.route.form, applied, now)

    def _labels(self, target: RouteTarget) -> SandboxResponse:
        page = page_of(target, LABELS_PAGE_SIZE)
        return page if isinstance(page, SandboxResponse) else answers.labels(page.slice_of(self.settings.labels))

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def _new_batch_id(self, form: Form) -> str:
        """A UUID, or text in the form of the one sample that is none."""
        new_id = self._new_id()
        if form is V1 or ResponseVariant.OPAQUE_BATCH_IDS not in self.settings.response_variants:
            return new_id
        marks = new_id.replace("-", "")
        return f"d{marks[:4]}-{marks[4:9]}-o{marks[9:14]}-{marks[14:23]}"


def _by_call(counts: Mapping[tuple[str, int], int] | Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for (call, what), count in sorted(counts.items()):
        table.setdefault(call, {})[str(what)] = count
    return table
