"""Result sinks: where the results of a campaign are written."""

from truecaller_async.sinks.result_sink import ResultSink, open_sink

__all__ = ["ResultSink", "open_sink"]
