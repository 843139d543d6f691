"""Golden journals: files that campaigns of one schema version left behind, for tests of later ones.

`python -m tests.journal.golden` makes them with the library as it is, and stores them in the folder of its schema
version, such as `v2`. A folder of an older version is never written again: its files are what users have.

A case is a folder with `journal.db.gz`, `journal.db-wal.gz` if the process was killed with a write-ahead log, the input
file, and `case.json`: what the journal must contain, and the requests that the server handled.
"""
