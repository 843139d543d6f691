"""The tables of a journal on disk.

One row for each batch, and one for each record whose word is not that of its batch: what was delivered costs nothing.
A *word* is everything a `RowsSettled` says of a row; each different one is kept once, in `said`.

- `campaign` is one row: how it began, and the totals, which change with each transaction.
- `span` is one row for each `RowsRead`: the end of the rows that were read, and their prints.
- `batch.rest` is the word of every row of it that has none of its own and was not planned anew, and `rested` is how
  many these are. While some of its rows are open (`owes`), `closed` are the others, and `words` what was said of them.
- The word of a row is in `word`, or is the rest of the batch that planned the row last, the one with the highest `seq`.
- Rows that are not a plain range are packed (`journal.row_ranges`).

Everything that speaks of time is wall-clock seconds. STRICT tables would need a newer SQLite than many systems have.
"""

from __future__ import annotations

APPLICATION_ID = 0x54434A31
"""What marks a file as one of ours: "TCJ1"."""

VERSION = 1
"""Of the tables. A file with a higher one was written by a newer library."""

SCHEMA = """
CREATE TABLE campaign(
    id INTEGER PRIMARY KEY CHECK (id = 1), begun TEXT, salt BLOB, totals BLOB, purged INTEGER NOT NULL DEFAULT 0);
INSERT INTO campaign(id) VALUES (1);
CREATE TABLE note(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run(n INTEGER PRIMARY KEY, pid INTEGER NOT NULL, began REAL NOT NULL, spent BLOB);
CREATE TABLE span(row INTEGER PRIMARY KEY, lines INTEGER NOT NULL, offset INTEGER NOT NULL, prints BLOB NOT NULL);
CREATE TABLE said(
    id INTEGER PRIMARY KEY, outcome TEXT NOT NULL, reason TEXT, field TEXT, attempts INTEGER NOT NULL,
    twice INTEGER NOT NULL);
CREATE TABLE word(row INTEGER PRIMARY KEY, said INTEGER NOT NULL, seq INTEGER);
CREATE TABLE batch(
    seq INTEGER PRIMARY KEY, parent INTEGER, root INTEGER, via TEXT NOT NULL,
    begins_row INTEGER NOT NULL, begins_lines INTEGER NOT NULL, begins_offset INTEGER NOT NULL,
    row0 INTEGER NOT NULL, last INTEGER NOT NULL, rows BLOB,
    state TEXT NOT NULL, tries INTEGER NOT NULL, sends INTEGER NOT NULL, doubts INTEGER NOT NULL,
    resent INTEGER NOT NULL, abandoned INTEGER NOT NULL, batch_id TEXT, accepted_at REAL, reason TEXT, field TEXT,
    excluded_rows BLOB, owes INTEGER NOT NULL, closed BLOB, words BLOB, rest INTEGER, rested INTEGER NOT NULL);
CREATE INDEX open_batch ON batch(seq) WHERE owes > 0;
CREATE INDEX batch_of_row ON batch(row0);
CREATE TABLE payload(seq INTEGER PRIMARY KEY, records BLOB NOT NULL);
CREATE TABLE attempt(
    seq INTEGER NOT NULL, k INTEGER NOT NULL, at REAL NOT NULL, token_id TEXT NOT NULL, event TEXT, ended_at REAL,
    detail TEXT, PRIMARY KEY (seq, k)) WITHOUT ROWID;
CREATE TABLE judged(seq INTEGER NOT NULL, at REAL NOT NULL, applied INTEGER NOT NULL);
"""
