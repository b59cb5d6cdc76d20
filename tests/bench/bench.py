#!/usr/bin/env python3
"""Measures Witgate against what stands beside it, and prints one table.

Same upstream (a canned answer, so that the proxies are what is measured), same body, same
machine. The rounds are interleaved: every contender runs once before any runs twice, so that a
noisy minute hits all alike. What is reported is the median over the rounds.

    make bench

needs wrk and nginx (installed by the target), the release binaries and a venv with LiteLLM.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from caching import caching
from contenders import Direct, LiteLLM, Nginx, Upstream, Witgate
from limited import limited, limited_line
from load import CONNECTIONS, body, first_frame_times, wrk
from selection import selection
from shared_state import shared_state
from table import redis_line, render, throughput_table

ROUNDS = 3
STARTS = 5
STREAMS = 60
# Until a process that has just started is idle, seconds.
SETTLE = 3


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--target", type=pathlib.Path, required=True, help="cargo's target folder")
    arguments.add_argument("--without-litellm", action="store_true", help="leave LiteLLM out")
    arguments.add_argument("--only", choices=["caching", "limits", "redis", "selection", "store"], help="this part alone; prints, and writes no report")
    arguments.add_argument("--seconds", type=int, default=4, help="length of one measurement")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="witgate-bench-") as scratch:
        if options.only:
            print("\n".join(part(options, pathlib.Path(scratch))))
            return
        report = measure(options, pathlib.Path(scratch))
    # First the figures, then their page: a page that fails costs no second run.
    (options.target / "bench.json").write_text(json.dumps(report, indent=1))
    text = render(report)
    print(text)
    (options.target / "bench.md").write_text(text)


def part(options, scratch):
    """One part of the report, for whoever works on what it measures."""
    release = options.target / "release"
    if options.only == "selection":
        return selection(release)["table"]
    if options.only == "store":
        return store_table(release)
    (scratch / "body.json").write_text(json.dumps(body(stream=False)))
    run = lambda contenders: throughput(contenders, options.seconds, scratch)
    with Upstream(release / "fake-upstream") as upstream:
        if options.only == "limits":
            measured = limited(release, upstream, scratch, run)
            return [*throughput_table(measured["rows"]), limited_line(measured)]
        if options.only == "redis":
            measured = shared_state(release, upstream, scratch, run)
            return [*throughput_table(measured["rows"]), redis_line(measured)]
        measured = caching(release, upstream, scratch, run)
    return [*throughput_table(measured["rows"]), f"hits for one file, 32 connections: {measured['ratio']:.2f}"]


def measure(options, scratch):
    release = options.target / "release"
    (scratch / "body.json").write_text(json.dumps(body(stream=False)))
    with Upstream(release / "fake-upstream") as upstream:
        contenders = [
            Direct(upstream),
            Nginx(upstream, scratch),
            Witgate("bare", release / "witgate", upstream, scratch),
            Witgate("production", release / "witgate", upstream, scratch),
        ]
        if not options.without_litellm:
            contenders.append(LiteLLM(options.target / "venv-litellm", upstream, scratch))
        report = {"machine": machine(), "rows": {}, "goals": {}}
        try:
            for contender in contenders:
                progress(f"starting {contender.name}")
                contender.start()
                if isinstance(contender, Witgate):
                    # The first start compiles plugins; what is measured is a gateway as it runs from then on.
                    contender.stop()
                    contender.start()
            time.sleep(SETTLE)
            for contender in contenders:
                contender.idle_mb = contender.rss_mb() if contender.process else None
            report["rows"] = throughput(contenders, options.seconds, scratch)
            streams(contenders, report["rows"])
            production = next(c for c in contenders if c.name == "Witgate production")
            progress("guardrail calls, warm instances")
            report["guardrail_us"] = {"warm": guardrail_call_us(production, options.seconds, scratch)}
        finally:
            for contender in contenders:
                contender.stop()
        report["guardrail_us"]["call"] = fresh_instances(release, upstream, scratch, options.seconds)
        report["start_ms"] = starts(release, upstream, scratch)
        report["caching"] = caching(
            release, upstream, scratch, lambda contenders: throughput(contenders, options.seconds, scratch)
        )
        report["redis"] = shared_state(
            release, upstream, scratch, lambda contenders: throughput(contenders, options.seconds, scratch)
        )
        report["limits"] = limited(
            release, upstream, scratch, lambda contenders: throughput(contenders, options.seconds, scratch)
        )
    progress("the database")
    report["store"] = store_table(release)
    progress("choices of a deployment")
    report["selection"] = selection(release)
    return report


def store_table(release):
    """The printed table of host/store/examples/store-cost.rs."""
    text = subprocess.run([release / "examples" / "store-cost"], capture_output=True, text=True, check=True).stdout
    return [line for line in text.splitlines() if line.startswith("|")]


def throughput(contenders, seconds, scratch):
    rows = {contender.name: {"idle_mb": contender.idle_mb} for contender in contenders}
    samples = {(c.name, connections): [] for c in contenders for connections in CONNECTIONS}
    for contender in contenders:
        wrk(contender, 8, 1, scratch)
    for number in range(1, ROUNDS + 1):
        for connections in CONNECTIONS:
            for contender in contenders:
                progress(f"round {number} of {ROUNDS}: {contender.name}, {connections} connections")
                before = contender.cpu_seconds()
                sample = wrk(contender, connections, seconds, scratch)
                used = contender.cpu_seconds() - before
                sample["cpu_us"] = used * 1e6 / max(sample["requests"], 1)
                samples[contender.name, connections].append(sample)
                rows[contender.name]["loaded_mb"] = contender.rss_mb()
    for (name, connections), taken in samples.items():
        rows[name][f"at_{connections}"] = {
            "per_second": statistics.median(s["requests"] / s["seconds"] for s in taken),
            "p50_us": statistics.median(s["p50_us"] for s in taken),
            "p99_us": statistics.median(s["p99_us"] for s in taken),
            "cpu_us": statistics.median(s["cpu_us"] for s in taken),
            "failed": sum(s["failed"] for s in taken),
        }
    return rows


def streams(contenders, rows):
    times = {contender.name: [] for contender in contenders}
    for number in range(ROUNDS):
        for contender in contenders:
            progress(f"round {number + 1} of {ROUNDS}: {contender.name}, first frame of a stream")
            times[contender.name] += first_frame_times(contender, STREAMS)
    base = statistics.median(times["direct"])
    for name, taken in times.items():
        rows[name]["first_frame_us"] = statistics.median(taken)
        rows[name]["first_frame_added_us"] = statistics.median(taken) - base


def fresh_instances(release, upstream, scratch, seconds):
    progress("guardrail calls, isolation: call")
    gateway = Witgate("production", release / "witgate", upstream, scratch, isolation="call")
    try:
        gateway.start()
        return guardrail_call_us(gateway, seconds, scratch)
    finally:
        gateway.stop()


def guardrail_call_us(gateway, seconds, scratch):
    """Median of one verdict while one client calls, host wrapper included, as the gateway counts it.

    Not the mean: whoever else gets the processor in the middle of a verdict is not its cost.
    """
    wrk(gateway, 1, 1, scratch)
    before = gateway.guardrail_buckets()
    wrk(gateway, 1, seconds, scratch)
    counts = [(limit, after - was) for (limit, after), (_, was) in zip(gateway.guardrail_buckets(), before)]
    half = counts[-1][1] / 2
    low, below = 0.0, 0
    for limit, count in counts:
        if count >= half:
            return (low + (limit - low) * (half - below) / (count - below)) * 1e6
        low, below = limit, count


def starts(release, upstream, scratch):
    """From exec to the first answer, production config, compiled code in the cache."""
    taken = []
    for number in range(STARTS + 1):
        progress(f"start {number} of {STARTS}")
        gateway = Witgate("production", release / "witgate", upstream, scratch, folder="starts")
        begun = time.perf_counter()
        try:
            gateway.start()
            taken.append((time.perf_counter() - begun) * 1e3)
        finally:
            gateway.stop()
    return statistics.median(taken[1:])


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"processor": model, "cores": os.cpu_count(), "kernel": os.uname().release}


def progress(text):
    print(f"bench: {text}", flush=True)


if __name__ == "__main__":
    main()
