"""The live database of a deployment's environment, and the databases that the deployment puts beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from backstay.domain.restore import Mark, Role, renamed
from backstay.domain.secret import Secret
from backstay.errors import ConfigError
from backstay.pipeline.redirect import database_of
from backstay.pipeline.run import Run
from backstay.pipeline.times import rfc3339
from backstay.ports.cluster import Cluster, Visitor


@dataclass(frozen=True, slots=True)
class Live:
    """`admin` leads to the live database with a role that may make others; `name` is its name there."""

    run: Run
    admin: Secret
    name: str
    cluster: Cluster

    def mark(self, role: Role) -> Mark:
        """The mark of this deployment's database in that role, as of now."""
        run = self.run
        at = rfc3339(run.world.clock.now())
        return Mark(run.environment.app, run.environment.name, run.id, role, self.name, at)

    def url(self, role: Role) -> Secret:
        """How this host reaches it."""
        return renamed(self.admin, self.mark(role).name)

    def tell_ended(self, ended: Iterable[Visitor], step: str) -> None:
        """Name those who were signed in although the application was stopped: they are not ours, and their writes
        are nobody's to count."""
        names = sorted({str(visitor) for visitor in ended})
        if names:
            self.run.tell(
                "sessions_ended",
                f"ended on {self.name}, beside the application: {', '.join(names)}",
                step=step,
                sessions=names,
            )


def live_of(run: Run) -> Live:
    """The environment's live database. ConfigError when it has none."""
    source = run.environment.database
    if source is None:
        raise ConfigError(
            f"{run.environment.app} has no database",
            hint="name it in backstay.yml: database: {url_secret: NAME_OF_THE_SECRET}",
        )
    [admin] = run.secrets_for([source.admin]).values()
    return Live(run, admin, database_of(admin), run.world.clusters.at(admin, run.id))


def has_begun(run: Run, step: str) -> bool:
    """Whether the journal has the step at all."""
    return any(record.name == step for record in run.world.store.steps(run.id))
