"""The server on many machines: Ray Serve runs replicas of it (`replica.py`) behind one address.

Nothing here but the deployment: Ray starts, watches and scales the replicas, and its proxies listen.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import AutoscalingConfig, HTTPOptions, RequestRouterConfig
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig

from .errors import ServeError
from .hosting import Tls
from .replica import LeastTaken, Make, Replica

APPLICATION = "sottovoce"
DEPLOYMENT = "Replica"
_BUSY = 0.75
"""Share of the rows that may be taken, in the mean, before there is to be another replica."""
_SPARE = 64
"""Connections of a replica beyond its rows: whoever is refused, the page, health, metrics."""
_WAITING = 64
"""Connections that a proxy keeps waiting while no replica answers; the others get 503."""
_DRAIN_S = 600.0
"""What the sessions of a replica have to end, where there are to be fewer replicas."""
_ANSWER_S = 5.0
_SCALE_UP_S = 5.0
_LOOK_S = 5.0
"""How often Ray asks whether a replica is well; after three times that it is not, there is a new one."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where, and how much."""

    host: str
    port: int
    "On every machine where there is a replica."
    tls: Tls | None = None
    "Files that are there too."
    address: str | None = None
    "Of a Ray cluster, or ``auto``: the one that runs here. None: one of our own, on this machine only, that ends with us."
    least: int = 1
    most: int = 1
    "Replicas; between the two as many as the sessions need."
    rows: int = 4
    "Of each replica."
    cpus: float = 1.0
    gpus: float = 0.0
    "Of each replica; below 1 it shares one."


@contextmanager
def deployed(make: Make, cluster: Cluster) -> Iterator[None]:
    """The replicas, from when they can be reached; then all of them end, and every session with them.

    Raises:
        ServeError: there is no such cluster, it is too small, something else is served there, or the replicas do not start.
    """
    files = {}
    if cluster.tls is not None:
        files = {"ssl_keyfile": str(cluster.tls.key), "ssl_certfile": str(cluster.tls.certificate)}
    http = HTTPOptions(host=cluster.host, port=cluster.port, **files)
    quiet = LoggingConfig(log_level=logging.WARNING, enable_access_log=False)
    deployment = serve.deployment(
        Replica,
        name=DEPLOYMENT,
        **_number(cluster),
        ray_actor_options={"num_cpus": cluster.cpus, "num_gpus": cluster.gpus},
        max_ongoing_requests=cluster.rows + _SPARE,
        max_queued_requests=_WAITING,
        graceful_shutdown_timeout_s=_DRAIN_S,
        health_check_period_s=_LOOK_S,
        request_router_config=RequestRouterConfig(request_router_class=LeastTaken),
        max_constructor_retry_count=1,
    )
    with _connected(cluster.address):
        if serve.status().proxies:
            raise ServeError("Ray Serve runs on this cluster already, with an address of its own: see 'serve shutdown'")
        if cluster.address is None:
            check_room(cluster, ray.cluster_resources())  # others may grow
        try:
            serve.start(http_options=http, logging_config=quiet)
            serve.run(deployment.bind(make, cluster.most == 1), name=APPLICATION, logging_config=quiet)
        except (RuntimeError, TimeoutError, RayError, RayServeException) as error:
            raise ServeError(f"the cluster does not start: {_last_line(_status() or str(error))}") from error
        try:
            yield
        finally:
            if cluster.address is not None:
                serve.shutdown()


def check_room(cluster: Cluster, there: Mapping[str, float]) -> None:
    """Raises ServeError: of what is ``there``, by Ray's names, the replicas would need more, and wait for it for ever."""
    for name, each in (("CPU", cluster.cpus), ("GPU", cluster.gpus)):
        has = there.get(name, 0.0)
        fit = has // each if each >= 1 else has * (1 // each) if each else cluster.least
        if fit < cluster.least:
            raise ServeError(f"{cluster.least} replicas of {each:g} {name} do not fit: this machine has {has:g}")


def _number(cluster: Cluster) -> dict[str, Any]:
    """How many replicas, as Ray is told."""
    if cluster.least == cluster.most:
        return {"num_replicas": cluster.least}
    scaling = AutoscalingConfig(
        min_replicas=cluster.least,
        max_replicas=cluster.most,
        target_ongoing_requests=_BUSY * cluster.rows,
        upscale_delay_s=_SCALE_UP_S,
        look_back_period_s=3 * _SCALE_UP_S,
    )
    return {"autoscaling_config": scaling}


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """To a cluster, or to one of our own. Raises ServeError: that is not possible."""
    ours: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    before = signal.getsignal(signal.SIGTERM)  # Ray takes it
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        if address not in (None, "auto"):
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()  # Ray itself tries for minutes
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **ours)
    except Exception as error:  # Ray raises what it likes, and just that where it does not start in time
        raise ServeError(f"no Ray cluster at {address or 'this machine'}: {_last_line(str(error))}") from error
    finally:
        signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()


def _status() -> str:
    """What Ray knows of replicas that do not start."""
    application = serve.status().applications.get(APPLICATION)
    return application.deployments[DEPLOYMENT].message if application and DEPLOYMENT in application.deployments else ""


def _last_line(text: str) -> str:
    """Where Python says what was wrong."""
    return (text.strip().splitlines() or ["it does not say why"])[-1].removeprefix("sottovoce.stream.errors.")
