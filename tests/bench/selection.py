"""What the choice of a deployment costs: the table of host/routing/examples/selection-cost.rs, and its goals."""

import math
import subprocess

GOAL_US = 5
# From 100 deployments to 1000, for a choice that costs n log n.
GOAL_GROWTH = 1000 * math.log(1000) / (100 * math.log(100))


def selection(release):
    """The printed table, the dearest choice among 100 deployments and the steepest growth to 1000."""
    command = [release / "examples" / "selection-cost"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    table = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    head, rows = rows[0], rows[2:]
    of = lambda name: [float(row[head.index(name)]) for row in rows]
    return {"table": table, "hundred_us": max(of("100")), "growth": max(of("1000 ÷ 100"))}
