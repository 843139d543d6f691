"""Adapters of the `Observer` port: logging, and isolation of the observer that the caller gives."""

from truecaller_async.telemetry.logging_observer import LoggingObserver
from truecaller_async.telemetry.safe_observer import SafeObserver

__all__ = ["LoggingObserver", "SafeObserver"]
