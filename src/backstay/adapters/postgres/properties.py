"""What a database has beside its content: rights, settings, comment. No dump of one database has them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from backstay.adapters.postgres import beside
from backstay.adapters.postgres.beside import quoted, text
from backstay.adapters.postgres.crypt import decrypt_text, encrypt_text
from backstay.adapters.postgres.session import Session
from backstay.domain.restore import mark_in
from backstay.domain.secret import Secret, redact
from backstay.errors import DatabaseError
from backstay.ports.database import Damaged

LISTS: Final = frozenset(
    {"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
     "temp_tablespaces", "unix_socket_directories"}
)  # fmt: skip
"""Settings whose value is a list of quoted words (pg_dump, `variable_is_guc_list_quote`)."""

LIBRARIES: Final = {"session_preload_libraries": "", "local_preload_libraries": "$libdir/plugins/"}
"""Settings that name libraries for every session, and where those without a path lie."""

_SETTINGS: Final = """
SELECT coalesce(r.rolname, ''), split_part(line, '=', 1), substr(line, strpos(line, '=') + 1)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole,
  unnest(s.setconfig) AS line WHERE d.datname = %s ORDER BY 1, 2"""

_GRANTS: Final = """
SELECT coalesce(r.rolname, ''), g.privilege_type, g.is_grantable FROM pg_database d, aclexplode(d.datacl) g
LEFT JOIN pg_roles r ON r.oid = g.grantee WHERE d.datname = %s ORDER BY 1, 2"""


@dataclass(frozen=True, slots=True)
class Properties:
    """`grants`: role, privilege, whether it may be passed on; None where nobody changed those of a new database.
    `settings`: role, name, value as the catalog has it. The role "" is everybody."""

    comment: str | None
    grants: tuple[tuple[str, str, bool], ...] | None
    settings: tuple[tuple[str, str, str], ...]


def own(asked: Session) -> str:
    """The session's own database, by the name that leads back to it whatever encoding it has."""
    return str(asked.value("SELECT current_database()"))


def properties(asked: Session, database: str) -> Properties:
    """Those of a database. Raises DatabaseError when it is gone."""
    found = asked.rows("SELECT datacl IS NOT NULL FROM pg_database WHERE datname = %s", (database,))
    if not found:
        raise beside.gone(database)
    grants = tuple((str(r), str(p), bool(g)) for r, p, g in asked.rows(_GRANTS, (database,)))
    settings = tuple((str(r), str(k), str(v)) for r, k, v in asked.rows(_SETTINGS, (database,)))
    return Properties(beside.comment(asked, database), grants if found[0][0] else None, settings)


def granting(target: str, grants: Sequence[tuple[str, str, bool]] | None) -> Iterator[str]:
    """Statements after which `target` has these rights and no others."""
    if grants is None:
        return
    yield f"REVOKE ALL ON DATABASE {quoted(target)} FROM PUBLIC"
    for role, privilege, grantable in grants:
        option = " WITH GRANT OPTION" if grantable else ""
        yield f"GRANT {privilege} ON DATABASE {quoted(target)} TO {quoted(role) if role else 'PUBLIC'}{option}"


def setting(target: str, role: str, key: str, value: str) -> str:
    """The statement after which `target` has this setting."""
    whose = f"ROLE {quoted(role)} IN DATABASE" if role else "DATABASE"
    given = (", ".join(map(text, _words(value))) or "''") if key in LISTS else text(value)
    return f"ALTER {whose} {quoted(target)} SET {quoted(key)} TO {given}"


def written(found: Properties, recipients: Sequence[str]) -> dict[str, Any] | str:
    """As the manifest has them: encrypted where the backup is, as a setting may hold a secret."""
    document = asdict(found)
    return encrypt_text(json.dumps(document), recipients) if recipients else document


def read(manifest: Mapping[str, Any], dump: Path, identity: Secret | None) -> Properties | None:
    """Those in a manifest, None where it has none; raises Damaged, and DatabaseError without the right identity."""
    document = manifest.get("properties")
    if document is None:
        return None
    try:
        if isinstance(document, str):
            document = json.loads(decrypt_text(document, identity, dump))
        grants = document["grants"]
        return Properties(
            document["comment"],
            None if grants is None else tuple((str(r), str(p), bool(g)) for r, p, g in grants),
            tuple((str(r), str(k), str(v)) for r, k, v in document["settings"]),
        )
    except (KeyError, TypeError, ValueError):
        raise Damaged(
            f"the manifest of {dump.name} holds no settings of the database that can be read",
            hint="was it written by a newer Backstay?",
        ) from None


def give(asked: Session, target: str, found: Properties, *, rights: bool) -> tuple[str, ...]:
    """Give them to a database, the grants only with `rights`; what it was not given and why, for people.

    Settings of a role that the server lacks are left out, and so is what the server refuses: an unknown parameter, a
    library that is not there, one that needs a superuser.
    """
    notes = []
    there = {str(role) for (role,) in asked.rows("SELECT rolname FROM pg_roles")}
    for statement in granting(target, found.grants if rights else None):
        notes += _refusal(asked, [statement], "a right on the database")
    # A mark would make it a database beside another one.
    if found.comment and mark_in(found.comment) is None:
        comment = f"COMMENT ON DATABASE {quoted(target)} IS {text(found.comment)}"
        notes += _refusal(asked, [comment], "the database's comment")
    for role, key, value in found.settings:
        what = f"the setting {key}" + (f" of {role}" if role else "") + " in the database"
        if role and role not in there:
            notes.append(f"{what} was left out: there is no such role")
            continue
        statements = [*_loading(key, value), setting(target, role, key, value)]
        # The parameters of extensions and applications, where somebody may keep a secret.
        notes += _refusal(asked, statements, what, [Secret(value)] if "." in key else [])
    return tuple(notes)


def _refusal(
    asked: Session, statements: Sequence[str], what: str, hidden: Sequence[Secret] = ()
) -> list[str]:
    try:
        for statement in statements:
            asked.rows(statement)
    except DatabaseError as error:
        return [f"{what} was left out: {redact(error.message, hidden)}"]
    return []


def _loading(key: str, value: str) -> Iterator[str]:
    """What fails where nobody could sign in any more with this setting."""
    if key in LIBRARIES:
        for word in _words(value):
            yield f"LOAD {text(word if '/' in word else LIBRARIES[key] + word)}"


def _words(value: str) -> list[str]:
    """The words of a list one by one."""
    return [word.strip() for word in next(csv.reader([value], skipinitialspace=True), [])]
