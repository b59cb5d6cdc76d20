#!/usr/bin/env bash
# Runs every Rust test of the workspace, with cargo-nextest when the machine has it, and ends
# with one line that counts them. Nothing is skipped: a missing tool is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
log=$target/test-output.log
status=0
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
    cargo test --workspace --locked --doc --quiet 2>&1 | tee -a "$log" || status=$?
else
    cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log" || status=$?
fi

# nextest: "Summary [ 1.2s] 34 tests run: 34 passed, 0 skipped"; cargo test, per binary:
# "test result: ok. 3 passed; 1 failed; 0 ignored; …".
sum() { sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E 'Summary \[|test result:' | grep -oE "[0-9]+ $1" | awk '{n += $1} END {print n + 0}'; }
printf 'tests: %d passed, %d failed, %d skipped\n' "$(sum passed)" "$(sum failed)" "$(sum '(skipped|ignored)')"
exit "$status"
