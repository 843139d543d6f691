"""The account behind the sandbox: its tokens, its limits, its batches. No socket, no clock, no chance.

`SandboxState.handle` takes one request and the moment (wall-clock seconds) and gives one reply; the same requests at
the same moments give the same replies, ids included. A clock that steps back stands still until it has caught up.

A request goes through these doors in this order:

1. the path and method (404, 405);
2. the token: a missing header is 401 "Missing authorization header", an unknown or expired token 401 "please login
   again". Both texts are documented, their status is inferred;
3. the account in the path: another one is 403, documented text, inferred status;
4. the limits (`counting`), each counted as documented. That a refusal is 429 with `Retry-After` is the sandbox's
   choice: the documentation names 429 in prose and prints no answer;
5. the content (`records`). A request that fails here was admitted and has been charged.

A new token: missing fields are 400 (documented), asked for in the order `api_key`, `key_id`; wrong credentials are
401 `authorization-error` with a text of the sandbox's own. Only tokens that were created are charged to the mint
limit. Tokens live side by side; a new one ends no other. `X-Public-Access` is not demanded: the copies of the
documentation disagree.

A batch id that is not known is 404 (undocumented). A batch may be asked for through the path of any version.
"""

from __future__ import annotations

import math
import random
import re
import string
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence

import attrs
import msgspec

from truecaller_async.models import Secret
from truecaller_async.sandbox import answers
from truecaller_async.sandbox.answers import Reply, StatusView
from truecaller_async.sandbox.applied import Applied, Verdict, verdict_on
from truecaller_async.sandbox.counting import ACCOUNT, Admission
from truecaller_async.sandbox.records import FORMS, INVALID_INPUT, V1, Form, Inspector, Record, Refusal
from truecaller_async.sandbox.routing import Target, find
from truecaller_async.sandbox.settings import SandboxSettings
from truecaller_async.sandbox.truth import TruthEntry, TruthLog, digest_of

TOKEN_LENGTH = 64
_TOKEN_LETTERS = string.ascii_letters + string.digits
_PAGE_DEFAULTS = {"page": 1, "limit": 1000}
_WHOLE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@attrs.frozen
class Stats:
    """What the server has counted since it began.

    `requests`: by call, by status. `admitted` and `refused`: requests that met the limits and passed, or got a 429.
    `violations`: by limit, requests that found no room under it, refused or not. `peaks`: by limit, the most requests
    admitted in any one window of one token (or of the account). `tokens_live`: at the latest request. `duplicates`:
    by call, POSTs applied whose very body had been applied before. `records_kept`: how many the truth log still has.
    `first_submit`, `last_submit`: when the first and the latest batch were accepted, wall-clock seconds.
    """

    requests: dict[str, dict[str, int]]
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


@attrs.frozen
class _Token:
    number: int
    expires: float


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
    """One account, from nothing."""

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self._rng = random.Random(f"ids {self.settings.seed}")  # noqa: S311 - repeatable on purpose, guards nothing
        self._now = 0.0
        self._tokens: dict[str, _Token] = {}
        self._mints = 0
        self._admission = Admission(self.settings.limits, enforce=self.settings.enforce)
        self._truth = TruthLog(self.settings.truth_limit)
        self._requests: Counter[tuple[str, int]] = Counter()
        self._admitted = 0
        self._first_submit: float | None = None
        self._last_submit: float | None = None
        self._view = StatusView(
            self.settings.client_account_id, Verdict(self.settings.pending_word), self.settings.mask_numbers
        )
        label_ids = [label.id for label in self.settings.labels]
        self._inspectors = {
            version: Inspector(form, label_ids, label_required=self.settings.label_required)
            for version, form in FORMS.items()
        }

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> Reply:
        """Answer one request. Header names are lower case; `now` is wall-clock seconds. Raises nothing."""
        self._now = now = max(self._now, now)
        target = find(method, path_qs)
        if isinstance(target, Reply):
            call, reply = "other", target
        else:
            call, reply = target.call, self._answer(target, headers, body, now)
        self._requests[call, reply.status] += 1
        return reply

    def stats(self) -> Stats:
        """The counts so far."""
        requests: dict[str, dict[str, int]] = {}
        for (call, status), count in sorted(self._requests.items()):
            requests.setdefault(call, {})[str(status)] = count
        return Stats(
            requests=requests,
            admitted=self._admitted,
            refused=sum(count for (_, status), count in self._requests.items() if status == 429),
            violations=dict(self._admission.violations),
            peaks=self._admission.peaks(),
            mints=self._mints,
            tokens_live=sum(token.expires > self._now for token in self._tokens.values()),
            batches=self._truth.batches,
            records_applied=self._truth.records,
            records_kept=self._truth.kept,
            duplicates=dict(self._truth.duplicates),
            first_submit=self._first_submit,
            last_submit=self._last_submit,
        )

    def truth(self, after: int = 0, limit: int = 1000) -> list[TruthEntry]:
        """The next `limit` applied records whose number is above `after`, in the order in which they were applied."""
        return self._truth.entries(after, limit)

    def _answer(self, target: Target, headers: Mapping[str, str], body: bytes, now: float) -> Reply:
        if target.call == "mint":
            return self._mint(target, body, now)
        token = self._token_of(headers, now)
        if isinstance(token, Reply):
            return token
        if target.account != self.settings.client_account_id:
            return _forbidden()
        wait = self._admission.admit(target.call, token, now)
        if wait:
            return answers.rate_limited(wait)
        self._admitted += 1
        if target.call == "status":
            return self._status(target, now)
        if target.call == "labels":
            return self._labels(target)
        post = _Post(target.call, target.form, token, body, now, self._new_id())
        return self._submit(post) if post.call == "submit" else self._push(post)

    # ---- tokens

    def _mint(self, target: Target, body: bytes, now: float) -> Reply:
        wrong = self._wrong_login(target.account, body)
        if wrong is not None:
            return wrong
        wait = self._admission.admit("mint", ACCOUNT, now)
        if wait:
            return answers.rate_limited(wait)
        self._admitted += 1
        self._mints += 1
        self._drop_expired(now)
        value = "".join(self._rng.choices(_TOKEN_LETTERS, k=TOKEN_LENGTH))
        self._tokens[value] = _Token(self._mints, now + self.settings.token_life)
        return answers.token(value, now)

    def _wrong_login(self, account: str, body: bytes) -> Reply | None:
        try:
            login = msgspec.json.decode(body, type=dict[str, str])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return answers.error(400, "invalid-input", INVALID_INPUT)
        for name in ("api_key", "key_id"):
            if not login.get(name):
                return answers.error(400, "invalid-input", f"{name} is required")
        if login["key_id"] != self.settings.key_id or Secret(login["api_key"]) != self.settings.api_key:
            return answers.error(401, "authorization-error", "key_id or api_key is wrong")
        return None if account == self.settings.client_account_id else _forbidden()

    def _token_of(self, headers: Mapping[str, str], now: float) -> int | Reply:
        header = headers.get("authorization")
        if not header:
            return answers.error(401, "authorization-error", "Missing authorization header")
        scheme, _, value = header.partition(" ")
        token = self._tokens.get(value.strip()) if scheme.lower() == "bearer" else None
        if token is None or token.expires <= now:
            return answers.error(401, "authorization-error", "please login again")
        return token.number

    def _drop_expired(self, now: float) -> None:
        for value, token in list(self._tokens.items()):
            if token.expires <= now:
                del self._tokens[value]
                self._admission.forget(token.number)

    # ---- records

    def _submit(self, post: _Post) -> Reply:
        records = post.form.read_batch(post.body)
        if isinstance(records, Refusal):
            return answers.refused_batch(post.form, records, post.new_id)
        refused = self._refused(post, records)
        if refused and self.settings.batch_validation == "whole":
            return answers.refused_batch(post.form, refused[min(refused)], post.new_id)
        self._apply(post, records, refused)
        if self._first_submit is None:
            self._first_submit = post.now
        self._last_submit = post.now
        return answers.accepted_batch(post.form, post.new_id)

    def _push(self, post: _Post) -> Reply:
        record = post.form.read_record(post.body)
        if isinstance(record, Refusal):
            return answers.refused_push(post.form, record, post.new_id)
        refused = self._refused(post, [record])
        if refused:
            return answers.refused_push(post.form, refused[0], post.new_id)
        self._apply(post, [record], refused)
        return answers.pushed(post.form, verdict_on(record), post.new_id)

    def _refused(self, post: _Post, records: Sequence[Record]) -> dict[int, Refusal]:
        """The records that break a rule, by index."""
        refusal_of, now_ms = self._inspectors[post.form.version].refusal, math.floor(post.now * 1000)
        return {
            index: refusal
            for index, record in enumerate(records)
            if (refusal := refusal_of(record, now_ms)) is not None
        }

    def _apply(self, post: _Post, records: Sequence[Record], refused: Mapping[int, Refusal]) -> None:
        """From here on it has happened. A real-time record is final at once; only v1 tells an id for it."""
        batched = post.call == "submit"
        digest = digest_of(post.body)
        self._truth.append(
            Applied(
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
                attempt=self._truth.attempt(digest),
            )
        )

    def _status(self, target: Target, now: float) -> Reply:
        batch_id = target.asked("batchId")
        if batch_id is None:
            return answers.error(400, "invalid-input", "batchId is required")
        applied = self._truth.batch(batch_id)
        if applied is None:
            return answers.error(404, "not-found", "no batch of this account has this batchId")
        return answers.batch_status(target.form, applied, now, self._view)

    def _labels(self, target: Target) -> Reply:
        numbers = {}
        for name, default in _PAGE_DEFAULTS.items():
            text = target.asked(name) or str(default)
            if not _WHOLE.fullmatch(text):
                return answers.error(400, "invalid-input", f"{name} must be a whole number from 1")
            numbers[name] = int(text)
        start = (numbers["page"] - 1) * numbers["limit"]
        return answers.labels(self.settings.labels[start : start + numbers["limit"]])

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))


def _forbidden() -> Reply:
    return answers.error(403, "forbidden-error", "not authorized. please contact your admin.")
