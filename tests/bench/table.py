"""The report as one page of Markdown: the table, then the goals and what was reached."""

from caching import GOAL
from limited import limited_line
from selection import GOAL_GROWTH, GOAL_US


def render(report):
    machine, rows = report["machine"], report["rows"]
    lines = [
        "# Measured",
        "",
        f"{machine['processor']}, {machine['cores']} cores shared by load, proxy and upstream; Linux {machine['kernel']}.",
        "Chat completion with 2 KB of messages, canned upstream, median of interleaved rounds.",
        "",
        "| | req/s, 1 conn. | p50 µs | req/s, 32 conn. | p50 µs | p99 µs | CPU µs/req | stream: first frame added µs | idle MB | loaded MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        one, many = row["at_1"], row["at_32"]
        cells = [
            number(one["per_second"]),
            number(one["p50_us"]),
            number(many["per_second"]),
            number(many["p50_us"]),
            number(many["p99_us"]),
            number(many["cpu_us"]),
            number(row["first_frame_added_us"]),
            number(row["idle_mb"]),
            number(row["loaded_mb"]),
        ]
        failed = one["failed"] + many["failed"]
        label = f"{name} ({failed} failed)" if failed else name
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", "| Goal | To reach | Reached |", "|---|---:|---:|"]
    lines += [f"| {goal} | {wanted} | {reached} |" for goal, wanted, reached in goals(report)]
    lines += ["", "An answer from the cache in memory, and nginx with a file of the same size:", ""]
    lines += throughput_table(report["caching"]["rows"])
    lines += ["", "Limits per minute held in memory and in a Redis that gateways share:", ""]
    lines += [*throughput_table(report["redis"]["rows"]), "", redis_line(report["redis"])]
    lines += ["", "What a caller's key costs:", ""]
    lines += [*throughput_table(report["limits"]["rows"]), "", limited_line(report["limits"])]
    lines += ["", "The database:", "", *report["store"]]
    lines += ["", "The choice of a deployment, by how many there are:", "", *report["selection"]["table"]]
    return "\n".join(lines) + "\n"


def redis_line(measured):
    """What counting a call in Redis adds to counting it in memory."""
    return (
        f"A limit held in Redis adds {number(measured['added_p50_us'])} µs to a call (one connection) "
        f"and {number(measured['added_cpu_us'])} µs of the gateway's processor (32 connections)."
    )


def throughput_table(rows):
    lines = [
        "| | req/s, 1 conn. | p50 µs | req/s, 32 conn. | p50 µs | p99 µs | CPU µs/req |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        one, many = row["at_1"], row["at_32"]
        failed = one["failed"] + many["failed"]
        label = f"{name} ({failed} failed)" if failed else name
        cells = [one["per_second"], one["p50_us"], many["per_second"], many["p50_us"], many["p99_us"], many["cpu_us"]]
        lines.append(f"| {label} | " + " | ".join(number(cell) for cell in cells) + " |")
    return lines


def goals(report):
    rows = report["rows"]
    rate = {name: row["at_32"]["per_second"] for name, row in rows.items()}
    guardrail = report["guardrail_us"]
    yield "bare ÷ nginx, 32 connections", "≥ 0.5", ratio(rate["Witgate bare"], rate["nginx"])
    yield "production with a key, limits and a budget ÷ nginx, 32 connections", "≥ 0.25", ratio(rate["Witgate production"], rate["nginx"])
    if "LiteLLM" in rate:
        yield "production ÷ LiteLLM, 32 connections", "≥ 100", ratio(rate["Witgate production"], rate["LiteLLM"])
    yield "idle memory with production plugins, MB", "≤ 40", number(rows["Witgate production"]["idle_mb"])
    yield "guardrail call on 2 KB, warm, µs", "≤ 15", number(guardrail["warm"])
    yield "guardrail call on 2 KB, isolation: call, µs", "≤ 70", number(guardrail["call"])
    yield "start to first answer, warm cache, ms", "≤ 300", number(report["start_ms"])
    yield "hit of the cache in memory ÷ nginx with a file, 32 connections", f"≥ {GOAL}", number(report["caching"]["ratio"])
    yield "choice among 100 deployments, the dearest, µs", f"≤ {GOAL_US}", number(report["selection"]["hundred_us"])
    yield "choice, 1000 ÷ 100 deployments", f"≤ {GOAL_GROWTH:.1f}", number(report["selection"]["growth"])


def ratio(ours, theirs):
    return f"{ours / theirs:.2f}" if theirs else "–"


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"
