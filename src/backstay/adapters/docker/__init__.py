"""The Docker engine on this host, spoken to over its Unix socket."""

from backstay.adapters.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
