"""Turn rows into batches, and status rows into the outcomes of rows. Pure: no I/O and no clock."""
