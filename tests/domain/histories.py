"""Histories of an environment, written as short stories."""

from __future__ import annotations

from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState


def ran(
    release: str | None,
    state: DeploymentState = DeploymentState.SUCCEEDED,
    kind: DeploymentKind = DeploymentKind.DEPLOY,
    *,
    automatic: bool = False,
    id_: str = "d",
) -> Deployment:
    """One deployment of `release` that ended in `state`."""
    return Deployment(
        id=id_,
        app="shop",
        environment="prod",
        kind=kind,
        state=state,
        version="v",
        release=release,
        previous=None,
        token=1,
        requested_by="anna@control",
        created_at="2026-03-01T12:00:00.000Z",
        automatic=automatic,
    )


def went_back(release: str) -> Deployment:
    """A rollback to `release` that succeeded."""
    return ran(release, kind=DeploymentKind.ROLLBACK)


def reversed_by_itself(release: str, id_: str = "d") -> Deployment:
    """A deploy of `release` that a trigger reversed."""
    return ran(release, DeploymentState.ROLLED_BACK, automatic=True, id_=id_)


def reversed_by_hand(release: str) -> Deployment:
    """A deploy of `release` that a person reversed in its bake."""
    return ran(release, DeploymentState.ROLLED_BACK)
