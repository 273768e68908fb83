"""The manual lock: a person keeps an environment from every deployment for a known time, and gives it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backstay.domain.lease import Claim, Freeing, Lease, Now, Presence, claim, free
from backstay.errors import LeaseLost, Locked
from backstay.pipeline.begin import held_lease, locked, run_out
from backstay.pipeline.left import unfinished
from backstay.pipeline.times import rfc3339
from backstay.ports.host import Host
from backstay.ports.store import Reader, Store


@dataclass(frozen=True, slots=True)
class Acquired:
    """A manual lock. `told` is what else a person should know, such as whose lock had run out; often empty."""

    lease: Lease
    extended: bool = False
    told: str = ""


@dataclass(frozen=True, slots=True)
class Locker:
    """Acts for the person who runs this process."""

    store: Store
    host: Host

    def acquire(
        self, app: str, environment: str, purpose: str | None, lasts_s: float, *, extend: bool = False
    ) -> Acquired:
        """Lock the environment for `lasts_s` seconds; with `extend`, a lock of one's own lasts that long from now.

        Without `extend` one's own lock refuses as anybody else's does: two jobs that share a login must not both
        believe that they hold it. Raises Locked.
        """
        me, now = self.host.owner().person, self.store.now()
        held = held_lease(self.store, app, environment)
        if extend and held is not None and held.owner == me and not held.has_run_out(now):
            try:
                return Acquired(
                    self.store.extend_lease(held, purpose or held.purpose, lasts_s), extended=True
                )
            except LeaseLost:  # it was freed or ran out just now
                held = held_lease(self.store, app, environment)
        presence = self.host.presence(held.owner) if held else Presence.GONE
        if claim(held, presence, now) not in (Claim.TAKE, Claim.TAKE_OVER) and held is not None:
            raise self._held(held, _OWN if held.owner == me else None)
        self._refuse_unfinished(app, environment, held)
        lease = self.store.take_lease(
            app, environment, me, purpose or "maintenance", None, replaces=held, lasts_s=lasts_s
        )
        return Acquired(lease, told=run_out(held, now) if held is not None and held.is_manual else "")

    def release(self, app: str, environment: str, *, force: bool) -> Lease | None:
        """Free the environment; the lock that was freed, None when there was none. Raises Locked."""
        held = self.store.lease(app, environment)
        presence = self.host.presence(held.owner) if held else Presence.GONE
        freeing = free(held, presence, self.host.owner().person, self.store.now(), force=force)
        if held is None or freeing is Freeing.NOTHING:
            return None
        if freeing is Freeing.FREE:
            self.store.release_lease(held)
            return held
        raise self._held(held, _HINTS[freeing])

    def _held(self, held: Lease, hint: str | None) -> Locked:
        """The refusal, with a better hint than the general one where there is one."""
        refusal = locked(held, self.store)
        return Locked(refusal.message, hint=hint.format(held), state=refusal.state) if hint else refusal

    def _refuse_unfinished(self, app: str, environment: str, seen: Lease | None) -> None:
        """A lock over what a dead worker left half-way would only keep people from mending it."""
        dead = unfinished(self.store, app, environment)
        if dead is None:
            return
        now = self.store.lease(app, environment)
        if now is not None and (seen is None or now.token != seen.token):
            raise locked(now, self.store)  # it is no dead one: it began after we had looked
        dead = self.store.deployment(dead.id)
        if dead is not None and not dead.state.is_final:
            raise Locked(
                f"{environment} cannot be locked: the worker of {dead.id} ({dead.kind} {dead.version}, by "
                f"{dead.requested_by}) died and left it {dead.state}",
                hint=f"backstay recover {environment} brings it to an end; lock it then",
                state="nothing was changed; what served goes on serving",
            )


_OWN = "you hold it: backstay lock acquire {0.environment} --extend lets it last longer"
_HINTS: Mapping[Freeing, str] = {
    Freeing.NEEDS_FORCE: "ask {0.owner.name}; backstay lock release {0.environment} --force frees it all the same",
    Freeing.ABORT: "a deployment keeps it: backstay abort {0.environment} stops that safely and frees it",
    Freeing.RECOVER: "its worker is dead: backstay recover {0.environment} brings to an end what it left, and frees it",
    Freeing.WAIT: "wait for its end, or end that process; its lock goes with it",
}


def lock(store: Reader, app: str, environment: str) -> dict[str, Any] | None:
    """The lock document of the contract; None when the environment is free. Writes nothing."""
    held, now = store.lease(app, environment), store.now()
    if held is None or held.has_run_out(now):
        return None
    return lock_document(held, now)


def lock_document(held: Lease, now: Now) -> dict[str, Any]:
    """A lease as JSON; `kind` is `process` or `person`."""
    return {
        "token": held.token,
        "owner": str(held.owner),
        "purpose": held.purpose,
        "acquired_at": rfc3339(datetime.fromtimestamp(held.acquired_at, UTC)),
        "expires_at": rfc3339(datetime.fromtimestamp(held.ends_at(now), UTC)),
        "kind": held.owner.kind.value,
        "deployment": held.deployment,
    }
