"""Which release served before the live one, and which releases must not come back unasked.

Both are read from the history of deployments, never from image lists: the second newest tag is not the previous
good release.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.release import Component, Release


def lineage(history: Sequence[Deployment], live: str | None = None) -> list[str]:
    """Release ids that served and still stand, oldest first; the last one is live.

    `history` is in order of time. A rollback takes away the release it replaced and everything after its target,
    so going back twice goes back two releases instead of to and fro; so does a restore that brings a release along.

    `live` is what serves as the slots have it. One that was never proven (its deployment needs attention) comes last,
    as if it had been; None asks of the history alone.
    """
    served: list[str] = []
    for deployment in history:
        if deployment.state is DeploymentState.SUCCEEDED:
            served = _after(served, deployment)
    if live is None or served[-1:] == [live]:
        return served
    unproven = (
        d for d in reversed(history) if d.release == live and d.state is DeploymentState.NEEDS_ATTENTION
    )
    made = next(unproven, None)
    return [*served, live] if made is None else _after(served, made)


def previous_release(history: Sequence[Deployment], live: str | None = None) -> str | None:
    """The release id a plain `rollback` goes to, or None when there is none."""
    served = lineage(history, live)
    return served[-2] if len(served) > 1 else None


def is_quarantined(release: str, history: Sequence[Deployment]) -> Deployment | None:
    """The deployment that reversed `release` automatically, when nothing has made it live since; else None."""
    verdict: Deployment | None = None
    for deployment in history:
        if deployment.release != release or deployment.kind is not DeploymentKind.DEPLOY:
            continue
        if deployment.state is DeploymentState.ROLLED_BACK and deployment.automatic:
            verdict = deployment
        elif deployment.state is DeploymentState.SUCCEEDED:
            verdict = None
    return verdict


def untried_pairs(release: Release, served: Iterable[Release]) -> list[tuple[Component, Component]]:
    """Pairs of components of `release` that no release of `served` had together, by their digests."""
    known = {
        frozenset((one.digest, other.digest))
        for earlier in served
        for one, other in combinations(earlier.components.values(), 2)
    }
    pairs = combinations(release.components.values(), 2)
    return [(one, other) for one, other in pairs if frozenset((one.digest, other.digest)) not in known]


def _after(served: Sequence[str], deployment: Deployment) -> list[str]:
    """What stands once this deployment's release is live."""
    release, standing = deployment.release, list(served)
    if release is None:
        return standing
    if deployment.kind in (DeploymentKind.ROLLBACK, DeploymentKind.RESTORE):
        if release in standing:
            del standing[_last(standing, release) :]
        elif standing:
            standing.pop()
    return standing if standing[-1:] == [release] else [*standing, release]


def _last(served: Sequence[str], release: str) -> int:
    return len(served) - 1 - list(reversed(served)).index(release)
