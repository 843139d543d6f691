"""Make the requests of a run: choose work, send and poll batches, isolate bad records, use tokens."""
