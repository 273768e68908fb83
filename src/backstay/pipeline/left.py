"""What a dead worker left, as the store tells it: which deployment, how often it was recovered, and whether we may."""

from __future__ import annotations

from backstay import __version__
from backstay.domain.deployment import Deployment
from backstay.domain.recovery import unreadable
from backstay.errors import NeedsAttention
from backstay.ports.store import Reader

STARTED = "recovery_started"


def unfinished(store: Reader, app: str, environment: str) -> Deployment | None:
    """The newest deployment that has not ended; with the lease free or its owner dead, nobody works on it."""
    started = (d for d in reversed(store.history(app, environment)) if d.token is not None)
    return next((d for d in started if not d.state.is_final), None)


def tries(store: Reader, deployment: str) -> int:
    """How often somebody began to recover the deployment."""
    return sum(event.kind == STARTED for event in store.events(deployment))


def refuse_unreadable(store: Reader, deployment: str) -> None:
    """Raises NeedsAttention when a newer Backstay left the deployment: only that one knows what must be taken back."""
    reason = unreadable(store.snapshot(deployment) or {}, store.steps(deployment), __version__)
    if reason is not None:
        raise NeedsAttention(
            f"deployment {deployment} cannot be recovered here: {reason}",
            hint="recover it with the Backstay that began it, or a newer one; if there is none,"
            " backstay recover ENV --give-up ends it as it stands",
            state="nothing was changed; what served goes on serving",
        )
