"""Following a deployment to its end, whatever its worker does just when it is looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from backstay import wiring
from backstay.adapters.store import SqlStore
from backstay.cli.follow import follow, watch
from backstay.cli.interrupt import Interrupts
from backstay.cli.options import Settings
from backstay.domain.deployment import DeploymentState
from backstay.domain.lease import Lease, Owner, Presence
from backstay.errors import NeedsAttention
from backstay.testing import FakeHost
from tests.store.samples import StillClock, begun, store_at


class Leaving(FakeHost):
    """The worker goes just before it is looked for, after it did `first`."""

    def __init__(self, store: SqlStore, lease: Lease, *, is_done: bool) -> None:
        super().__init__()
        self.store, self.lease, self.is_done = store, lease, is_done

    def presence(self, owner: Owner) -> Presence:
        if self.is_done:
            for state in (DeploymentState.RUNNING, DeploymentState.SUCCEEDED):
                self.store.move(self.lease.token, "d1", state)
            self.store.release_lease(self.lease)
            self.is_done = False
        return Presence.GONE


@pytest.mark.parametrize("is_done", [True, False])
def test_a_worker_that_ended_well_just_now_did_not_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    with closing(store_at(tmp_path / "state.db", StillClock())) as store:
        lease = begun(store)
        monkeypatch.setattr(wiring, "host", lambda: Leaving(store, lease, is_done=is_done))
        if is_done:
            assert list(watch(store, "d1"))
        else:
            with pytest.raises(NeedsAttention, match="died"):
                list(watch(store, "d1"))


@pytest.mark.parametrize(
    "later", [(), (DeploymentState.BAKING,), (DeploymentState.BAKING, DeploymentState.ROLLED_BACK)]
)
def test_who_waits_for_the_switch_alone_is_told_what_is_known_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], later: Sequence[DeploymentState]
) -> None:
    """The worker tells of the switch before it has recorded it, and goes on while the event is read."""
    with closing(store_at(tmp_path / "state.db", StillClock())) as store:
        lease = begun(store)
        store.move(lease.token, "d1", DeploymentState.RUNNING)
        store.tell(
            lease.token, "d1", "traffic_switched", "v1 serves (blue)", step="switch", data={"switch_s": 0.004}
        )
        for state in later:
            store.move(lease.token, "d1", state)
        status = follow(Settings(json=True), store, "d1", Interrupts("prod", begun=True), until_switched=True)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    if later[1:]:
        assert last["state"] == "rolled_back", "then it is not said that it bakes"
    else:
        assert status == 0
        assert (last["state"], last["switch_s"], last["exit_status"]) == ("baking", 0.004, 0)
