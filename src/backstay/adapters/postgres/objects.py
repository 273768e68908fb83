"""Questions to the catalogue: one line per object that people made, none for what an extension brought along.

Each runs with an empty search path, so that every name is written with its schema.
"""

from __future__ import annotations

from typing import Final

from backstay.domain.content import VERSIONS

_OURS: Final = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


def _own(catalog: str, oid: str) -> str:
    return (
        f"NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.{catalog}'::regclass"
        f" AND e.objid = {oid} AND e.deptype = 'e')"
    )


def _short(text: str) -> str:
    return f"left(md5({text}), 12)"


_RELATIONS: Final = (
    "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    f" WHERE {_OURS} AND c.relpersistence <> 't' AND {_own('pg_class', 'c.oid')}"
)
_NAME: Final = "format('%I.%I', n.nspname, c.relname)"

# Types of which two values are equal only when they are the same, so that their hash inside the server tells apart
# whatever their text does. Others call equal what is not the same: -0 and 0 (float), 1.0 and 1.00 (numeric, jsonb), a
# day and 24 hours (interval), padded words (bpchar), 'A' and 'a' (citext, a nondeterministic collation). An enum's
# hash is that of a number which a restore makes anew.
_EXACT: Final = "bool int2 int4 int8 oid text varchar char name uuid bytea date time timestamp timestamptz"
_HASHED: Final = ", ".join(f"'{name}'" for name in _EXACT.split())

# In what order a table that inherits has its columns depends on how it came about, and a restore is another way. A
# partition is restored as a table, and attached.
_INHERITS: Final = (
    "(c.relkind = 'r' AND NOT c.relispartition AND EXISTS (SELECT FROM"
    " pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid))"
)
_ROW: Final = f"""CASE WHEN {_INHERITS} THEN (SELECT 'ROW(' || coalesce(string_agg(
    '"backstay row".' || quote_ident(a.attname), ', ' ORDER BY a.attname), '') || ')' FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) ELSE '"backstay row".*' END"""

TABLES: Final = f"""
SELECT {_NAME}, c.relpersistence = 'p', (SELECT count(*) > 0 AND bool_and(t.typname IN ({_HASHED})
    AND t.typnamespace = 'pg_catalog'::regnamespace
    AND coalesce(to_jsonb(o) ->> 'collisdeterministic', 'true') = 'true')
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), {_ROW}
FROM {_RELATIONS} AND c.relkind = 'r' ORDER BY 1"""
"""Name, whether it is logged, whether the hash of its values will do, and how a row of it is written."""
ROW: Final = f"SELECT {_ROW} FROM pg_catalog.pg_class c WHERE c.oid = to_regclass(%s)"
SEQUENCES: Final = f"SELECT {_NAME} FROM {_RELATIONS} AND c.relkind = 'S' ORDER BY 1"
LARGE_OBJECTS: Final = "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata"

_COLUMNS: Final = f"""
SELECT {_NAME} || ' ' || c.relkind::text || ' ' || {
    _short(f'''string_agg(concat_ws(' ', a.attname,
    pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, to_jsonb(a) ->> 'attidentity',
    to_jsonb(a) ->> 'attgenerated', a.atthasdef, o.collname), ',' ORDER BY CASE WHEN {_INHERITS}
    THEN a.attname END, a.attnum)''')
}
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
  JOIN pg_catalog.pg_class t ON t.oid = a.attrelid, {_RELATIONS} AND c.oid = t.oid
  AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY n.nspname, c.relname, c.relkind ORDER BY 1"""

_INDEXES: Final = f"""
SELECT {_NAME} || ' on ' || i.indrelid::regclass || ' ' || {
    _short('''concat_ws(' ', m.amname, i.indisunique,
    i.indisprimary, i.indpred IS NULL, i.indexprs IS NULL, (SELECT string_agg(coalesce(a.attname, '-'), ',' ORDER BY
    k.nr) FROM unnest(i.indkey) WITH ORDINALITY k(attnum, nr) LEFT JOIN pg_catalog.pg_attribute a
      ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0))''')
}
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_am m ON m.oid = x.relam, {_RELATIONS} AND c.oid = x.oid
  AND (i.indisvalid OR c.relkind = 'I') ORDER BY 1"""

# Those of a partition that come from its parent get their names anew when it is restored.
_CONSTRAINTS: Final = f"""
SELECT c.conrelid::regclass || '.' || c.conname || ' ' || c.contype::text || ' ' || c.convalidated || CASE
    WHEN c.contype IN ('p', 'u', 'f') THEN ' ' || {_short("pg_catalog.pg_get_constraintdef(c.oid)")} ELSE '' END
FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE {_OURS} AND coalesce(to_jsonb(c) ->> 'conparentid', '0') = '0' AND c.contype <> 't'
  AND {_own("pg_class", "r.oid")} ORDER BY 1"""

# The functions that a range type brings along belong to the server's first superuser, who has another name elsewhere.
_WITH_A_TYPE: Final = (
    "EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = 'pg_catalog.pg_proc'::regclass"
    " AND i.objid = p.oid AND i.deptype = 'i')"
)

_FUNCTIONS: Final = f"""
SELECT format('%I.%I(%s) ', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid))
    || {_short("concat_ws(' ', l.lanname, p.prorettype::regtype, p.provolatile, p.prosecdef, p.prosrc)")}
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE {_OURS} AND {_own("pg_proc", "p.oid")} AND NOT {_WITH_A_TYPE} ORDER BY 1"""

_TYPES: Final = f"""
SELECT format('%I.%I %s ', n.nspname, t.typname, t.typtype) || {
    _short('''concat_ws(' ', t.typbasetype::regtype,
    (SELECT string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum l WHERE l.enumtypid =
    t.oid))''')
}
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE {_OURS} AND t.typtype IN ('e', 'd', 'r') AND {_own("pg_type", "t.oid")} ORDER BY 1"""

_TRIGGERS: Final = f"""
SELECT {_NAME} || '.' || t.tgname || ' ' || t.tgenabled::text || ' ' || t.tgfoid::regproc || ' ' || t.tgtype
FROM pg_catalog.pg_trigger t, {_RELATIONS} AND c.oid = t.tgrelid AND NOT t.tgisinternal
  AND coalesce(to_jsonb(t) ->> 'tgparentid', '0') = '0' ORDER BY 1"""

_POLICIES: Final = f"""
SELECT {_NAME} || CASE WHEN p.oid IS NULL THEN '' ELSE '.' || p.polname || ' ' || p.polcmd::text END
    || CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END
    || CASE WHEN c.relrowsecurity THEN ' on' ELSE ' off' END
FROM pg_catalog.pg_policy p RIGHT JOIN pg_catalog.pg_class t ON t.oid = p.polrelid, {_RELATIONS}
  AND c.oid = t.oid AND (p.oid IS NOT NULL OR c.relrowsecurity) ORDER BY 1"""

_PUBLICATIONS: Final = """
SELECT p.pubname || ' ' || p.puballtables || ' ' || left(md5(coalesce((SELECT
    string_agg(t.schemaname || '.' || t.tablename, ',' ORDER BY t.schemaname, t.tablename)
    FROM pg_catalog.pg_publication_tables t WHERE t.pubname = p.pubname), '')), 12)
FROM pg_catalog.pg_publication p ORDER BY 1"""

_OTHERS: Final = " UNION ALL ".join(
    f"SELECT '{what} ' || count(*) FROM pg_catalog.{catalog} o JOIN pg_catalog.pg_namespace n ON n.oid = o.{schema}"
    f" WHERE {_OURS} AND {_own(catalog, 'o.oid')}"
    for what, catalog, schema in (
        ("operators", "pg_operator", "oprnamespace"),
        ("operator classes", "pg_opclass", "opcnamespace"),
        ("collations", "pg_collation", "collnamespace"),
        ("text search configurations", "pg_ts_config", "cfgnamespace"),
        ("text search dictionaries", "pg_ts_dict", "dictnamespace"),
        ("extended statistics", "pg_statistic_ext", "stxnamespace"),
    )
) + "".join(
    f" UNION ALL SELECT '{what} ' || count(*) FROM pg_catalog.{catalog} o"
    f" WHERE o.oid >= 16384 AND {_own(catalog, 'o.oid')}"
    for what, catalog in (
        ("casts", "pg_cast"),
        ("foreign servers", "pg_foreign_server"),
        ("event triggers", "pg_event_trigger"),
        ("languages", "pg_language"),
    )
)  # fmt: skip

_OWNERS: Final = f"""
SELECT {_NAME} || ' ' || c.relowner::regrole FROM {_RELATIONS} AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
UNION ALL SELECT format('%I ', n.nspname) || n.nspowner::regrole FROM pg_catalog.pg_namespace n WHERE {_OURS}
UNION ALL SELECT format('%I.%I(%s) ', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid))
    || p.proowner::regrole FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE {_OURS} AND {_own("pg_proc", "p.oid")} AND NOT {_WITH_A_TYPE} ORDER BY 1"""

_PRIVILEGES: Final = f"""
SELECT {_NAME} || ' ' || (SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(coalesce(c.relacl,
    acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) x)
FROM {_RELATIONS} AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
UNION ALL SELECT format('%I ', n.nspname) || (SELECT string_agg(x::text, ' ' ORDER BY x::text)
    FROM unnest(coalesce(n.nspacl, acldefault('n', n.nspowner))) x)
  FROM pg_catalog.pg_namespace n WHERE {_OURS} ORDER BY 1"""

KINDS: Final = {
    "database": "SELECT 'encoding ' || pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database"
    " WHERE datname = current_database()",
    "locale": "SELECT 'collation ' || datcollate || ', types ' || datctype FROM pg_catalog.pg_database"
    " WHERE datname = current_database()",
    "extensions": "SELECT extname FROM pg_catalog.pg_extension ORDER BY 1",
    VERSIONS: "SELECT extname || ' ' || extversion FROM pg_catalog.pg_extension ORDER BY 1",
    "schemas": f"SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE {_OURS}"
    f" AND {_own('pg_namespace', 'n.oid')} ORDER BY 1",
    "relations": _COLUMNS,
    "indexes": _INDEXES,
    "constraints": _CONSTRAINTS,
    "functions": _FUNCTIONS,
    "types": _TYPES,
    "triggers": _TRIGGERS,
    "row security": _POLICIES,
    "rules": "SELECT schemaname || '.' || tablename || '.' || rulename FROM pg_catalog.pg_rules"
    " WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema' ORDER BY 1",
    "publications": _PUBLICATIONS,
    "others": _OTHERS,
    "owners": _OWNERS,
    "privileges": _PRIVILEGES,
}
"""Kind of object to the question whose rows are its lines."""
