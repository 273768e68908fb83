"""A release: its identity is its content, and paths lead to the right component."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.release import Component, Health, Release, Route, compose_version, serves

DIGEST = "sha256:" + "ab" * 32


def component(name: str = "backend", version: str = "v1", **changed: Any) -> Component:
    base = Component(
        name, f"registry.example/{name}", version, DIGEST, 8000, env={"A": "1", "B": "2"}, secrets=("KEY",)
    )
    return replace(base, **changed)


def release(*components: Component, routes: tuple[tuple[str, str], ...] = ()) -> Release:
    parts = components or (component(), component("frontend"))
    return Release("shop", "v1", {c.name: c for c in parts}, tuple(Route(p, c) for p, c in routes))


def test_the_same_content_is_the_same_release_whatever_the_order_of_mappings() -> None:
    one = release(component(env={"A": "1", "B": "2"}), component("frontend"))
    two = release(component("frontend"), component(env={"B": "2", "A": "1"}))
    assert one.id == two.id
    assert one.id.startswith("r") and len(one.id) == 17


CHANGES: dict[str, dict[str, Any]] = {
    "digest": {"digest": "sha256:" + "cd" * 32},
    "image": {"image": "registry.example/other"},
    "version": {"version": "v2"},
    "port": {"port": 8001},
    "env value": {"env": {"A": "1", "B": "3"}},
    "env key": {"env": {"A": "1"}},
    "secrets": {"secrets": ("KEY", "OTHER")},
    "command": {"command": ("gunicorn",)},
    "migrate": {"migrate": ("migrate",)},
    "volumes": {"volumes": ("media:/media",)},
    "memory": {"memory": 1},
    "health": {"health": Health("/health/")},
    "stop grace": {"stop_grace_s": 11.0},
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_content_is_another_release(what: str) -> None:
    assert release(component(**CHANGES[what])).id != release(component()).id


def test_routes_and_the_application_belong_to_the_identity() -> None:
    ids = {
        release(component()).id,
        release(component(), routes=(("/", "backend"),)).id,
        release(component(), routes=(("/api/", "backend"),)).id,
        replace(release(component()), app="other").id,
    }
    assert len(ids) == 4


ROUTED = release(
    component("frontend"),
    component("backend"),
    component("admin"),
    routes=(("/", "frontend"), ("/api", "backend"), ("/api/admin/", "admin")),
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "frontend"),
        ("/index.html", "frontend"),
        ("/api", "backend"),
        ("/api/", "backend"),
        ("/api/v1/", "backend"),
        ("/apix", "frontend"),
        ("/api/administer", "backend"),
        ("/api/admin", "admin"),
        ("/api/admin/", "admin"),
        ("/api/admin/users", "admin"),
    ],
)
def test_the_longest_path_of_whole_segments_wins(path: str, name: str) -> None:
    found = ROUTED.component_for(path)
    assert found is not None and found.name == name


def test_no_route_no_component() -> None:
    assert release(component(), routes=(("/api/", "backend"),)).component_for("/other") is None


SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "api"]), max_size=4)


@given(SEGMENTS, SEGMENTS, st.booleans(), st.booleans())
def test_a_prefix_serves_exactly_the_paths_below_it(
    prefix: list[str], path: list[str], slash: bool, trailing: bool
) -> None:
    written = "/" + "/".join(prefix) + ("/" if slash and prefix else "")
    asked = "/" + "/".join(path) + ("/" if trailing and path else "")
    assert serves(written, asked) == (path[: len(prefix)] == prefix)


@pytest.mark.parametrize(
    ("base", "versions", "composed"),
    [
        ("v2", {"backend": "v2", "frontend": "v2"}, "v2"),
        ("v2", {"backend": "v1", "frontend": "v2"}, "v2+backend@v1"),
        ("v2", {"backend": "v1", "frontend": "v0", "worker": "v2"}, "v2+backend@v1+frontend@v0"),
        ("v2+backend@v1", {"backend": "v0", "frontend": "v2"}, "v2+backend@v0"),
        ("v2+backend@v1", {"backend": "v2", "frontend": "v2"}, "v2"),
        ("v2", {"backend": "v1", "frontend": "v1"}, "v1"),
        ("v2", {}, "v2"),
    ],
)
def test_a_mix_says_what_is_in_it(base: str, versions: dict[str, str], composed: str) -> None:
    assert compose_version(base, {n: component(n, v) for n, v in versions.items()}) == composed


def test_taking_a_component_from_elsewhere_makes_another_release() -> None:
    mixed = release().with_components({"backend": component(version="v0")})
    assert mixed.version == "v1+backend@v0"
    assert mixed.components["frontend"] == component("frontend")
    assert mixed.id != release().id
    assert mixed.with_components({"backend": component()}) == release()


def test_components_that_migrate_and_their_references() -> None:
    moving = component(migrate=("migrate",))
    assert release(moving, component("frontend")).migrating == (moving,)
    assert moving.reference == f"registry.example/backend:v1@{DIGEST}"
