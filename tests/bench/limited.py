"""What a caller's key costs a call: known by the master key, by a virtual key, by one with limits and a budget, and the same with a Redis."""

import re
import socket

from contenders import Witgate
from shared_state import Redis

GOAL_US = 15


class Keyed(Witgate):
    """A gateway whose callers come with a virtual key, with or without limits and a budget."""

    LIMITS = {"max_budget": 1e9, "rpm_limit": 10**9, "tpm_limit": 10**12, "max_parallel_requests": 10**6}

    def __init__(self, name, binary, upstream, scratch, wanted, router=()):
        super().__init__("bare", binary, upstream, scratch, folder="witgate-" + re.sub(r"\W+", "-", name))
        self.name, self.wanted = f"Witgate, {name}", wanted
        lines = "".join(f"  {line}\n" for line in router)
        self.MODELS = self.MODELS + "general_settings:\n  master_key: {key}\n" + (f"router_settings:\n{lines}" if router else "")

    def start(self):
        super().start()
        if self.wanted is not None:
            self.key = self.virtual_key(self.wanted)


def limited(release, upstream, scratch, throughput):
    """Rows, what a key with limits adds, and how often a call asks Redis."""
    server = Redis(scratch)
    server.folder = scratch / "redis-limited"
    gateways = []
    try:
        server.start()
        shared = [f"redis_url: redis://127.0.0.1:{server.port}"]
        for name, wanted, router in (
            ("master key", None, []),
            ("virtual key", {}, []),
            ("key with limits", Keyed.LIMITS, []),
            ("key with limits, Redis", Keyed.LIMITS, shared),
        ):
            gateways.append(Keyed(name, release / "witgate", upstream, scratch, wanted, router))
        for gateway in gateways:
            gateway.start()
        rows = throughput(gateways)
        asked, served = commands(server), requests(gateways[-1])
        throughput(gateways[-1:])
        asked, served = commands(server) - asked, requests(gateways[-1]) - served
    finally:
        for contender in (*gateways, server):
            contender.stop()
    master, _, held, _ = (rows[gateway.name] for gateway in gateways)
    added = held["at_32"]["cpu_us"] - master["at_32"]["cpu_us"]
    return {"rows": rows, "added_cpu_us": added, "redis_per_call": asked / max(served, 1)}


def limited_line(measured):
    """What the figures say."""
    return (
        f"A virtual key with limits and a budget adds {measured['added_cpu_us']:.1f} µs of the gateway's processor to a call "
        f"(32 connections, its spend row included; goal {GOAL_US}); with a Redis it asks that {measured['redis_per_call']:.2f} times."
    )


def commands(server):
    """Scripts that Redis was sent so far; what a script calls is counted by Redis as well, so nothing else is asked for."""
    with socket.create_connection((server.host, server.port), timeout=5) as connection:
        connection.sendall(b"INFO commandstats\r\n")
        text = b""
        while not text.endswith(b"\r\n") or text.count(b"\r\n") < 2:
            text += connection.recv(1 << 16)
    found = re.findall(r"cmdstat_(evalsha|eval):calls=(\d+)", text.decode())
    return sum(int(calls) for _, calls in found)


def requests(gateway):
    """Calls that the gateway served so far."""
    page = gateway.metrics()
    found = re.findall(r'^witgate_request_duration_seconds_count\{[^}]*\} (\d+)', page, re.MULTILINE)
    return sum(map(int, found))
