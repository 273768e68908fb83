"""Which backups may go: what must hold whatever the catalog, and a year of backups with every kind of bad luck."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from backstay.domain.backup import WHOLE, Backup, BackupKind, BackupState, newest_whole
from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.retention import KEEP_DAYS, Protected, is_frozen, needed, to_prune, waiting
from backstay.domain.slot import Slot, SlotMapping, Slots

UNVERIFIED, VERIFIED = BackupState.UNVERIFIED, BackupState.VERIFIED
FAILED, DAMAGED = BackupState.FAILED, BackupState.DAMAGED
PHYSICAL = BackupKind.PHYSICAL


def backup(number: int, state: BackupState = VERIFIED, *, deployment: str | None = None) -> Backup:
    """The entry with this number; all are of the same second unless they are changed."""
    at = "2026-03-01T12:00:00.000Z"
    kind = BackupKind.LOGICAL
    return Backup(
        f"b{number:03d}", "shop", "prod", at, kind, state, 7, "/b", "ab", "why", deployment, number=number
    )


def ids(rows: tuple[Backup, ...]) -> list[str]:
    return [row.id for row in rows]


def deployment(id_: str, release: str, state: DeploymentState, made: str | None = None) -> Deployment:
    return Deployment(
        id=id_, app="shop", environment="prod", kind=DeploymentKind.DEPLOY, state=state, version="v", release=release,
        previous=None, token=1, requested_by="ann@here", created_at="2026-03-01T12:00:00.000Z", backup=made,
    )  # fmt: skip


class TestWhatIsNeeded:
    RUNNING, DONE = DeploymentState.RUNNING, DeploymentState.SUCCEEDED

    def slots(self) -> Slots:
        blue = SlotMapping("r1", "v1", {}, deployment="d3", since="")
        green = SlotMapping("r2", "v2", {}, deployment="d2", since="")
        return Slots(Slot.BLUE, {Slot.BLUE: blue, Slot.GREEN: green})

    def test_deployments_that_filled_a_slot_or_are_under_way(self) -> None:
        rows = [
            deployment("d0", "r0", self.DONE, "b0"),
            deployment("d2", "r2", self.DONE, "b2"),
            deployment("d4", "r4", self.RUNNING),
        ]
        assert needed(self.slots(), rows) == {"d2", "d3", "d4"}

    def test_a_rollback_filled_the_slot_so_the_backup_of_the_release_itself_counts(self) -> None:
        rows = [
            deployment("d0", "r1", self.DONE, "b0"),
            deployment("d1", "r1", self.DONE, "b1"),
            deployment("d2", "r2", self.DONE, "b2"),
            deployment("d3", "r1", self.DONE),
        ]
        assert needed(self.slots(), rows) == {"d1", "d2", "d3"}


class TestWhatMayGo:
    def test_nothing_while_there_are_no_more_than_are_kept(self) -> None:
        assert to_prune([backup(n) for n in range(10)], keep=10) == ()

    def test_the_oldest_go_first(self) -> None:
        assert ids(to_prune([backup(n) for n in range(13)], keep=10)) == ["b000", "b001", "b002"]

    def test_nothing_whole_goes_before_a_newer_one_was_verified(self) -> None:
        rows = [backup(n, UNVERIFIED) for n in range(40)]
        assert to_prune(rows, keep=10) == () and waiting(rows, keep=10) == 30
        rows[20] = replace(rows[20], state=VERIFIED)
        assert ids(to_prune(rows, keep=10)) == [f"b{n:03d}" for n in range(20)]
        assert waiting(rows, keep=10) == 9

    def test_a_person_may_allow_it_and_the_newest_stay_all_the_same(self) -> None:
        rows = [backup(n, UNVERIFIED) for n in range(12)]
        assert ids(to_prune(rows, keep=10, unverified=True)) == ["b000", "b001"]

    def test_ten_failed_and_unverified_ones_push_no_verified_one_out(self) -> None:
        rows = [*map(backup, range(10)), *(backup(n, FAILED) for n in range(20, 40))]
        rows += [backup(n, UNVERIFIED) for n in range(50, 70)]
        assert ids(to_prune(rows, keep=10)) == [f"b{n:03d}" for n in range(20, 30)]

    def test_old_failures_are_forgotten(self) -> None:
        assert ids(to_prune([backup(n, FAILED) for n in range(12)], keep=10)) == ["b000", "b001"]

    def test_a_damaged_one_neither_goes_nor_counts(self) -> None:
        rows = [backup(0), backup(1), *(backup(n, DAMAGED) for n in range(5, 9))]
        assert to_prune(rows, keep=2) == ()

    def test_one_that_somebody_should_look_at_pushes_no_other_out_and_proves_nothing(self) -> None:
        rows = [*map(backup, range(3)), *(replace(backup(n), alarm="it is empty") for n in range(5, 20))]
        gone = to_prune(rows, keep=3)
        assert not {"b000", "b001", "b002"} & set(ids(gone))
        assert to_prune([backup(0, UNVERIFIED), *rows[3:]], keep=1) == ()

    def test_clocks_decide_nothing(self) -> None:
        """The first three are of a clock that was a year ahead; those after are of the right one."""
        ahead = [replace(backup(n), created_at="2027-03-01T12:00:00.000Z") for n in range(3)]
        rows = [*ahead, *map(backup, range(3, 9))]
        # The newest of that odd day stays as one of a day.
        assert ids(to_prune(rows, keep=3)) == ["b000", "b001", "b003", "b004", "b005"]

    def test_of_each_of_the_last_days_one_stays(self) -> None:
        rows = [
            replace(backup(24 * day + hour), created_at=f"2026-03-{day + 1:02d}T{hour:02d}:00:00.000Z")
            for day in range(12)
            for hour in range(24)
        ]
        left = [row for row in rows if row not in to_prune(rows, keep=10)]
        assert len(left) == 10 + KEEP_DAYS - 1
        assert [row.created_at[8:13] for row in left[:3]] == ["06T23", "07T23", "08T23"]

    def test_what_is_protected_and_its_parents(self) -> None:
        rows = [
            backup(0),
            replace(backup(1), parent="b000"),
            replace(backup(2), parent="b001"),
            backup(3),
            backup(4),
        ]
        assert ids(to_prune(rows, keep=1, protected=Protected(backups={"b002"}))) == ["b003"]
        rows[3] = replace(rows[3], pinned=True)
        assert ids(to_prune(rows, keep=1)) == ["b000", "b001", "b002"]
        rows[0] = replace(rows[0], deployment="d1")
        assert ids(to_prune(rows, keep=1, protected=Protected({"d1"}))) == ["b001", "b002"]

    def test_a_ring_of_parents_ends_nothing(self) -> None:
        rows = [replace(backup(0), parent="b001"), replace(backup(1), parent="b000"), backup(2)]
        assert ids(to_prune(rows, keep=1)) == ["b000", "b001"]

    def test_damaged_files_of_the_server_freeze_everything_until_a_physical_one_is_verified(self) -> None:
        sick = replace(backup(20, FAILED), alarm="pages with wrong checksums")
        rows = [*map(backup, range(15)), sick, *map(backup, range(30, 45))]
        assert is_frozen(rows) and to_prune(rows, keep=10) == ()
        assert is_frozen([*rows, backup(50)]), "a logical one may never have read the page"
        rows += [replace(backup(50), kind=PHYSICAL), *(backup(n, FAILED) for n in range(60, 70))]
        assert not is_frozen(rows)
        assert {"b000", "b020"} <= set(ids(to_prune(rows, keep=10)))


DAYS = st.sampled_from([f"2026-03-{day:02d}T12:00:00.000Z" for day in range(1, 15)])
ROWS = st.lists(
    st.builds(
        lambda row, **more: replace(row, **more),
        st.builds(
            backup,
            st.integers(0, 60),
            st.sampled_from(BackupState),
            deployment=st.sampled_from(["d1", "d2", None]),
        ),
        pinned=st.booleans(),
        alarm=st.sampled_from([None, None, None, "odd"]),
        parent=st.sampled_from([None, None, "b003", "b010"]),
        kind=st.sampled_from(BackupKind),
        created_at=DAYS,
    ),
    unique_by=lambda row: row.id,
    max_size=60,
)
KEEP = st.integers(1, 12)
PROTECTED = st.builds(
    Protected, st.sets(st.sampled_from(["d1", "d2"])), st.sets(st.sampled_from(["b001", "b007"]))
)


def check(rows: list[Backup], keep: int, protected: Protected, gone: tuple[Backup, ...]) -> None:
    """Everything that the head of retention.py says."""
    left = [row for row in rows if row not in gone]
    proofs = [row for row in left if row.state is VERIFIED and not row.alarm]
    for row in gone:
        assert not row.pinned and row.state is not DAMAGED
        assert row.deployment not in protected.deployments and row.id not in protected.backups
        assert not [child for child in left if child.parent == row.id], "worth nothing without its parent"
        if row.state in WHOLE:
            assert not is_frozen(rows)
            assert [proof for proof in proofs if proof.number > row.number], "a newer verified one stays"
    for kinds in (WHOLE, {VERIFIED}):
        before = [row for row in rows if row.state in kinds]
        assert len([row for row in left if row.state in kinds]) >= min(keep, len(before))
        assert newest_whole(row for row in before) not in gone


class TestWhateverTheCatalog:
    @given(ROWS, KEEP, PROTECTED)
    def test_what_must_stay_stays(self, rows: list[Backup], keep: int, protected: Protected) -> None:
        check(rows, keep, protected, to_prune(rows, keep, protected))

    @given(ROWS, KEEP, PROTECTED, st.randoms())
    def test_the_order_of_the_rows_does_not_matter_and_once_is_enough(
        self, rows: list[Backup], keep: int, protected: Protected, random: object
    ) -> None:
        gone = to_prune(rows, keep, protected)
        shuffled = list(rows)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert to_prune(shuffled, keep, protected) == gone
        assert to_prune([row for row in rows if row not in gone], keep, protected) == ()

    @given(ROWS, KEEP, PROTECTED, DAYS)
    def test_a_clock_that_stands_still_changes_no_more_than_the_days(
        self, rows: list[Backup], keep: int, protected: Protected, at: str
    ) -> None:
        same = [replace(row, created_at=at) for row in rows]
        check(same, keep, protected, to_prune(same, keep, protected))

    @given(ROWS, KEEP)
    def test_a_person_who_allows_more_loses_no_verified_one_by_it(
        self, rows: list[Backup], keep: int
    ) -> None:
        more = to_prune(rows, keep, unverified=True)
        assert newest_whole(row for row in rows if row.state is VERIFIED) not in more
        assert set(ids(to_prune(rows, keep))) <= set(ids(more))


class Years(RuleBasedStateMachine):
    """Backups come, fail, are verified, found damaged, pinned, copied from; retention runs after each, as it does. The
    model: a whole backup that was ever removed had a newer verified one beside it at that moment."""

    made: Bundle[str] = Bundle("made")
    keep = 3

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Backup] = {}
        self.number = 0
        self.used: set[str] = set()
        self.gone: list[int] = []
        self.damaged: list[int] = []

    @rule(
        target=made,
        state=st.sampled_from([UNVERIFIED, UNVERIFIED, FAILED]),
        kind=st.sampled_from(BackupKind),
        day=DAYS,
        is_odd=st.booleans(),
        data=st.data(),
    )
    def back_up(
        self, state: BackupState, kind: BackupKind, day: str, is_odd: bool, data: st.DataObject
    ) -> str:
        self.number += 1
        row = replace(backup(self.number, state), kind=kind, created_at=day, alarm="odd" if is_odd else None)
        if kind is PHYSICAL and self.rows and data.draw(st.booleans()):
            row = replace(row, parent=data.draw(st.sampled_from(sorted(self.rows))))
        self.rows[row.id] = row
        self.prune(row.id)
        return row.id

    @rule(id_=made)
    def verify(self, id_: str) -> None:
        self.change(id_, WHOLE, state=VERIFIED)

    @rule(id_=made)
    def find_damaged(self, id_: str) -> None:
        self.change(id_, WHOLE, state=DAMAGED)
        self.damaged += [row.number for row in self.rows.values() if row.id == id_]

    @rule(id_=made, pinned=st.booleans())
    def pin(self, id_: str, pinned: bool) -> None:
        self.change(id_, BackupState, pinned=pinned)

    @rule(id_=made)
    def begin_to_read(self, id_: str) -> None:
        self.used.add(id_)

    @rule(id_=made)
    def end_reading(self, id_: str) -> None:
        self.used.discard(id_)

    @rule()
    def prune_again(self) -> None:
        self.prune(None)

    def change(self, id_: str, allowed: object, **changes: object) -> None:
        if id_ in self.rows and self.rows[id_].state in allowed:  # type: ignore[operator]
            self.rows[id_] = replace(self.rows[id_], **changes)  # type: ignore[arg-type]

    def prune(self, made: str | None) -> None:
        rows = list(self.rows.values())
        protected = Protected(backups=self.used | ({made} if made else set()))
        gone = to_prune(rows, self.keep, protected)
        check(rows, self.keep, protected, gone)
        for row in gone:
            del self.rows[row.id]
        self.gone += [row.number for row in gone if row.state in WHOLE]

    @invariant()
    def no_chain_is_broken(self) -> None:
        assert {row.parent for row in self.rows.values() if row.parent} <= set(self.rows)

    @invariant()
    def what_was_verified_and_not_found_damaged_since_has_a_successor(self) -> None:
        proofs = [row.number for row in self.rows.values() if row.state is VERIFIED and not row.alarm]
        assert not self.gone or max(proofs + self.damaged, default=0) > max(self.gone)


TestYears = Years.TestCase
TestYears.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
