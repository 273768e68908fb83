"""In-memory doubles of every port, for tests of pipelines: ours and yours."""

from backstay.testing.children import FakeChild, FakeChildren
from backstay.testing.clock import FakeClock
from backstay.testing.cluster import FakeClusters
from backstay.testing.database import FakeDatabase
from backstay.testing.engine import FakeEngine
from backstay.testing.host import FakeHost
from backstay.testing.linter import FakeLinter
from backstay.testing.manager import FakeManager
from backstay.testing.moments import Moments
from backstay.testing.prober import FakeProber
from backstay.testing.router import FakeRouter
from backstay.testing.scratch import FakeScratches
from backstay.testing.secrets import FakeSecrets
from backstay.testing.wal import FakeReceiver, FakeWalFolder, FakeWalServer

__all__ = [
    "FakeChild", "FakeChildren", "FakeClock", "FakeClusters", "FakeDatabase", "FakeEngine", "FakeHost",
    "FakeLinter", "FakeManager", "FakeProber", "FakeReceiver", "FakeRouter", "FakeScratches", "FakeSecrets",
    "FakeWalFolder", "FakeWalServer", "Moments",
]  # fmt: skip
