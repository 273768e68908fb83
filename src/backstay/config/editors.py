"""The keys of backstay.yml as editors want them: a JSON Schema."""

from __future__ import annotations

from typing import Any

from backstay.config.schema import Config


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the file, for editors."""
    shown = _for_editors(Config.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **shown, "title": "backstay.yml"}


def _for_editors(shown: Any) -> Any:
    """Without null, which stands for a key that is not given, and without keys that fit no pattern."""
    if isinstance(shown, list):
        return [_for_editors(item) for item in shown]
    if not isinstance(shown, dict):
        return shown
    kept = {key: _for_editors(item) for key, item in shown.items()}
    if kept.get("default", ...) is None:
        del kept["default"]
    alternatives = kept.get("anyOf", [])
    if {"type": "null"} in alternatives:
        [only] = [item for item in alternatives if item != {"type": "null"}]
        kept = {**only, **{key: item for key, item in kept.items() if key != "anyOf"}}
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    return kept
