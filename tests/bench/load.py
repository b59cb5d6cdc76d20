"""The load: a body of 2 KB of messages, wrk for throughput, bare sockets for streams."""

import json
import os
import pathlib
import socket
import subprocess
import time

CONNECTIONS = (1, 32)
SENTENCE = "Please summarise the quarterly figures of the northern branch for the board meeting. "


def body(stream):
    """A chat of four messages, 2 KB of text together."""
    roles = ("system", "user", "assistant", "user")
    messages = [{"role": role, "content": SENTENCE * 6} for role in roles]
    request = {"model": "gpt-4o", "messages": messages}
    if stream:
        request["stream"] = True
    return request


def wrk(contender, connections, seconds, scratch):
    """One run; its counts as the script's last line tells them."""
    command = [
        "wrk",
        f"-t{min(connections, 2)}",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout=30s",
        "-s",
        str(pathlib.Path(__file__).with_name("post.lua")),
        contender.url("/v1/chat/completions"),
    ]
    environment = dict(os.environ, BODY=str(scratch / "body.json"), KEY=contender.key)
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def first_frame_times(contender, count):
    """Microseconds from sending a request to the first `data:` of its answer, `count` times."""
    request = json.dumps(body(stream=True)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {contender.key}\r\ncontent-length: {len(request)}\r\n\r\n"
    ).encode()
    taken = []
    with socket.create_connection((contender.host, contender.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            begun = time.perf_counter()
            connection.sendall(head + request)
            received = b""
            while b"data: " not in received:
                received += receive(connection)
            taken.append((time.perf_counter() - begun) * 1e6)
            if not received.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{contender.name} answered {received[:300]!r}")
            while not received.endswith(b"0\r\n\r\n"):
                received += receive(connection)
    return taken


def receive(connection):
    piece = connection.recv(65536)
    if not piece:
        raise RuntimeError("the connection was closed in the middle of an answer")
    return piece
