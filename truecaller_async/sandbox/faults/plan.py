"""What goes wrong between a client and the sandbox, as a plan: data, seeded, the same in every run.

A plan is JSON, or the classes below:

    {"seed": 7, "faults": [
        {"call": "token", "do": ["apply"]},
        {"call": "batch.submit", "nth": 3, "do": ["apply", "reset"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["reset"]},
        {"call": "*", "from": 10.0, "until": 20.0, "do": ["503"]}]}

`call` is one of `CALLS`, or "*" for every request to the API, paths that do not exist too; TrustCaller and the paths
below /_sandbox/ are never concerned. The other fields say which of these requests it strikes; those that are there must
all be true, and without any it is every request:

    nth           the n-th request of that call, counted from 1
    probability   as the dice fall: each fault has its own, so the same request meets the same luck in every run
    from, until   seconds since the sandbox began or was reset; `until` is the first moment after it

The first fault of the list that strikes a request is the one that is done, and the later ones are passed over for it;
`["apply"]`, by which nothing goes wrong, exempts a call from what follows.

`do` is the steps, in this order:

    apply           the request reaches the API, takes effect if it is a good one, and is charged to its limits like any
                    other. Without it the API never sees the request: nothing is applied, charged, or found wrong.
    delay:SECONDS   the first byte of the answer is so late: above 0, below 100,000, with 6 decimals at most
    ENDING          one out of `endings.ENDINGS`: what the client gets. Without one it is "answer", the API's own
                    answer, and that needs "apply"

An ending after "apply" hides what happened, which is the point of it. So every fault exists twice, and a client that
treats both alike is found out by the truth log. Mind that after "apply" some endings are lies that no client can see
through: everywhere else a 429, a 400 or a 401 means that nothing was applied.
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
from truecaller_async.sandbox.faults.parser import duplicate_fields, short_repr, shorten_middle, without_bom
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
"""The name of a call in a plan, by the action of its route."""

OTHER = "other"
"""Requests that no route knows. Only "*" strikes them."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a plan: which requests, and what is done to them. `since` is `from` in JSON."""

    call: str
    do: tuple[str, ...]
    nth: int | None = None
    probability: float | None = None
    since: float | None = msgspec.field(default=None, name="from")
    until: float | None = None

    @property
    def name(self) -> str:
        """What is done, in one word."""
        return STEP_SEPARATOR.join(self.do)

    @property
    def applies(self) -> bool:
        """Whether the request reaches the API."""
        return self.do[0] == APPLY

    def respond(self, api_answer: SandboxResponse | None, now: float) -> SandboxResponse:
        """What the client gets, where the API said that at this moment, or was not asked."""
        ending, argument = find(self.do[-1]) or (FAULT_RESPONSES[ANSWER], None)
        reply = ending.make(api_answer, argument, now)
        late = next((step for step in self.do if _is_delay(step)), None)
        return reply if late is None else attrs.evolve(reply, delay=seconds_of(late.partition(":")[2]))


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults in the order in which they are looked at, and the seed of their dice.

    Raises `ConfigError` with the place and the rule where a plan is wrong.
    """

    faults: tuple[Fault, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        for index, fault in enumerate(self.faults):
            for field, value, rule in _problems(fault):
                raise _plan_error(f"faults[{index}].{field} is {short_repr(value)}: it must be {rule}")

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """The plan in this JSON, which may begin with a byte order mark. Raises `ConfigError`."""
        text = without_bom(text)
        try:
            plan = msgspec.json.decode(text, type=cls)
            again = next(duplicate_fields(text), None)
        except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
            raise _plan_error(shorten_middle(str(wrong))) from None
        if again is not None:
            raise _plan_error(f"{again} stands there twice: a field may stand in an object once")
        return plan


class FaultInjector:
    """A plan under way. `done` counts what was done, by call and by its name."""

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
        """What goes wrong with one more request, if anything does."""
        self._began = now if self._began is None else self._began
        call, age = CALLS[action] if action else OTHER, now - self._began
        struck = [fault for index, fault in enumerate(self._faults) if self._matches(index, fault, call, age)]
        if not struck:
            return None
        self.injected[call, struck[0].name] += 1
        return struck[0]

    def _matches(self, index: int, fault: Fault, call: str, age: float) -> bool:
        """Every fault counts and throws its dice for every request of its call, whatever comes of it."""
        if fault.call not in (ANY_CALL, call):
            return False
        self._seen[index] += 1
        luck = self._rngs[index].random()
        return (
            (fault.nth is None or fault.nth == self._seen[index])
            and (fault.probability is None or luck < fault.probability)
            and (fault.since is None or fault.since <= age)
            and (fault.until is None or age < fault.until)
        )


def reaches_api(name: str) -> bool:
    """Whether a request reaches the API that meets the fault of this name."""
    return name.partition(STEP_SEPARATOR)[0] == APPLY


def _plan_error(what: str) -> ConfigError:
    return ConfigError(f"the fault plan is wrong: {what}")


def _problems(fault: Fault) -> Iterator[tuple[str, object, str]]:
    """Field, value and rule of what is wrong."""
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
    late = first + int(any(_is_delay(step) for step in do[first : first + 1]))
    endings = do[late:]
    if len(endings) > 1 or APPLY in endings or (not first and endings in ((), (ANSWER,))):
        rule = (
            '["apply"], [ENDING] or ["apply", ENDING], with "delay:SECONDS" before ENDING if it is to be late, '
            'and "answer" only after "apply"'
        )
        yield "do", list(do), rule
    elif endings and find(endings[0]) is None:
        rule = f"{DELAY}:SECONDS, with {SECONDS.rule}" if _names_delay(endings[0]) else rule_for(endings[0])
        yield f"do[{late}]", endings[0], rule


def _names_delay(step: str) -> bool:
    return step.partition(":")[0] == DELAY


def _is_delay(step: str) -> bool:
    return _names_delay(step) and SECONDS.is_good(step.partition(":")[2])
