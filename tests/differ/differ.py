"""Plays one table of scenarios against LiteLLM's proxy and Witgate, and tells where they differ.

    differ.py --witgate BINARY --litellm VENV [--only WORD]

Both serve the same file, before the same scripted upstream. What may differ is in allowed.yaml, with
its reason; a line of that file that no scenario needs any more fails the run, as a new difference does.
"""

import argparse
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import yaml

from upstream import Upstream

HERE = pathlib.Path(__file__).parent
KEY = "sk-differ-master"
# The ones that LiteLLM documents and that say how the call went.
HEADERS = [
    "x-litellm-model-id",
    "x-litellm-model-group",
    "x-litellm-attempted-retries",
    "x-litellm-attempted-fallbacks",
    "retry-after",
]
# No pauses between attempts: what is compared is what is called, not when.
ENVIRONMENT = {"INITIAL_RETRY_DELAY": "0", "MAX_RETRY_DELAY": "0", "JITTER": "0", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


class Proxy:
    def __init__(self, name, command, folder):
        self.name, self.command, self.folder = name, command, folder

    def launch(self, config):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = self.folder / f"{self.name}.log"
        # Nothing of the caller's environment but what programs need: keys and database URLs change behaviour.
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        environment |= ENVIRONMENT | {"WITGATE_DATA_DIR": str(self.folder / "data")}
        command = [*self.command, "--config", str(config), "--host", "127.0.0.1", "--port", str(self.port)]
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, cwd=self.folder, start_new_session=True
            )

    def wait(self, seconds=180):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self.request("GET", "/health/liveliness", None)[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{self.name} does not serve:\n{self.log.read_text()[-3000:]}")

    def request(self, method, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"authorization": f"Bearer {KEY}"}
            if body is not None:
                headers["content-type"] = "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def write_config(suite, base, path):
    """One file for all scenarios of a suite. A deployment's id is its upstream model's name, which is unique."""
    models = []
    for scenario in suite["scenarios"]:
        for model in scenario.get("models", []):
            params = {"model": f"openai/{model['model']}", "api_base": base, "api_key": "k"} | model.get("params", {})
            info = {"id": model.get("id", model["model"])} | model.get("info", {})
            models.append({"model_name": model["group"], "litellm_params": params, "model_info": info})
    settings = dict(suite.get("settings", {}))
    router = dict(settings.pop("router_settings", {}))
    for key in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        lists = [entry for scenario in suite["scenarios"] for entry in scenario.get(key, [])]
        if lists:
            router[key] = lists
    general = {"master_key": KEY} | settings.pop("general_settings", {})
    config = {"model_list": models, "router_settings": router, "general_settings": general, **settings}
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def frames(data):
    lines = [line[5:].strip() for line in data.decode(errors="replace").splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line and line != "[DONE]"]


def text_of(frame):
    choices = frame.get("choices") or [{}]
    part = choices[0].get("message") or choices[0].get("delta") or {}
    return part.get("content") or ""


def observe(proxy, upstream, call):
    """What of one call is compared; texts of errors only where the call says so."""
    body = {"model": call["model"], "messages": [{"role": "user", "content": call.get("say", "Hello")}]} | call.get("body", {})
    for name in [name for name, value in body.items() if value is None]:
        del body[name]
    status, headers, data = proxy.request("POST", call.get("path", "/v1/chat/completions"), body)
    seen = {"status": status, "upstream": [asked["model"] for asked in upstream.take_calls()]}
    for name in HEADERS:
        seen[name] = headers.get(name)
    try:
        answers = frames(data) if headers.get("content-type", "").startswith("text/event-stream") else [json.loads(data)]
    except ValueError:
        answers = [{"text": data.decode(errors="replace")}]
    seen["text"] = "".join(text_of(answer) for answer in answers)
    errors = [answer["error"] for answer in answers if answer.get("error")]
    for member in ("type", "code", *(name.removeprefix("error.") for name in call.get("compare", []))):
        seen[f"error.{member}"] = errors[0].get(member) if errors else None
    return seen


def play(proxy, upstream, scenario):
    upstream.reset(scenario.get("upstream", {}))
    return [observe(proxy, upstream, call) for call in scenario["calls"] for _ in range(call.get("times", 1))]


def differences(scenario, ours, theirs):
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True), 1):
        for field in one:
            if one[field] != other[field]:
                yield {"scenario": scenario["name"], "call": number, "field": field, "litellm": other[field], "witgate": one[field]}


def permits(line, found):
    """Whether a line of allowed.yaml is about this difference: what it does not name may be anything."""
    names = line.get("scenarios")
    return (names is None or found["scenario"] in names) and all(
        line[key] == found[key] for key in ("call", "field", "litellm", "witgate") if key in line
    )


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--witgate", required=True, type=pathlib.Path)
    arguments.add_argument("--litellm", required=True, type=pathlib.Path)
    arguments.add_argument("--only", default="")
    options = arguments.parse_args()

    suites = yaml.safe_load((HERE / "scenarios.yaml").read_text())
    allowed = yaml.safe_load((HERE / "allowed.yaml").read_text()) or []
    needed, failed, played = set(), 0, 0
    for line in allowed:
        if not line.get("reason") or not line.get("field"):
            raise SystemExit(f"allowed.yaml: a line needs a field and a reason: {line}")
    upstream = Upstream()
    for suite in suites:
        scenarios = [scenario for scenario in suite["scenarios"] if options.only in scenario["name"]]
        if not scenarios:
            continue
        with tempfile.TemporaryDirectory(prefix="differ-") as temporary:
            folder = pathlib.Path(temporary)
            write_config(suite, upstream.base, folder / "config.yaml")
            witgate = Proxy("witgate", [options.witgate.resolve(), "serve"], folder)
            litellm = Proxy("litellm", [options.litellm.resolve() / "bin/litellm", "--num_workers", "1"], folder)
            started = []
            try:
                for proxy in (litellm, witgate):
                    proxy.launch(folder / "config.yaml")
                    started.append(proxy)
                for proxy in started:
                    proxy.wait()
                for scenario in scenarios:
                    found = list(differences(scenario, play(witgate, upstream, scenario), play(litellm, upstream, scenario)))
                    played += 1
                    for one in found:
                        permitted = {number for number, line in enumerate(allowed) if permits(line, one)}
                        needed |= permitted
                        if not permitted:
                            failed += 1
                            print(f"{one['scenario']}, call {one['call']}: {one['field']}\n    LiteLLM {one['litellm']!r}\n    Witgate {one['witgate']!r}")
            finally:
                for proxy in started:
                    proxy.stop()
    if not options.only:
        for number, line in enumerate(allowed):
            if number not in needed:
                failed += 1
                print(f"allowed.yaml: no longer needed: {line}")
    print(f"differ: {played} scenarios, {len(needed)} allowed differences, {failed} not allowed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
