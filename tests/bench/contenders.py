"""What is measured: how each contender is configured, started, watched and stopped."""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

from load import body

KEY = "sk-bench-master"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Contender:
    """A process (with its children) that serves chat completions at host:port."""

    name = ""
    host = "127.0.0.1"
    port = 0
    key = KEY
    process = None
    idle_mb = None

    def url(self, path):
        return f"http://{self.host}:{self.port}{path}"

    def start(self):
        raise NotImplementedError

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def spawn(self, command, log, **options):
        """Starts a process group of its own; its output goes to a file, for when it fails."""
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=output, stderr=output, start_new_session=True, **options
            )

    def wait_for_answer(self, seconds):
        """Until one chat completion is answered with a 200."""
        deadline = time.monotonic() + seconds
        last = "nothing"
        while time.monotonic() < deadline:
            if self.process and self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {pathlib.Path(self.log).read_text()[-2000:]}")
            try:
                status, text = self.ask()
                if status == 200:
                    return
                last = f"{status} {text[:300]}"
            except OSError as error:
                last = str(error)
            time.sleep(0.002)
        raise RuntimeError(f"{self.name} does not serve ({last}): {pathlib.Path(self.log).read_text()[-2000:]}")

    def ask(self):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body(stream=False)), headers)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")

    def pids(self):
        """The process and everything below it."""
        if not self.process:
            return []
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            try:
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                pass
        return found

    def cpu_seconds(self):
        total = 0.0
        for pid in self.pids():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
        return total

    def rss_mb(self):
        total = 0
        for pid in self.pids():
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"VmRSS:\s+(\d+) kB", status)
            total += int(found.group(1)) if found else 0
        return total / 1024


class Upstream(Contender):
    """The fake model server behind all of them."""

    name = "upstream"

    def __init__(self, binary):
        self.process = subprocess.Popen([str(binary)], stdout=subprocess.PIPE, text=True, start_new_session=True)
        address = self.process.stdout.readline().split("http://", 1)[1].strip()
        self.port = int(address.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Direct(Contender):
    """No proxy at all: the most that anything can reach."""

    name = "direct"

    def __init__(self, upstream):
        self.upstream = upstream
        self.port = upstream.port

    def start(self):
        self.idle_mb = None

    def stop(self):
        """The upstream is stopped by who started it."""

    def pids(self):
        return self.upstream.pids()


class Nginx(Contender):
    """A plain reverse proxy with keep-alive to the upstream."""

    name = "nginx"
    CONFIG = """
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream model {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

    def __init__(self, upstream, scratch):
        self.upstream, self.folder = upstream, scratch / "nginx"

    def start(self):
        self.port = free_port()
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "nginx.conf"
        config.write_text(self.CONFIG.format(folder=self.folder, upstream=self.upstream.port, port=self.port))
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        self.spawn([binary, "-c", config, "-p", self.folder], self.folder / "log")
        self.wait_for_answer(15)
        self.idle_mb = self.rss_mb()


class Witgate(Contender):
    """Ours: `bare` with a model list only, `production` with all that a real one has: a virtual key with a budget and limits, a
    guardrail, a sink."""

    MODELS = """
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-upstream}}
"""
    PRODUCTION = """
general_settings:
  master_key: {key}
litellm_settings:
  success_callback: [jsonl]
guardrails:
  - guardrail_name: secrets
    litellm_params: {{guardrail: hide-secrets, mode: pre_call, default_on: true}}
plugins:
  hide-secrets: {{isolation: {isolation}}}
  jsonl: {{grants: {{files: {{events: "{folder}/events.jsonl"}}}}}}
"""

    def __init__(self, kind, binary, upstream, scratch, isolation="warm", folder=None):
        self.name = f"Witgate {kind}"
        self.kind, self.binary, self.upstream, self.isolation = kind, binary, upstream, isolation
        self.folder = scratch / (folder or f"witgate-{kind}-{isolation}")

    def start(self):
        self.port = free_port()
        self.folder.mkdir(exist_ok=True)
        facts = dict(upstream=self.upstream.port, key=KEY, folder=self.folder, isolation=self.isolation)
        template = self.MODELS + (self.PRODUCTION if self.kind == "production" else "")
        config = self.folder / "config.yaml"
        config.write_text(template.format(**facts))
        plugins = pathlib.Path(os.environ.get("WITGATE_PLUGIN_DIR", "plugins/target/components")).resolve()
        environment = dict(
            os.environ, WITGATE_DATA_DIR=str(self.folder / "data"), WITGATE_PLUGIN_DIR=str(plugins), LITELLM_LOG="ERROR"
        )
        command = [self.binary.resolve(), "serve", "--config", config, "--host", self.host, "--port", self.port]
        self.spawn(command, self.folder / "log", env=environment)
        self.wait_for_answer(60)
        if self.kind == "production":
            self.key = self.virtual_key({"max_budget": 1e9, "rpm_limit": 10**9, "tpm_limit": 10**12, "max_parallel_requests": 10**6})
        self.idle_mb = self.rss_mb()

    def stop(self):
        super().stop()
        self.key = KEY

    def virtual_key(self, wanted):
        """A key that the gateway makes."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        connection.request("POST", "/key/generate", json.dumps(wanted), headers)
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
        if response.status != 200:
            raise RuntimeError(f"{self.name} makes no key: {response.status} {answer[:300]}")
        return json.loads(answer)["key"]

    def metrics(self):
        """The page of metrics."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", "/metrics", headers={"authorization": f"Bearer {KEY}"})
        return connection.getresponse().read().decode()

    def guardrail_buckets(self):
        """How many guardrail verdicts so far took at most so many seconds, from short to long."""
        lines = (line for line in self.metrics().splitlines() if line.startswith("witgate_plugin_call_seconds_bucket{"))
        verdicts = (line for line in lines if 'function="check"' in line)
        found = (re.search(r'le="([^"]+)".* (\d+)$', line) for line in verdicts)
        return sorted((float(match[1]), int(match[2])) for match in found)


class LiteLLM(Contender):
    """The proxy that Witgate replaces: the same model list, a worker per core."""

    name = "LiteLLM"
    CONFIG = """
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-upstream}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false}}
"""

    def __init__(self, venv, upstream, scratch):
        self.venv, self.upstream, self.folder = venv, upstream, scratch / "litellm"

    def start(self):
        self.port = free_port()
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "config.yaml"
        config.write_text(self.CONFIG.format(upstream=self.upstream.port, key=KEY))
        environment = dict(
            os.environ, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR", LITELLM_TELEMETRY="False", NO_PROXY="127.0.0.1"
        )
        binary = (self.venv / "bin" / "litellm").resolve()
        command = [binary, "--config", config, "--host", self.host, "--port", self.port, "--num_workers", os.cpu_count()]
        self.spawn(command, self.folder / "log", env=environment, cwd=self.folder)
        self.wait_for_answer(180)
        self.idle_mb = self.rss_mb()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
