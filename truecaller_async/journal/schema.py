"""Define the tables of a journal file.

Algorithm:
    - `campaign`: one row. How the campaign started, the salt of its fingerprints, and the totals as JSON, which change
      with each transaction. `purged` is 1 after a purge.
    - `read_block`: one row per `RowsRead`. Position of the end of its last row, and the fingerprints of its rows.
    - `outcome_kind`: one row per distinct outcome. Everything that a `RowsSettled` says except rows and batch.
    - `batch`: one row per batch. `source_*` is the file position before the block that contains it. `maybe_received`,
      `lost_answers`, `excluded_rows`, `abandoned`: see `campaign.core.batch_state` and `campaign.core.campaign_state`.
    - `row_outcome`: one row per source row whose outcome differs from that of its batch, or that has no batch.
    - `payload`: the records of a batch whose source cannot be read again, until its last row is settled.
    - `attempt`: one row per `AttemptStarted`, completed by its `AttemptEnded`.
    - `run`: one row per `RunStarted`, with its latest `CostReported`.
    - `operator_decision`: one row per entry. `note`: one row per name, with the latest value.

    `batch.common_outcome`: outcome id of all rows of the batch without an entry in `row_outcome` and not moved to
    another batch; `common_outcome_rows`: how many. While `open_rows > 0`: `closed` = settled or moved rows,
    `pending_outcomes` = the outcome ids of the settled ones.
Invariants:
    - The outcome of a row is in `row_outcome`; if not, it is the common outcome of the batch with the highest `seq`
      among those that contain the row.
    - Rows that are not a plain range are packed (`journal.row_packing`). Times are wall-clock seconds.
    - No STRICT tables, because they need SQLite 3.37.
"""

from __future__ import annotations

APPLICATION_ID = 0x54434A31
"""The mark in the header of each journal file: "TCJ1"."""

VERSION = 3
"""The version of the tables, stored as `user_version`. Each new version needs a step in `journal.migrations`."""

SCHEMA = """
CREATE TABLE campaign(
    id INTEGER PRIMARY KEY CHECK (id = 1), started TEXT, salt BLOB, totals BLOB, purged INTEGER NOT NULL DEFAULT 0);
INSERT INTO campaign(id) VALUES (1);
CREATE TABLE note(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run(run_no INTEGER PRIMARY KEY, pid INTEGER NOT NULL, started_at REAL NOT NULL, cost BLOB);
CREATE TABLE read_block(
    last_row INTEGER PRIMARY KEY, line INTEGER NOT NULL, offset INTEGER NOT NULL, fingerprints BLOB NOT NULL);
CREATE TABLE outcome_kind(
    id INTEGER PRIMARY KEY, outcome TEXT NOT NULL, reason TEXT, field TEXT, attempts INTEGER NOT NULL,
    possibly_duplicated INTEGER NOT NULL);
CREATE TABLE row_outcome(row INTEGER PRIMARY KEY, outcome_id INTEGER NOT NULL, seq INTEGER);
CREATE TABLE batch(
    seq INTEGER PRIMARY KEY, parent INTEGER, root_batch INTEGER, call TEXT NOT NULL,
    source_row INTEGER NOT NULL, source_line INTEGER NOT NULL, source_offset INTEGER NOT NULL,
    first_row INTEGER NOT NULL, last_row INTEGER NOT NULL, rows BLOB,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, maybe_received INTEGER NOT NULL, lost_answers INTEGER NOT NULL,
    possibly_duplicated INTEGER NOT NULL, abandoned INTEGER NOT NULL, batch_id TEXT, accepted_at REAL,
    reason TEXT, field TEXT, excluded_rows BLOB,
    open_rows INTEGER NOT NULL, closed BLOB, pending_outcomes BLOB,
    common_outcome INTEGER, common_outcome_rows INTEGER NOT NULL);
CREATE INDEX open_batch ON batch(seq) WHERE open_rows > 0;
CREATE INDEX batch_of_row ON batch(first_row);
CREATE TABLE payload(seq INTEGER PRIMARY KEY, records BLOB NOT NULL);
CREATE TABLE attempt(
    seq INTEGER NOT NULL, attempt_no INTEGER NOT NULL, started_at REAL NOT NULL, token_id TEXT NOT NULL,
    event TEXT, ended_at REAL, detail TEXT, PRIMARY KEY (seq, attempt_no)) WITHOUT ROWID;
CREATE TABLE operator_decision(seq INTEGER NOT NULL, decided_at REAL NOT NULL, applied INTEGER NOT NULL);
"""
