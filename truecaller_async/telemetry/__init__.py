"""What the library tells about itself: adapters of the `Observer` port."""

from truecaller_async.telemetry.guarded import GuardedObserver
from truecaller_async.telemetry.log import LogObserver

__all__ = ["GuardedObserver", "LogObserver"]
