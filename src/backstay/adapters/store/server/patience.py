"""Doing a thing again while the server is away for a moment: restarting, failing over, full of connections."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, TypeVar

from backstay.adapters.store.server.faults import Away, InTheWay
from backstay.errors import StoreError

T = TypeVar("T")
Tell = Callable[[str], None]

OPENING_S: Final = 5.0
"""How long to try at first: a command that cannot begin should say so soon."""

PATIENCE_S: Final = 60.0
"""How long to try once it answered before: a restart of the server must not end a deployment."""

_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0
_CLASHES: Final = 3


def tell_on_stderr(message: str) -> None:
    """One line with the time, as the log of a worker has them."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} {message}", file=sys.stderr, flush=True)


def persist(act: Callable[[], T], patience_s: float, tell: Tell) -> T:
    """What `act` returns, done again for `patience_s` while the server is away, and a few times when another session
    was in the way. Beginning and end of an outage are told. StoreError when it lasts longer."""
    began = time.monotonic()
    wait_s, failures, clashes = _FIRST_WAIT_S, 0, 0
    while True:
        try:
            done = act()
        except InTheWay:
            clashes += 1
            if clashes > _CLASHES:
                raise
            continue
        except Away as away:
            if time.monotonic() - began >= patience_s:
                raise StoreError(
                    f"{away.message}; tried for {patience_s:g} s", hint=away.hint, state=away.state
                ) from away
            failures += 1
            if failures == 2:  # once is no outage: the server may have closed a connection that was idle
                tell(f"{away.message}; trying again for up to {patience_s:g} s")
        else:
            if failures > 1:
                tell(f"the state store answers again after {time.monotonic() - began:.1f} s")
            return done
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
