"""The links between the processes that train together: how long one waits to connect, and for a peer that is gone.

Ranks wait for the root's tests as long as these take, a day if need be; so no time limit of torch's tells a slow peer
from a cut link. The kernel does: it asks the other end for a sign of life (keepalive), and ends the connection where
none comes, nor an acknowledgement of what was sent.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from caffe_compat.errors import SolverError

CONNECT = timedelta(minutes=2)  # for all processes to find one another
PATIENCE = timedelta(days=1)  # for the root's tests; a rank that ends is noticed at once
LINK_TIMEOUT = 300.0  # seconds
PROBES = 5  # signs of life asked for within that time


def connect(link_timeout: float = LINK_TIMEOUT) -> None:
    """Join torch's process group, as torchrun's environment names it. SolverError says what keeps the processes apart.

    link_timeout: seconds after which a link that was cut ends the waiting at both of its ends.
    """
    if not 1 <= link_timeout <= 86400:
        raise SolverError(f"link_timeout is {link_timeout:g} seconds; wanted 1 to 86400")
    try:
        store, rank, size = next(rendezvous("env://", timeout=CONNECT))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.distributed_c10d.PrefixStore(f"attempt_{attempt}", store)  # it keeps stale addresses
        dist.init_process_group(store=store, rank=rank, world_size=size, timeout=CONNECT)
        dist.distributed_c10d._set_pg_timeout(PATIENCE)
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        dist.all_reduce(torch.zeros(1, device=device))  # so that every connection is there
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:300]
        count = os.environ.get("WORLD_SIZE", "?")
        raise SolverError(f"the {count} processes cannot reach one another{_interface()}: {reason}") from None
    bound_links(link_timeout)


def bound_links(seconds: float) -> None:
    """Let every TCP connection of this process end within `seconds` once its other end gives no sign of life."""
    idle = max(1, int(seconds // (PROBES + 1)))
    options = {
        "SO_KEEPALIVE": (socket.SOL_SOCKET, 1),
        "TCP_KEEPIDLE": (socket.IPPROTO_TCP, idle),
        "TCP_KEEPINTVL": (socket.IPPROTO_TCP, idle),
        "TCP_KEEPCNT": (socket.IPPROTO_TCP, PROBES),
        "TCP_USER_TIMEOUT": (socket.IPPROTO_TCP, int(seconds * 1000)),
    }
    for link in _connections():
        for name, (level, value) in options.items():
            if hasattr(socket, name):
                link.setsockopt(level, getattr(socket, name), value)
        link.close()


def _connections() -> list[socket.socket]:
    """Copies of the connected TCP sockets that this process has open; none where the system does not list them."""
    folder = "/proc/self/fd"
    found = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        try:
            link = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # no socket
            continue
        try:
            link.getpeername()
            is_tcp = link.family in (socket.AF_INET, socket.AF_INET6) and link.type == socket.SOCK_STREAM
        except OSError:  # one that listens
            is_tcp = False
        if is_tcp:
            found.append(link)
        else:
            link.close()
    return found


def _interface() -> str:
    """What to say of the network interface that gloo was told to use, or has chosen by the host's name."""
    name = os.environ.get("GLOO_SOCKET_IFNAME")
    if name is None:
        return " (several machines: set GLOO_SOCKET_IFNAME to the interface that leads to the others, such as eth0)"
    known = ", ".join(interface for _, interface in socket.if_nameindex())
    return f" (GLOO_SOCKET_IFNAME is '{name}'; this machine has {known})"
