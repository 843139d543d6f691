"""State of one sandbox account: tokens, limits, batches, numbers. No I/O and no clock.

`SandboxState.handle` takes one request and the time in wall-clock seconds, and returns one answer. The same requests at
the same times give the same answers, including ids. If the clock goes back, the previous time is used until the clock
has caught up.

Algorithm:
    Checks of a request in this order, unless a fault plan ends it earlier:
    1. path and method (404, 405);
    2. token: a missing header is 401 "Missing authorization header", an unknown or expired token is 401 "please login
       again". The texts are documented, the statuses are inferred;
    3. account in the path: another account is 403 (documented text, inferred status);
    4. rate limits (`sliding_log`), counted as documented. The 429 with `Retry-After` is chosen by the sandbox, because
       the documentation mentions 429 in prose only;
    5. content (`batches`, `endpoints`). A request that fails here was admitted and counted. The content type, unknown
       fields and unknown parameters are ignored.
Invariants:
    - An unknown batch id is 404 (undocumented).
    - The status of a batch can be requested through the path of any version.
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
"""Labels on a page if the request names no limit."""


@attrs.frozen
class Stats:
    """Counters since the start or the last reset."""

    requests: dict[str, dict[str, int]]
    """Requests that reached the API, by call and by status of the answer.

    A request whose answer a fault replaced is included; a request that a fault kept from the API is not.
    """
    faults: dict[str, dict[str, int]]
    """Injected faults, by call and by name, for example "apply+reset".

    A name that does not begin with "apply" counts requests that did not reach the API; no other counter includes them.
    """
    admitted: int
    """Requests that passed the rate limits."""
    refused: int
    """Requests that were answered with 429 by the rate limits."""
    violations: dict[str, int]
    """By limit: requests over the limit, rejected or not."""
    peaks: dict[str, int]
    """By limit: the most requests admitted in one window of one token, or of the account."""
    mints: int
    """Tokens created."""
    tokens_live: int
    """Tokens valid at the time of the latest request."""
    batches: int
    """Batches accepted."""
    records_applied: int
    """Records that took effect."""
    records_kept: int
    """Records that the truth log still stores."""
    duplicates: dict[str, int]
    """By call: POSTs whose body had been applied before."""
    first_submit: float | None
    """Wall-clock seconds of the first accepted batch."""
    last_submit: float | None
    """Wall-clock seconds of the latest accepted batch."""

    @property
    def reached_api(self) -> int:
        """Number of requests that reached the API."""
        return sum(sum(statuses.values()) for statuses in self.requests.values())

    @property
    def faulted(self) -> int:
        """Number of requests with an injected fault, whether or not they reached the API."""
        return sum(sum(done.values()) for done in self.faults.values())

    @property
    def blocked_by_faults(self) -> int:
        """Number of requests that a fault kept from the API."""
        return sum(count for done in self.faults.values() for name, count in done.items() if not reaches_api(name))


@attrs.frozen(repr=False)
class _Post:
    """Admitted POST of records; `new_id` is the batch id for the answer."""

    call: str
    form: Form
    token: int
    body: bytes
    now: float
    new_id: str


class SandboxState:
    """One account; `began` is its start in wall-clock seconds, by default the time of the first request."""

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
        """Answer one request. Raises nothing.

        Args:
            method: HTTP method.
            path_qs: path and query.
            headers: headers with lower-case names.
            body: body in bytes.
            now: wall-clock seconds; also the `Date` of the answer.
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
        if isinstance(target, SandboxResponse):
            call, reply = "other", target
        else:
            call, reply = target.route.call, self._answer(target, headers, body, now)
        self._requests[call, reply.status] += 1
        return reply

    def stats(self) -> Stats:
        """Return the counters so far."""
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
        """Return the next `limit` applied records with a number above `after`, in order."""
        return self._truth.entries(after, limit)

    def export_file(self, name: str, now: float) -> SandboxResponse:
        """Return the file of an export link; needs no token and is not counted."""
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
        """Return the rejections of the records that break a rule, by index."""
        refusal_of, now_ms = self._inspectors[post.form.version].refusal, math.floor(post.now * 1000)
        return {
            index: refusal
            for index, record in enumerate(records)
            if (refusal := refusal_of(record, now_ms)) is not None
        }

    def _apply(self, post: _Post, records: Sequence[Record], refused: Mapping[int, RecordRejection]) -> None:
        """Record that a POST took effect.

        A real-time record is final at once; only v1 returns an id for it.
        """
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
        """Return a UUID, or an id in the form of the one documented sample that is not a UUID."""
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
