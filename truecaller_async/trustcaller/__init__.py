"""The TrustCaller API: reserved numbers, test numbers, call detail records, live checks, and the keys to all of it.

Another service than Truecaller's, with its own account, its own token and its own limit. It shares transport, errors,
retries and secrets with the rest of the library, and nothing else.

    async with TrustCallerClient.from_env() as client:
        async for call in client.calls.list(from_date=date(2026, 5, 1), to_date=date(2026, 5, 15)):
            ...
        landed = await client.calls.check("120000486562997")

How the room is laid out, each file using only those before it:

    models     what a caller holds             requests   what is asked, pure
    decipher   what is answered, pure          line       permit, attempt, retry
    calls, numbers, keys                       the calls, grouped as the documentation groups them
    client     the roof
"""

from truecaller_async.trustcaller.client import TrustCallerClient
from truecaller_async.trustcaller.models import ApiKey, CallDetail, NewKey, PublicTestNumber, ReservedNumber
from truecaller_async.trustcaller.requester import DOCUMENTED_LIMITS, PATIENT_RETRY

__all__ = [
    "DOCUMENTED_LIMITS",
    "PATIENT_RETRY",
    "ApiKey",
    "CallDetail",
    "NewKey",
    "PublicTestNumber",
    "ReservedNumber",
    "TrustCallerClient",
]
