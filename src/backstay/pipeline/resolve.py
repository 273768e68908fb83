"""Turn a wish ("this version, there") into a plan, without touching anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.environment import Application
from backstay.domain.lineage import is_quarantined, lineage, previous_release, untried_pairs
from backstay.domain.plan import Origin, Plan, Restoration, deploy_origins, rollback_origins
from backstay.domain.release import Component, Release
from backstay.domain.slot import SlotMapping, Slots
from backstay.domain.step import StepRecord
from backstay.errors import CheckFailed, EngineError, NotAllowed, UsageError
from backstay.ports.store import Reader

DigestOf = Callable[[str, str], str]
"""`(image, version)` to manifest digest; raises RegistryError."""

GoneOf = Callable[[SlotMapping, Release], frozenset[str]]
"""A slot and its release to the ids of its containers that are there no more (`pipeline.standby.gone`)."""


def _all_there(mapping: SlotMapping, release: Release) -> frozenset[str]:
    return frozenset()


def plan_deploy(
    application: Application,
    version: str,
    only: tuple[str, ...],
    force: bool,
    store: Reader,
    digest_of: DigestOf,
) -> Plan:
    """Plan a deploy of `version`.

    With `only`, the other components stay as they are live. Raises UsageError for an unknown component,
    CheckFailed when the registry lacks an image, NotAllowed for a quarantined release.
    """
    environment = application.environment
    slots = store.slots(environment.app, environment.name)
    live = live_release(store, slots)
    unknown = [name for name in only if name not in application.components]
    if unknown:
        raise UsageError(
            f"unknown component {unknown[0]!r}", hint=f"there are: {', '.join(application.components)}"
        )
    if only and live is None:
        raise UsageError("nothing is live yet, so there is nothing to deploy only a part of")
    changed = only or tuple(application.components)
    wanted = {name: c for name, c in application.components.items() if name in changed}
    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        found = pool.map(lambda component: _pin(component, version, digest_of), wanted.values())
        pinned = dict(zip(wanted, found, strict=True))
    kept = (
        {n: c for n, c in live.components.items() if n not in changed and n in application.components}
        if live
        else {}
    )
    release = Release(environment.app, version, {}, application.routes).with_components({**kept, **pinned})
    _refuse_unknown_route(release, only)
    if not force and (bad := is_quarantined(release.id, store.history(environment.app, environment.name))):
        raise NotAllowed(
            f"{version} was reversed automatically in deployment {bad.id}: {bad.reason}",
            hint="deploy a mended version, or add --force if the cause lay elsewhere",
            state="nothing was changed",
        )
    return Plan(DeploymentKind.DEPLOY, release, live, deploy_origins(release, only, slots), slots)


def _refuse_unknown_route(release: Release, only: tuple[str, ...]) -> None:
    """A component that is new in the file comes along, or the router could lead nobody to it."""
    strange = [route for route in release.routes if route.component not in release.components]
    if strange:
        name = strange[0].component
        raise UsageError(
            f"the route {strange[0].path} leads to {name}, which is not live yet and would not be deployed",
            hint=f"deploy it too: {' '.join(f'--component {each}' for each in (*only, name))}",
        )


def plan_rollback(
    application_name: str,
    environment: str,
    component: str,
    to: str | None,
    force: bool,
    store: Reader,
    gone_of: GoneOf = _all_there,
) -> Plan:
    """Plan a rollback to the previous release, or to the newest one with version `to`.

    `component` is `all` or a component's name; `gone_of` is asked when the standby slot would be used. Raises
    UsageError when there is nothing to go back to, and CheckFailed when components would meet that never served
    together, unless `force`.
    """
    slots = store.slots(application_name, environment)
    live = live_release(store, slots)
    if live is None:
        raise UsageError(f"nothing is live in {environment}", hint=f"backstay history {environment}")
    if component != "all" and component not in live.components:
        raise UsageError(
            f"unknown component {component!r}", hint=f"there are: all, {', '.join(live.components)}"
        )
    history = store.history(application_name, environment)
    earlier = _target(history, to, component, live, store)
    release = (
        earlier if component == "all" else live.with_components({component: earlier.components[component]})
    )
    if release.id == live.id:
        raise UsageError(f"{release.version} is live already", hint=f"backstay history {environment}")
    if not force:
        _refuse_untried(release, component, environment, history, store)
        _refuse_other_schema(earlier, environment, history, store)
    standby = store.release(slots.standby.release) if slots.standby else None
    origins = rollback_origins(release, live, standby, slots)
    if slots.standby is not None and standby is not None and Origin.STANDBY in origins.values():
        origins = rollback_origins(release, live, standby, slots, gone_of(slots.standby, standby))
    return Plan(DeploymentKind.ROLLBACK, release, live, origins, slots)


def plan_restore(
    application_name: str, environment: str, restoration: Restoration, version: str | None, store: Reader
) -> Plan:
    """Plan a restore, on which the live release starts anew, or the newest one with `version` that served here.

    Raises UsageError when nothing is live (there is nothing to replace then), or nothing ever had that version.
    """
    slots = store.slots(application_name, environment)
    live = live_release(store, slots)
    if live is None:
        raise UsageError(
            f"nothing is live in {environment}, so no database has to be replaced",
            hint=f"make an empty database, restore into it with backstay backup restore {environment} "
            f"{restoration.backup} --target URL, then deploy",
        )
    history = store.history(application_name, environment)
    release = live if version is None else _served(history, version, "all", store)
    return Plan(
        DeploymentKind.RESTORE,
        release,
        live,
        dict.fromkeys(release.components, Origin.NEW),
        slots,
        restoration=restoration,
    )


def _refuse_other_schema(
    earlier: Release, environment: str, history: Sequence[Deployment], store: Reader
) -> None:
    """Refuse to go back over a migration that needed a maintenance window: the earlier release knew another schema.

    One that was not taken back counts also where its release was never proven.
    """
    for deployment in reversed(history):
        proven = deployment.state is DeploymentState.SUCCEEDED
        if proven and deployment.release == earlier.id:
            return
        if not proven and deployment.state is not DeploymentState.NEEDS_ATTENTION:
            continue
        if deployment.kind is DeploymentKind.DEPLOY and _has_other_schema(store.steps(deployment.id)):
            raise CheckFailed(
                f"{deployment.version} changed the database in a way that {earlier.version} cannot live with",
                hint=f"backstay backup restore {environment} ID --version {earlier.version} brings both back, and "
                "names what would be lost; --force goes back without the database",
                state="nothing was changed",
            )


def _has_other_schema(steps: Sequence[StepRecord]) -> bool:
    """Whether a maintenance window changed the database, and what stood before it was not brought back."""
    return any(step.name in ("copy", "open") and step.state.may_have_effect for step in steps)


def _refuse_untried(
    release: Release, component: str, environment: str, history: Sequence[Deployment], store: Reader
) -> None:
    ids = {d.release for d in history if d.release and d.state is DeploymentState.SUCCEEDED}
    untried = untried_pairs(release, [found for found in map(store.release, ids) if found])
    if untried:
        pairs = "; ".join(f"{a.name} {a.version} with {b.name} {b.version}" for a, b in untried)
        raise CheckFailed(
            f"these never served together in {environment}: {pairs}",
            hint=f"backstay rollback {environment} takes everything back together; if they fit,"
            f" backstay rollback {environment} {component} --force",
            state="nothing was changed",
        )


def live_release(store: Reader, slots: Slots) -> Release | None:
    """The release that serves, or None in a new environment."""
    return store.release(slots.serving.release) if slots.serving else None


def _target(
    history: Sequence[Deployment], to: str | None, component: str, live: Release, store: Reader
) -> Release:
    """The earlier release to take from: `to` by version, else the previous one (for a component: the newest
    earlier one in which that component differs)."""
    served = [r for r in map(store.release, reversed(lineage(history, live.id)[:-1])) if r is not None]
    if to is not None:
        return _served(history, to, component, store)
    if component == "all":
        previous = previous_release(history, live.id)
        release = store.release(previous) if previous else None
        if release is not None:
            return release
    for release in served if component != "all" else ():
        if component in release.components and release.components[component] != live.components[component]:
            return release
    raise UsageError("there is no earlier release to go back to", hint="backstay history shows what served")


def _served(history: Sequence[Deployment], version: str, component: str, store: Reader) -> Release:
    """The newest release with that version that ever served."""
    for deployment in reversed(history):
        release = (
            store.release(deployment.release) if deployment.release and deployment.exit_status == 0 else None
        )
        if release is not None and _version_of(release, component) == version:
            return release
    raise UsageError(
        f"no release {version} ever served here", hint="backstay history shows the versions that did"
    )


def _version_of(release: Release, component: str) -> str | None:
    if component == "all":
        return release.version
    found = release.components.get(component)
    return found.version if found else None


def _pin(component: Component, version: str, digest_of: DigestOf) -> Component:
    try:
        digest = digest_of(component.image, version)
    except EngineError as error:
        raise CheckFailed(error.message, hint=error.hint, state="nothing was changed") from error
    return replace(component, version=version, digest=digest)
