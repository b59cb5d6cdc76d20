#!/usr/bin/env python3
"""What plugins cost: a verdict in each language, the memory of many, a start with many.

The guardrail is the template of `witgate plugin new` in each language, so all do the same: read every text of the
body and look for a word. Verdicts are timed by the gateway itself, host wrapper included.

    make bench-plugins

needs the release binaries. Prints a table and writes `target/bench-plugins.md`.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

from bench import SETTLE, guardrail_call_us, machine, progress
from contenders import KEY, Upstream, Witgate
from load import SENTENCE, body, wrk

LANGUAGES = ("rust", "python", "javascript", "c", "go")
MANY = (1, 10, 50)
AT_START = 30


class WithPlugins(Witgate):
    """A gateway with guardrails, one component each, all of them on."""

    def __init__(self, binary, upstream, folder, components):
        super().__init__("bare", binary, upstream, folder, folder="gateway")
        self.components = components

    def start(self):
        entries = "".join(
            f"  - guardrail_name: g{number}\n"
            f"    litellm_params: {{guardrail: g{number}, mode: pre_call, default_on: true}}\n"
            for number in range(len(self.components))
        )
        sources = "".join(
            f"  g{number}: {{source: {component}}}\n" for number, component in enumerate(self.components)
        )
        more = f"general_settings: {{master_key: {KEY}}}\n"
        if self.components:
            more += f"guardrails:\n{entries}plugins:\n{sources}"
        # The whole is a format string.
        self.MODELS = Witgate.MODELS + more.replace("{", "{{").replace("}", "}}")
        super().start()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--target", type=pathlib.Path, required=True, help="cargo's target folder")
    arguments.add_argument("--seconds", type=int, default=4, help="length of one measurement")
    options = arguments.parse_args()
    release = options.target.resolve() / "release"
    with tempfile.TemporaryDirectory(prefix="witgate-bench-") as scratch, Upstream(release / "fake-upstream") as upstream:
        report = measure(release / "witgate", upstream, pathlib.Path(scratch), options.seconds)
    text = render(report)
    print(text)
    (options.target / "bench-plugins.md").write_text(text)


def measure(witgate, upstream, scratch, seconds):
    components = {language: template(witgate, scratch, language) for language in LANGUAGES}
    components = {language: component for language, component in components.items() if component}
    report = {"machine": machine(), "languages": {}, "many": {}}
    for language, component in components.items():
        progress(f"verdicts in {language}")
        report["languages"][language] = {"kb": component.stat().st_size >> 10}
        for size, messages in (("2 KB", 1), ("20 KB", 10)):
            request = body(stream=False)
            for message in request["messages"]:
                message["content"] = SENTENCE * 6 * messages
            (scratch / "body.json").write_text(json.dumps(request))
            folder = scratch / f"{language}-{messages}"
            folder.mkdir()
            gateway = WithPlugins(witgate, upstream, folder, [component])
            begun = time.perf_counter()
            try:
                gateway.start()
                report["languages"][language].setdefault("first start, ms", (time.perf_counter() - begun) * 1e3)
                report["languages"][language][f"{size}, µs"] = guardrail_call_us(gateway, seconds, scratch)
            finally:
                gateway.stop()
    (scratch / "body.json").write_text(json.dumps(body(stream=False)))
    distinct = [variant(components["rust"], scratch, number) for number in range(max(MANY))]
    for count in (0, *MANY):
        progress(f"{count} plugins loaded")
        report["many"][count] = idle(witgate, upstream, scratch / f"many-{count}", distinct[:count])
    progress(f"starts with {AT_START} plugins")
    report["start"] = idle(witgate, upstream, scratch / "starts", distinct[:AT_START])
    report["four"] = added_by_four(witgate, upstream, scratch, distinct[:4], seconds)
    return report


def template(witgate, scratch, language):
    """The language's template, built; none when there is no such template or no tools for it."""
    folder = scratch / f"word-{language}"
    steps = (["new", folder, "--kind", "guardrail", "--lang", language], ["build", folder, "--out", folder])
    for step in steps:
        done = subprocess.run([witgate, "plugin", *step], capture_output=True, text=True)
        if done.returncode != 0:
            progress(f"no {language}: {done.stderr.strip().splitlines()[-1:]}")
            return None
    return next(folder.glob("*.wasm"))


def variant(component, scratch, number):
    """The same component as another one: with a custom section of its own, so that no code is shared."""
    name, content = b"variant", str(number).encode()
    section = bytes([len(name)]) + name + content
    copy = scratch / f"variant-{number}.wasm"
    copy.write_bytes(component.read_bytes() + bytes([0, len(section)]) + section)
    return copy


def idle(witgate, upstream, folder, components):
    """Memory of an idle gateway whose plugins were all called, and its start, both with compiled code in the cache."""
    folder.mkdir()
    starts, memory = [], []
    for _ in range(4):
        gateway = WithPlugins(witgate, upstream, folder, components)
        begun = time.perf_counter()
        try:
            gateway.start()
            starts.append((time.perf_counter() - begun) * 1e3)
            time.sleep(SETTLE)
            memory.append(gateway.rss_mb())
        finally:
            gateway.stop()
    return {"MB": statistics.median(memory[1:]), "start, ms": statistics.median(starts[1:])}


def added_by_four(witgate, upstream, scratch, components, seconds):
    """Microseconds that four guardrails add to a request at the median, one client."""
    medians = []
    for round_number in range(3):
        for these in ([], components):
            folder = scratch / f"four-{round_number}-{len(these)}"
            folder.mkdir()
            gateway = WithPlugins(witgate, upstream, folder, these)
            try:
                gateway.start()
                wrk(gateway, 1, 1, scratch)
                medians.append((len(these), wrk(gateway, 1, seconds, scratch)["p50_us"]))
            finally:
                gateway.stop()
    of = lambda count: statistics.median(us for these, us in medians if these == count)
    return of(4) - of(0)


def render(report):
    lines = [f"{report['machine']['cores']} × {report['machine']['processor']}", "", "| Language | Component, KB | First start, ms | 2 KB, µs | 20 KB, µs |", "|---|---:|---:|---:|---:|"]
    for language, row in report["languages"].items():
        lines.append(f"| {language} | {row['kb']} | {row['first start, ms']:.0f} | {row['2 KB, µs']:.0f} | {row['20 KB, µs']:.0f} |")
    lines += ["", "| Rust plugins, all different | Idle, MB | Start to first answer, ms |", "|---:|---:|---:|"]
    rows = {**report["many"], AT_START: report["start"]}
    for count, row in sorted(rows.items()):
        lines.append(f"| {count} | {row['MB']:.0f} | {row['start, ms']:.0f} |")
    lines += ["", f"Four guardrails add {report['four']:.0f} µs to a request at the median.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
