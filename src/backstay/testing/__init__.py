"""In-memory doubles of every port, for tests of pipelines: ours and yours."""

from backstay.testing.clock import FakeClock
from backstay.testing.database import FakeDatabase
from backstay.testing.engine import FakeEngine
from backstay.testing.host import FakeHost
from backstay.testing.moments import Moments
from backstay.testing.prober import FakeProber
from backstay.testing.router import FakeRouter
from backstay.testing.secrets import FakeSecrets

__all__ = [
    "FakeClock",
    "FakeDatabase",
    "FakeEngine",
    "FakeHost",
    "FakeProber",
    "FakeRouter",
    "FakeSecrets",
    "Moments",
]
