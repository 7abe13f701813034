"""Where the demo listens: the ports it would like, and others where those are taken."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from include.demo.processes import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Below the range from which systems take the ports of outgoing connections: one of those may appear at any moment.
OTHERS = range(10_000, 30_000)


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on 127.0.0.1."""

    airflow: int = 8080
    sandbox: int = 8787
    receiver: int = 8788
    counters: int = 8789
    worker_log: int = 8793
    trigger_log: int = 8794
    postgres: int = 8795


@contextmanager
def reserve(pinned: Mapping[str, int | None] | None = None, *, usual: bool = True) -> Iterator[Ports]:
    """Choose the ports, and keep other demos and tests of this machine from choosing them too until the end.

    :param pinned: name -> the port it must be.
    :param usual: whether the rest get the ones everybody knows where those are free, or any.
    :raises DemoError: when a pinned port is taken, naming it and its option.
    """
    wanted = dict(pinned or {})
    with ExitStack() as held:
        chosen: dict[str, int] = {}
        for name in asdict(Ports()):
            if port := wanted.get(name):
                if not _take(port, held):
                    option = f"--{name.replace('_', '-')}-port"
                    raise DemoError(f"port {port} is taken; free it, choose another with {option}, or leave that out")
                chosen[name] = port
        for name, default in asdict(Ports()).items():
            if name not in chosen:
                candidates = [default] if usual else []
                candidates += random.sample(OTHERS, 100)
                chosen[name] = next((port for port in candidates if _take(port, held)), 0)
                if not chosen[name]:
                    raise DemoError("no port is free between 10000 and 29999")
        yield Ports(**chosen)


def _take(port: int, held: ExitStack) -> bool:
    """Take a port if nobody listens there and nobody else has taken it.

    What will listen there needs seconds until it does. Meanwhile the UDP port of the same number says that it is
    taken: it ends with this process, however that ends.
    """
    guard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        guard.bind(("127.0.0.1", port))
        for address in ("127.0.0.1", ""):  # Airflow's log servers listen on every interface
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
    except OSError:
        guard.close()
        return False
    held.callback(guard.close)
    return True
