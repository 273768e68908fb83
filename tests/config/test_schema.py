"""JSON Schema for editors agrees with what is accepted, and the documentation knows every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from backstay.config import json_schema
from backstay.config.keys import sections
from backstay.config.source import read
from tests.config.faulty import EDITS
from tests.config.samples import FULL, GOOD, written

DOCUMENTATION: Final = Path(__file__).parents[2] / "docs" / "configuration.md"
_TYPES: Final[dict[str, Any]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}
_KNOWN: Final = {
    *(
        "type",
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "minProperties",
        "items",
    ),
    *(
        "minItems",
        "maxItems",
        "minLength",
        "pattern",
        "minimum",
        "maximum",
        "const",
        "examples",
        "description",
    ),
    *("title", "default", "format", "$ref", "$defs", "$schema"),
}


def _faults(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> Iterator[str]:
    """The part of JSON Schema that the file's schema uses."""
    assert set(schema) <= _KNOWN, f"teach this test {set(schema) - _KNOWN}"
    if "$ref" in schema:
        yield from _faults(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    kinds = schema.get("type", [])
    fitting = [_TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    if fitting and (isinstance(value, bool) or not any(isinstance(value, kind) for kind in fitting)):
        yield f"{at}: not {kinds}"
    elif isinstance(value, dict):
        yield from _mapping_faults(value, schema, root, at)
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{at}: length"
        for index, item in enumerate(value):
            yield from _faults(item, schema.get("items", {}), root, f"{at}[{index}]")
    elif isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at}: pattern"
    elif isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: range"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: const"


def _mapping_faults(
    value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str
) -> Iterator[str]:
    yield from (f"{at}: {key} missing" for key in schema.get("required", []) if key not in value)
    if len(value) < schema.get("minProperties", 0):
        yield f"{at}: empty"
    for key, child in value.items():
        fitting = [s for pattern, s in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        known = (
            schema.get("properties", {}).get(key) or (fitting or [schema.get("additionalProperties", {})])[0]
        )
        if known is False:
            yield f"{at}.{key}: unknown"
        elif isinstance(known, dict):
            yield from _faults(child, known, root, f"{at}.{key}")


def _judged(folder: Path, text: str) -> list[str]:
    schema = json_schema()
    return list(_faults(read(written(folder, text), {"HOOK": "x"}).data, schema, schema, ""))


@pytest.mark.parametrize("text", [GOOD, FULL, FULL.replace("port: 8000", "port: '${PORT}'")])
def test_good_files_fit(text: str, tmp_path: Path) -> None:
    assert _judged(tmp_path, text) == []


@pytest.mark.parametrize(
    "name",
    (
        *("unknown top key", "unknown component key", "unknown trigger", "tls", "canary", "missing port"),
        *(
            "app in capitals",
            "component name",
            "image with tag",
            "image with digest",
            "port 0",
            "port is true",
        ),
        *(
            "health is a list",
            "duration without unit",
            "env is a list",
            "env name",
            "memory unit",
            "route path",
        ),
        *("smoke method", "remote host", "policy name", "share in percent", "ports"),
    ),
)
def test_editors_see_the_same_faults(name: str, tmp_path: Path) -> None:
    old, new, _, _ = EDITS[name]
    assert _judged(tmp_path, GOOD.replace(old, new, 1)) != []


def test_every_key_has_a_description() -> None:
    schema = json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for key, shown in section["properties"].items():
            # A key described like the section it holds leaves the description to that section.
            section_held = schema["$defs"].get(shown.get("$ref", "").rpartition("/")[2], {})
            assert shown.get("description") or section_held.get("description"), key


def _documented() -> dict[str, set[str]]:
    """The keys of the tables, by the heading they stand below."""
    found: dict[str, set[str]] = {}
    heading = ""
    for line in DOCUMENTATION.read_text().splitlines():
        if line.startswith("#"):
            heading = line.strip("# `")
        row = re.match(r"\| `([^`]+)` \|", line)
        if row:
            found.setdefault(heading, set()).add(row[1])
    return found


HEADINGS: Final = {
    "Config": "The file",
    "Component": "components.NAME",
    "Health": "components.NAME.health",
    "Route": "routes",
    "Database": "database",
    "Copy": "database.copy",
    "Smoke": "smoke",
    "Expect": "smoke.expect",
    "Registry": "registry",
    "Environment": "environments.NAME",
    "Schedule": "environments.NAME.schedule",
    "Router": "environments.NAME.router",
    "Cors": "environments.NAME.cors",
    "Secrets": "environments.NAME.secrets",
    "Policy": "environments.NAME.policy",
    "Triggers": "environments.NAME.policy.triggers",
}


def test_the_documentation_has_every_key_and_no_other() -> None:
    expected = {
        HEADINGS[section.__name__]: {field.alias or name for name, field in section.model_fields.items()}
        for section in sections()
    }
    assert _documented() == expected


def test_the_documentation_names_the_defaults() -> None:
    text = DOCUMENTATION.read_text()
    for section in sections():
        for name, field in section.model_fields.items():
            if isinstance(field.default, str):
                row = rf"\| `{field.alias or name}` \| [^|]* \| `{re.escape(field.default)}` \|"
                assert re.search(row, text), f"{section.__name__}.{name}: default {field.default}"


def test_the_example_of_the_documentation_is_good(tmp_path: Path) -> None:
    from backstay.config import check

    example = DOCUMENTATION.read_text().split("```yaml\n", 1)[1].split("```", 1)[0]
    told = [
        str(p) for p in check(written(tmp_path, example), {"SLACK_HOOK": "x/y/z"}) if p.severity == "error"
    ]
    assert told == []
    assert _judged(tmp_path, example) == []
