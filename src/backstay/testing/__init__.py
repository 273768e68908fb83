"""In-memory doubles of every port, for tests of pipelines: ours and yours."""

from backstay.testing.children import FakeChild, FakeChildren
from backstay.testing.clock import FakeClock
from backstay.testing.database import FakeDatabase
from backstay.testing.engine import FakeEngine
from backstay.testing.host import FakeHost
from backstay.testing.prober import FakeProber
from backstay.testing.router import FakeRouter
from backstay.testing.secrets import FakeSecrets
from backstay.testing.wal import FakeReceiver, FakeWalFolder, FakeWalServer

__all__ = [
    "FakeChild",
    "FakeChildren",
    "FakeClock",
    "FakeDatabase",
    "FakeEngine",
    "FakeHost",
    "FakeProber",
    "FakeReceiver",
    "FakeRouter",
    "FakeSecrets",
    "FakeWalFolder",
    "FakeWalServer",
]
