"""What state that gateways share through Redis costs a request: nothing kept, limits held in memory, the same held in Redis."""

import shutil
import socket
import time

from contenders import Contender, Witgate, free_port


class Redis(Contender):
    """A server that keeps nothing on disk."""

    name = "Redis"

    def __init__(self, scratch):
        self.folder = scratch / "redis"

    def start(self):
        self.port = free_port()
        self.folder.mkdir(exist_ok=True)
        binary = shutil.which("redis-server")
        if not binary:
            raise RuntimeError("redis-server is missing: tests/tools/setup.sh bench")
        options = ["--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self.folder]
        self.spawn([binary, *options], self.folder / "log")
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((self.host, self.port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("Redis does not answer")


class Counting(Witgate):
    """A deployment with a limit that is never reached, so that every call is counted against it."""

    MODELS = """
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-upstream, rpm: 1000000000}}
"""

    def __init__(self, name, binary, upstream, scratch, router):
        super().__init__("bare", binary, upstream, scratch, folder="witgate-" + name.replace(" ", "-"))
        self.name = f"Witgate, {name}"
        lines = "".join(f"  {line}\n" for line in router)
        self.MODELS = self.MODELS + (f"router_settings:\n{lines}" if router else "")


def shared_state(release, upstream, scratch, throughput):
    """Rows of the three, and what the Redis adds to the middle one."""
    server = Redis(scratch)
    gateways = []
    try:
        server.start()
        limits = ["optional_pre_call_checks: [enforce_model_rate_limits]"]
        shared = [f"redis_url: redis://127.0.0.1:{server.port}"]
        for name, router in (
            ("no limits", []),
            ("limits in memory", limits),
            ("no limits, Redis", shared),
            ("limits in Redis", limits + shared),
        ):
            gateways.append(Counting(name, release / "witgate", upstream, scratch, router))
        for gateway in gateways:
            gateway.start()
        rows = throughput(gateways)
    finally:
        for contender in (*gateways, server):
            contender.stop()
    _, memory, _, held = (rows[gateway.name] for gateway in gateways)
    added = lambda load, figure: held[load][figure] - memory[load][figure]
    return {
        "rows": rows,
        "added_p50_us": added("at_1", "p50_us"),
        "added_cpu_us": added("at_32", "cpu_us"),
    }
