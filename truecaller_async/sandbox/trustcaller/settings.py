"""What the sandbox's TrustCaller account has: its first key, its permissions, its numbers, its calls.

The defaults hold the documentation's own samples (number 12345, call 98765, the test number of prefix 8613), so that
its example programs find what they ask for, and beside them some of the seed's own, so that there are pages to turn
and days to choose from. The account's first key has the id 6: the first one that is made has the 7 of the samples.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret

FIRST_KEY_ID = 6
API_ACCESS = "api_access"
KEYS_MANAGE = "api_keys_manage"
PERMISSIONS = frozenset({API_ACCESS, KEYS_MANAGE})

INVENTED_NUMBERS_COUNT = 24
INVENTED_CALLS_COUNT = 40
LETTERS = string.ascii_letters + string.digits
TOKEN_CHARS = 40

_TOKEN = re.compile(r"[!-~]+", re.ASCII)


@attrs.frozen
class SandboxNumber:
    """A reserved number of the account. From "TrustCaller API: List numbers"."""

    id: int
    number: str
    created_at: datetime = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    ivr_id: int | None = None


@attrs.frozen(kw_only=True)
class SandboxCall:
    """A call detail record. From "TrustCaller API: List calls". `duration` is seconds, `pdd` milliseconds.

    `caller` is the whole number; what the answers show of it has its last three digits masked.
    """

    id: int
    caller: str
    number: str
    start_at: datetime
    duration: int
    pdd: int = 850
    call_unique_id: str
    call_acceptable: bool = True
    short_call: bool = False
    hang_cause: str = "NORMAL_CLEARING"


DOCUMENTED_NUMBER = SandboxNumber(12345, "120000486562997")
DOCUMENTED_CALL = SandboxCall(
    id=98765,
    caller="8823412000",
    number="120000486562997",
    start_at=datetime(2026, 5, 15, 14, 30, tzinfo=UTC),
    duration=135,
    call_unique_id="abc123-xyz789",
)
TEST_NUMBERS = {"8613": "8613912345678", "4479": "447900000123", "1200": "120000486562997"}
"""Public test numbers by prefix. The first is the documentation's."""


def random_token(rng: random.Random, key_id: int) -> str:
    """A token in the form of the sample: the key's number, a bar, and letters."""
    return f"{key_id}|{''.join(rng.choices(LETTERS, k=TOKEN_CHARS))}"


def _token(settings: TrustCallerSettings) -> Secret:
    rng = random.Random(f"trustcaller token {settings.seed}")  # noqa: S311 - repeatable on purpose, guards nothing
    return Secret(random_token(rng, FIRST_KEY_ID))


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _frozen(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


def _numbers(settings: TrustCallerSettings) -> tuple[SandboxNumber, ...]:
    rng = random.Random(f"trustcaller numbers {settings.seed}")  # noqa: S311 - repeatable on purpose
    invented = (
        SandboxNumber(DOCUMENTED_NUMBER.id + place, f"1200004{rng.randrange(10**8):08d}")
        for place in range(1, INVENTED_NUMBERS_COUNT + 1)
    )
    return (DOCUMENTED_NUMBER, *invented)


def _calls(settings: TrustCallerSettings) -> tuple[SandboxCall, ...]:
    """The documented call, and others at intervals before it."""
    rng = random.Random(f"trustcaller calls {settings.seed}")  # noqa: S311 - repeatable on purpose
    numbers = [one.number for one in settings.numbers] or [DOCUMENTED_NUMBER.number]
    invented = []
    for place in range(1, INVENTED_CALLS_COUNT + 1):
        duration = rng.randrange(0, 600)
        invented.append(
            SandboxCall(
                id=DOCUMENTED_CALL.id - place,
                caller=f"8823{rng.randrange(10**6):06d}",
                number=rng.choice(numbers),
                start_at=DOCUMENTED_CALL.start_at - timedelta(hours=8 * place, seconds=rng.randrange(3600)),
                duration=duration,
                pdd=rng.randrange(200, 3000),
                call_unique_id=f"{rng.getrandbits(24):06x}-{rng.getrandbits(24):06x}",
                short_call=duration < 6,
                hang_cause="NORMAL_CLEARING" if duration else "NO_ANSWER",
            )
        )
    return (DOCUMENTED_CALL, *invented)


@attrs.frozen(kw_only=True)
class TrustCallerSettings:
    """The settings of the sandbox's TrustCaller account. Durations are seconds.

    `token`: the account's first key. `permissions`: what an administrator has granted, out of api_access and
    api_keys_manage. `limit` requests are admitted in any `per` seconds, of all keys together: whether the service
    counts them by key, account or address is documented nowhere, and this is the strictest reading. `numbers`,
    `calls`: what the account has. `live`: the numbers on which a live call is present.

    Raises `ConfigError` where a value is out of its range.
    """

    seed: int = 0
    token: Secret = attrs.field(default=attrs.Factory(_token, takes_self=True), converter=_secret)
    permissions: frozenset[str] = attrs.field(default=PERMISSIONS, converter=_frozen)
    limit: int = 60
    per: float = 60.0
    numbers: tuple[SandboxNumber, ...] = attrs.field(default=attrs.Factory(_numbers, takes_self=True))
    calls: tuple[SandboxCall, ...] = attrs.field(default=attrs.Factory(_calls, takes_self=True))
    live: frozenset[str] = attrs.field(default=frozenset({DOCUMENTED_NUMBER.number}), converter=_frozen)

    def __attrs_post_init__(self) -> None:
        _require(_TOKEN.fullmatch(self.token.reveal()), "token", "printable text without spaces")
        _require(self.permissions <= PERMISSIONS, "permissions", f"out of {_listed(PERMISSIONS)}")
        _require(self.limit >= 1, "limit", "1 request or more")
        _require(self.per > 0, "per", "more than 0 seconds")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _require(condition: object, name: str, rule: str) -> None:
    if not condition:
        raise ConfigError(f"TrustCallerSettings.{name} cannot be used: it must be {rule}")
