"""Checks before anything is touched: variables, engine, registry. All of them run, all failures are told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backstay.domain.smoke import CheckResult
from backstay.domain.step import StepRecord, Truth
from backstay.errors import BackstayError, CheckFailed
from backstay.pipeline.run import Run

PLACEHOLDERS = frozenset({"changeme", "change-me", "todo", "xxx", "placeholder", "secret", "password"})

Check = Callable[[Run], str]


class CheckStep:
    name = "check"
    title = "check variables, engine and registry"

    def do(self, run: Run) -> dict[str, Any]:
        results = check_all(run)
        for result in results:
            run.tell(
                "check_done", f"{result.id}: {result.detail}", step=self.name, ok=result.ok, hint=result.hint
            )
        bad = [r for r in results if not r.ok]
        if bad:
            raise CheckFailed(
                "; ".join(f"{r.id}: {r.detail}" for r in bad),
                hint=next((r.hint for r in bad if r.hint), None),
                state="nothing was changed",
            )
        return {"checks": [{"id": r.id, "ok": r.ok, "detail": r.detail} for r in results]}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.NOT_HAPPENED

    def undo(self, run: Run, record: StepRecord) -> None:
        """Checks change nothing."""


def check_all(run: Run) -> list[CheckResult]:
    """Every check, all at once, each with its own outcome; one that fails does not keep the others from running."""
    clock = run.world.clock

    def outcome(named: tuple[str, Check]) -> CheckResult:
        id_, check = named
        began = clock.monotonic()
        try:
            detail, ok, hint = check(run), True, None
        except BackstayError as error:
            detail, ok, hint = error.message, False, error.hint
        return CheckResult(id_, ok, run.redact(detail), clock.monotonic() - began, hint)

    checks = list(_checks(run))
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        return list(pool.map(outcome, checks))


def _checks(run: Run) -> Iterator[tuple[str, Check]]:
    yield "variables", _variables
    yield "engine", _engine
    for name in run.plan.new_components:
        yield f"manifest {name}", _manifest(name)


def _variables(run: Run) -> str:
    secrets = run.secrets
    wanted = {key for c in run.release.components.values() for key in c.secrets}
    if database := run.environment.database:
        wanted |= {database.url_secret, database.backup_url_secret}
    if registry := run.environment.registry:
        wanted |= {registry.username_secret, registry.password_secret}
    missing = sorted(key for key in wanted if key not in secrets)
    empty = sorted(key for key in wanted if key in secrets and not secrets[key])
    placeholders = sorted(
        key for key in wanted if key in secrets and secrets[key].reveal().strip().lower() in PLACEHOLDERS
    )
    faults = [
        f"{what}: {', '.join(keys)}"
        for what, keys in (("missing", missing), ("empty", empty), ("a placeholder", placeholders))
        if keys
    ]
    if faults:
        source = run.environment.secrets_file or "no secrets file is configured"
        raise CheckFailed("secrets " + "; ".join(faults), hint=f"set them in {source}")
    return f"{len(wanted)} secrets present"


def _engine(run: Run) -> str:
    info = run.world.engine.info()
    return f"engine {info.version} (API {info.api_version}, {info.platform}) answers"


def _manifest(name: str) -> Check:
    def check(run: Run) -> str:
        component = run.release.components[name]
        found = run.world.engine.digest(component.image, component.version, run.login)
        if found != component.digest:
            raise CheckFailed(
                f"{component.image}:{component.version} is {found} now, but this release pins {component.digest}",
                hint="somebody pushed the tag again; deploy once more to take the new image",
            )
        return f"{component.image}:{component.version} is there ({component.digest[:19]}…)"

    return check
