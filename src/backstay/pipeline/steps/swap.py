"""Put the restored database in the live one's place: two renames in one transaction, and one to go back.

Nobody writes by now, so what is counted here is what goes. A write that comes in between all the same (somebody beside
the application) is noticed in the transaction itself, which then changes nothing, and it is counted again.
"""

from __future__ import annotations

from typing import Any, Final

from backstay.domain.restore import Change, Loss, Role
from backstay.domain.step import StepRecord, Truth
from backstay.errors import BackupFailed, DatabaseError
from backstay.pipeline.live import Live, live_of
from backstay.pipeline.run import Run
from backstay.pipeline.steps.restore import backup_of, count_loss, refuse_too_much
from backstay.ports.cluster import Written

TRIES: Final = 3


class SwapStep:
    name = "swap"
    title = "put the restored database in place"

    def do(self, run: Run) -> dict[str, Any]:
        live = live_of(run)
        replaced = live.mark(Role.BEFORE)
        try:
            loss = self._swap(run, live)
        except DatabaseError as error:
            raise BackupFailed(
                f"the databases could not be swapped: {error.message}",
                hint=error.hint,
                state="the live database is as it was",
            ) from error
        run.tell(
            "database_swapped",
            f"{live.name} is the restored one; what it was stays as {replaced.name}",
            step=self.name, database=replaced.name, **loss.as_json(),
        )  # fmt: skip
        return {"replaced": replaced.name, "loss": loss.as_json()}

    def probe(self, run: Run, record: StepRecord) -> Truth:
        return Truth.UNKNOWN

    def undo(self, run: Run, record: StepRecord) -> None:
        """Swap back, if it was swapped at all: the names tell, the journal does not."""
        live = live_of(run)
        live.cluster.settle(run.id)
        before = live.mark(Role.BEFORE)
        if not live.cluster.exists(before.name):
            return
        back = live.mark(Role.RESTORED)
        ended = live.cluster.swap(before.name, back, None, run.environment.policy.backup_deadline_s)
        live.tell_ended(ended, self.name)
        run.tell("database_back", f"{live.name} is what it was before", step=self.name)

    def _swap(self, run: Run, live: Live) -> Loss:
        backup = backup_of(run)
        restored = run.result("restore")
        name, limit_s = str(restored["database"]), run.environment.policy.backup_deadline_s
        for last in (*[False] * (TRIES - 1), True):
            live.tell_ended(live.cluster.end(live.name), self.name)
            writes = live.cluster.writes(live.name)
            is_same = writes is not None and writes == restored["writes"]
            loss = _known_loss(restored) if is_same else self._count(run, live)
            refuse_too_much(run, backup, loss)
            try:
                live.tell_ended(live.cluster.swap(name, live.mark(Role.BEFORE), writes, limit_s), self.name)
            except Written:
                if last:
                    raise
                continue
            break
        return loss

    def _count(self, run: Run, live: Live) -> Loss:
        url = live.url(Role.RESTORED)
        return count_loss(
            run, live, run.world.database.content(url, run.environment.policy.backup_deadline_s)
        )


def _known_loss(result: Any) -> Loss:
    """What was counted while everything still ran: not one row was written since."""
    return Loss({name: Change(**change) for name, change in result["loss"]["tables"].items()})
