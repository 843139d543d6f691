"""Answers to a POST of records: accepted or rejected.

Documented: `status_info` for a real-time record of v2; `{"status", "message"}` with the batch id at the end of the
message in v1; `{"batch_id"}` for a batch of v2 and v3. Documented texts are used unchanged.

Chosen by the sandbox: v3 answers like v2; a rejected record or batch is a 400 in every version; a real-time record
that is valid but cannot be shown is a 200 with a failure. The other documented forms are response variants.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from truecaller_async.sandbox.answers import SandboxResponse, answer, invalid
from truecaller_async.sandbox.batches.applied_posts import RecordVerdict
from truecaller_async.sandbox.batches.records import V1, Form, RecordRejection
from truecaller_async.sandbox.faults.response_variants import ResponseVariant

PUSHED = "Record processed successfully"
PUSHED_V1 = "Records Uploaded Successfully"


@attrs.frozen
class RecordAnswers:
    """Answers to POSTs of records, with the response variants of the sandbox."""

    variants: Collection[ResponseVariant]
    """Enabled response variants."""

    def accepted_batch(self, form: Form, batch_id: str) -> SandboxResponse:
        """Return the answer to an accepted batch."""
        if form is V1:
            return _v1("success", PUSHED_V1, batch_id, 200)
        return answer({"batch_id": batch_id})

    def refused_batch(self, form: Form, refusal: RecordRejection, batch_id: str) -> SandboxResponse:
        """Return the answer to a rejected batch."""
        if form is V1:
            return _v1("failure", refusal.message, batch_id, self._refused)
        return invalid(_in_body(refusal.message))

    def pushed(self, form: Form, verdict: RecordVerdict, batch_id: str) -> SandboxResponse:
        """Return the answer to a valid real-time record; the verdict says whether it can be shown."""
        done = verdict.status == "success"
        if form is V1:
            if done and ResponseVariant.EMPTY_V1_PUSH in self.variants:
                return SandboxResponse(200, {}, b"")
            return _v1("success" if done else "failure", verdict.message or PUSHED_V1, batch_id, 200)
        return self._wrapped(RecordVerdict("success" if done else "error", message=verdict.message or PUSHED), 200)

    def refused_push(self, form: Form, refusal: RecordRejection, batch_id: str) -> SandboxResponse:
        """Return the answer to a rejected real-time record."""
        if form is V1:
            return _v1("failure", refusal.message, batch_id, self._refused)
        return self._wrapped(RecordVerdict("error", refusal.field, _in_body(refusal.message)), self._refused)

    @property
    def _refused(self) -> int:
        return 200 if ResponseVariant.FAILURE_IN_200 in self.variants else 400

    def _wrapped(self, verdict: RecordVerdict, status: int) -> SandboxResponse:
        if ResponseVariant.FLAT_STATUS_INFO in self.variants:
            return answer(verdict, status)
        name = "statusInfo" if ResponseVariant.CAMEL_STATUS_INFO in self.variants else "status_info"
        return answer({name: verdict}, status)


def _v1(word: str, message: str, batch_id: str, status: int) -> SandboxResponse:
    return answer({"status": word, "message": f"{message}. BatchID: {batch_id}"}, status)


def _in_body(message: str) -> str:
    return f"Request body is invalid: {message}"
