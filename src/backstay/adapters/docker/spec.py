"""A ContainerSpec in the engine's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from docker import APIClient
from docker.types import LogConfig, Mount

from backstay.errors import EngineError
from backstay.ports.engine import ContainerSpec

PORT_LABEL: Final = "backstay.port"
_LOG_FILES: Final = {"max-size": "10m", "max-file": "3"}


def create(client: APIClient, spec: ContainerSpec, port: int | None) -> str:
    """Create the container, publishing on loopback `port` if the spec publishes something; returns its id."""
    labels = dict(spec.labels) if port is None else {**spec.labels, PORT_LABEL: str(port)}
    made = client.create_container(
        spec.image,
        command=list(spec.command) or None,
        entrypoint=list(spec.entrypoint) or None,
        name=spec.name,
        labels=labels,
        environment={**spec.env, **{name: secret.reveal() for name, secret in spec.secrets.items()}},
        ports=[spec.published] if spec.published is not None else None,
        host_config=_host_config(client, spec, port),
        # A release must not behave differently because of a proxy in the home folder of whoever deploys it.
        use_config_proxy=False,
    )
    return str(made["Id"])


def _host_config(client: APIClient, spec: ContainerSpec, port: int | None) -> Any:
    """No init process is put in front: the image runs as its author tested it, and some must be process 1."""
    return client.create_host_config(
        network_mode=spec.network,
        port_bindings={spec.published: ("127.0.0.1", port)} if spec.published is not None else None,
        restart_policy={"Name": "unless-stopped" if spec.restarts else "no"},
        extra_hosts={"host.docker.internal": "host-gateway"},
        log_config=LogConfig(type=LogConfig.types.JSON, config=dict(_LOG_FILES)),
        mem_limit=spec.memory,
        # The limit is for memory and swap together, or a leak would first drag the host through its swap.
        memswap_limit=spec.memory,
        mounts=[_mount(volume, spec.labels) for volume in spec.volumes],
    )


def _mount(volume: str, labels: Mapping[str, str]) -> Mount:
    """`name:/path[:ro]` or `/host/path:/path[:ro]`.

    A named volume gets `labels` when it is created. A folder of the host must exist: the engine would
    otherwise make an empty one, and a typing error would look like lost data.
    """
    source, _, rest = volume.partition(":")
    target, _, mode = rest.partition(":")
    if not source or not target.startswith("/") or mode not in ("", "ro", "rw"):
        raise EngineError(f"volume {volume!r} is not of the form name:/path or name:/path:ro")
    if source.startswith("/"):
        return Mount(target, source, type="bind", read_only=mode == "ro")
    return Mount(target, source, type="volume", read_only=mode == "ro", labels=dict(labels))
