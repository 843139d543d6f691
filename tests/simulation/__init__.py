"""Whole worlds by the thousand: the client, the engine and the sandbox's state in one process, on virtual time.

A seed is a fate (`fate`): the server, the network, the clocks, the campaigns, and everything that befalls them, drawn
from one `random.Random(seed)` and nothing else, as data that can be printed. A fate is played (`playing`) life after
life: a process begins, works, perhaps dies at a write of its journal, and the next one goes on. Between the engine and
the world stand the ports (`borders`, `network`); each call through one of them takes a random number of turns of the
loop or a little time, so that another seed is another order of events. What happened is written down (`evidence`), and
afterwards every invariant of the catalogue is asked whether it was kept (`invariants`).

`python -m tests.simulation` plays many seeds, or tells one of them as a timeline.
"""
