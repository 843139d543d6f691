"""The blocking client, for programs that do not use asyncio.

    from truecaller_async.blocking import TruecallerClient

    with TruecallerClient.from_env() as client:
        client.calls.push(record)
        with client.push_many(read_csv("campaign.csv")) as results:
            for result in results:
                ...
        print(results.summary)

It has the methods of `truecaller_async.TruecallerClient`, without `await`. Each method passes its arguments to the
async method and waits for the result; the async method documents the API call and its errors in full.

Invariants:
    - All work runs on one event loop in one background thread, so the client also works if the calling thread runs a
      loop of its own (a notebook).
    - Any number of threads may use one client at the same time.
    - After `fork()` the child process gets a new client behind the same object.
    - Ctrl-C cancels the call that it interrupts. An interrupted campaign ends in order when its `with` block is left.
"""

from truecaller_async.blocking.campaign import Campaign
from truecaller_async.blocking.client import TruecallerClient
from truecaller_async.blocking.pagination import Listing

__all__ = ["Campaign", "Listing", "TruecallerClient"]
