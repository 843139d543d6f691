"""Fault plans: which requests get which fault. Deterministic for a seed.

A plan is JSON, or the classes below:
    {"seed": 7, "faults": [
        {"call": "token", "do": ["apply"]},
        {"call": "batch.submit", "nth": 3, "do": ["apply", "reset"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["reset"]},
        {"call": "*", "from": 10.0, "until": 20.0, "do": ["503"]}]}

`call` is a name of `CALLS`, or "*" for every request to the API, including unknown paths; TrustCaller and the paths
below /_sandbox/ get no faults. The other fields select requests of that call; all that are present must match:

    nth           the n-th request of the call, from 1
    probability   drawn per request; each fault has its own random generator, so all runs draw the same values
    from, until   seconds since the start or the last reset; `until` is exclusive

The first matching fault of the list is injected. `["apply"]` injects nothing, so it exempts a call from later faults.
`do` is a list of steps in this order:

    apply           the request reaches the API and is counted by the limits. Without it the API does not see it
    delay:SECONDS   seconds before the first byte: above 0, below 100,000, at most 6 decimals
    RESPONSE        a name of `FAULT_RESPONSES`; by default "answer", the API's own answer, which needs "apply"

A fault response after "apply" hides that the request took effect; the truth log shows it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Self

import attrs
import msgspec

from truecaller_async.errors import ConfigError
from truecaller_async.sandbox.answers import SandboxResponse
from truecaller_async.sandbox.faults.plan_checks import duplicate_fields, short_repr, shorten_middle, without_bom
from truecaller_async.sandbox.faults.responses import FAULT_RESPONSES, SECONDS, find, rule_for, seconds_of

STEP_SEPARATOR = "+"
APPLY = "apply"
DELAY = "delay"
ANSWER = "answer"
ANY_CALL = "*"

CALLS: Mapping[str, str] = MappingProxyType(
    {
        "mint": "token",
        "push": "push",
        "submit": "batch.submit",
        "status": "batch.status",
        "labels": "labels",
        "publish": "numbers.publish",
        "delist": "numbers.delist",
        "numbers": "numbers.list",
        "feature_sets": "feature_sets",
        "user_feedback": "exports",
        "call_me_back": "exports",
    }
)
"""Names of calls in a plan, by action of the route."""

OTHER = "other"
"""Call name of requests without a route; only "*" matches it."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of a plan: which requests it matches, and its steps.

    Times are seconds since the start of the sandbox.
    """

    call: str
    """Name of the call, or "*"."""
    do: tuple[str, ...]
    """Steps."""
    nth: int | None = None
    """Number of the request of this call, from 1."""
    probability: float | None = None
    """Probability from 0 to 1."""
    since: float | None = msgspec.field(default=None, name="from")
    """Start in seconds, inclusive; `from` in JSON."""
    until: float | None = None
    """End in seconds, exclusive."""

    @property
    def name(self) -> str:
        """Steps joined with "+", as in `Stats.faults`."""
        return STEP_SEPARATOR.join(self.do)

    @property
    def applies(self) -> bool:
        """True if the request reaches the API."""
        return self.do[0] == APPLY

    def respond(self, api_answer: SandboxResponse | None, now: float) -> SandboxResponse:
        """Return the answer that the client gets.

        Args:
            api_answer: answer of the API; None if the request did not reach it.
            now: wall-clock seconds.
        """
        response, argument = find(self.do[-1]) or (FAULT_RESPONSES[ANSWER], None)
        reply = response.make(api_answer, argument, now)
        delay_step = next((step for step in self.do if _is_delay(step)), None)
        return reply if delay_step is None else attrs.evolve(reply, delay=seconds_of(delay_step.partition(":")[2]))


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults in the order in which they are checked, and the seed of their probabilities.

    Raises:
        ConfigError: if the plan is wrong; the message names the JSON path and the rule.
    """

    faults: tuple[Fault, ...]
    """Faults in order."""
    seed: int = 0
    """Seed of the probabilities."""

    def __post_init__(self) -> None:
        for index, fault in enumerate(self.faults):
            for field, value, rule in _problems(fault):
                raise _plan_error(f"faults[{index}].{field} is {short_repr(value)}: it must be {rule}")

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a plan from JSON, with or without a byte order mark.

        Raises:
            ConfigError: if the text is not a valid plan.
        """
        text = without_bom(text)
        try:
            plan = msgspec.json.decode(text, type=cls)
            duplicate = next(duplicate_fields(text), None)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _plan_error(shorten_middle(str(error))) from None
        if duplicate is not None:
            raise _plan_error(f"{duplicate} occurs more than once in one object. Remove the duplicates")
        return plan


class FaultInjector:
    """Selects faults for requests; `injected` counts them by call and by name."""

    def __init__(self, plan: FaultPlan | None, began: float | None) -> None:
        self._faults = plan.faults if plan else ()
        self._began = began
        self._seen = [0] * len(self._faults)
        self._rngs = [
            random.Random(f"fault {plan.seed if plan else 0} {index}")  # noqa: S311 - repeatable on purpose
            for index in range(len(self._faults))
        ]
        self.injected: Counter[tuple[str, str]] = Counter()

    def select(self, action: str | None, now: float) -> Fault | None:
        """Return the fault for one more request, or None."""
        self._began = now if self._began is None else self._began
        call, age = CALLS[action] if action else OTHER, now - self._began
        matching = [fault for index, fault in enumerate(self._faults) if self._matches(index, fault, call, age)]
        if not matching:
            return None
        self.injected[call, matching[0].name] += 1
        return matching[0]

    def _matches(self, index: int, fault: Fault, call: str, age: float) -> bool:
        """Return whether a fault matches. Updates its counter and its generator for every request of its call."""
        if fault.call not in (ANY_CALL, call):
            return False
        self._seen[index] += 1
        draw = self._rngs[index].random()
        return (
            (fault.nth is None or fault.nth == self._seen[index])
            and (fault.probability is None or draw < fault.probability)
            and (fault.since is None or fault.since <= age)
            and (fault.until is None or age < fault.until)
        )


def reaches_api(name: str) -> bool:
    """Return whether a request with the fault of this name reaches the API."""
    return name.partition(STEP_SEPARATOR)[0] == APPLY


def _plan_error(problem: str) -> ConfigError:
    return ConfigError(f"the fault plan is invalid: {problem}")


def _problems(fault: Fault) -> Iterator[tuple[str, object, str]]:
    """Yield field, value and rule of each error."""
    known = sorted({*CALLS.values(), ANY_CALL})
    if fault.call not in known:
        yield "call", fault.call, f"one of {', '.join(known)}"
    yield from _step_problems(fault.do)
    if fault.nth is not None and fault.nth < 1:
        yield "nth", fault.nth, "1 or more"
    if fault.probability is not None and not 0.0 <= fault.probability <= 1.0:
        yield "probability", fault.probability, "from 0 to 1"
    if fault.since is not None and not fault.since >= 0.0:
        yield "from", fault.since, "0 seconds or more"
    if fault.until is not None and not fault.until > (fault.since or 0.0):
        yield "until", fault.until, "more than 0 seconds, and later than `from`"


def _step_problems(do: tuple[str, ...]) -> Iterator[tuple[str, object, str]]:
    first = int(do[:1] == (APPLY,))
    delay_step = first + int(any(_is_delay(step) for step in do[first : first + 1]))
    responses = do[delay_step:]
    if len(responses) > 1 or APPLY in responses or (not first and responses in ((), (ANSWER,))):
        rule = (
            '["apply"], [RESPONSE] or ["apply", RESPONSE], with "delay:SECONDS" before RESPONSE to delay it, '
            'and "answer" only after "apply"'
        )
        yield "do", list(do), rule
    elif responses and find(responses[0]) is None:
        rule = f"{DELAY}:SECONDS, with {SECONDS.rule}" if _names_delay(responses[0]) else rule_for(responses[0])
        yield f"do[{delay_step}]", responses[0], rule


def _names_delay(step: str) -> bool:
    return step.partition(":")[0] == DELAY


def _is_delay(step: str) -> bool:
    return _names_delay(step) and SECONDS.is_good(step.partition(":")[2])
