"""Simulated campaigns: client, engine and sandbox state in one process, on virtual time.

A seed gives one `Scenario` (`scenario`): the server, the network, the clocks, the campaigns and all faults, drawn from
`random.Random(seed)` only, as data that can be printed. `player` plays it process by process: a process starts, works,
perhaps dies at a journal write, and the next one continues. The ports between engine and world (`delayed_ports`,
`network`) add a random number of loop turns or a short time to each call, so that another seed is another order of
events. `evidence` collects what happened, and `invariants` checks it.

`python -m tests.simulation` plays many seeds, or prints one as a timeline.
"""
