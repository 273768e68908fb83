"""What is to be deployed exists, is built for this engine, and has the command that migrates."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from backstay.domain.check import Severity
from backstay.errors import CheckFailed, RegistryError
from backstay.pipeline.check import Check, Finding, NotChecked
from backstay.pipeline.checks.subject import Once, Subject, Wanted
from backstay.ports.engine import Manifest

REGISTRY_S = 8.0
HINT = "is the registry up, and reachable from the engine's host?"


def manifests(subject: Subject) -> Iterator[Check]:
    """One check per component: the registry has exactly the image that would start."""
    for name in subject.components:
        yield Check(f"manifest {name}", partial(_manifest, subject, name), hint=HINT)


def artifacts(subject: Subject) -> Iterator[Check]:
    """One check per component: built for this engine, and the migrate command is in it."""
    for name in subject.components:
        yield Check(f"artifact {name}", partial(_artifact, subject, name), hint=HINT)


def _manifest(subject: Subject, name: str) -> Finding:
    wanted = _wanted(subject, name)
    found = manifest_of(subject, wanted)
    component = wanted.component
    if wanted.digest is not None and found.digest != wanted.digest:
        raise CheckFailed(
            f"{component.image}:{wanted.version} is {found.digest} now, but this release pins {wanted.digest}",
            hint="somebody pushed the tag again; deploy once more to take the new image",
        )
    return Finding(f"{component.image}:{component.version} is there ({found.digest[:19]}…)")


def _artifact(subject: Subject, name: str) -> Finding:
    wanted = _wanted(subject, name)
    engine = subject.answering()
    platform = subject.seen().info.platform
    try:
        found = manifest_of(subject, wanted)
    except (RegistryError, CheckFailed):  # the check of the manifest tells it
        raise NotChecked("the registry does not show the image") from None
    if found.platforms and platform not in found.platforms:
        raise CheckFailed(
            f"built for {', '.join(found.platforms)}, but the engine runs {platform}",
            hint=f"build and push it for {platform}: docker buildx build --platform {platform} --push …",
        )
    detail = f"built for {platform}" if found.platforms else "the registry does not tell the platform"
    migrate = wanted.component.migrate
    if not migrate:
        return Finding(detail)
    local = engine.held(wanted.component.image, found.digest)
    if local is None:
        return Finding(
            f"{detail}; whether it has {migrate[0]!r} shows once the image is pulled", Severity.NOTICE
        )
    match engine.finds(local, migrate[0]):
        case None:
            return Finding(f"{detail}; its entry point decides what {migrate[0]!r} is", Severity.NOTICE)
        case False:
            raise CheckFailed(
                f"the image has no {migrate[0]!r}, which migrates {name}",
                hint=f"mend components.{name}.migrate, or build the command into the image",
            )
        case _:
            return Finding(f"{detail}; has {migrate[0]!r}")


def manifest_of(subject: Subject, wanted: Wanted) -> Manifest:
    """The manifest, asked once for all checks. Raises RegistryError, or NotChecked when the engine is down."""
    engine, login = subject.answering(), subject.login
    image = wanted.component.image
    ask = subject.manifests.setdefault(
        (image, wanted.version), Once(lambda: engine.manifest(image, wanted.version, login))
    )
    try:
        return ask.get(REGISTRY_S)
    except TimeoutError:
        raise CheckFailed(
            f"no word about {image}:{wanted.version} from its registry within {REGISTRY_S:g} s", hint=HINT
        ) from None


def _wanted(subject: Subject, name: str) -> Wanted:
    if name not in subject.images:
        if subject.images:
            raise NotChecked("it stays as it is live")
        raise NotChecked("nothing is live yet", hint="--version V names what to look for")
    return subject.images[name]
