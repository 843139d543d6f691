"""What the library tells about itself: adapters of the `Observer` port."""

from truecaller_async.telemetry.logging_observer import LoggingObserver
from truecaller_async.telemetry.safe_observer import SafeObserver

__all__ = ["LoggingObserver", "SafeObserver"]
