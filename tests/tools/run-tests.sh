#!/usr/bin/env bash
# Runs every Rust test, of the guests' workspace and of the host's, with cargo-nextest when the
# machine has it, and ends with one line that counts them. Nothing is skipped: a missing tool is
# a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
log=$target/test-output.log
status=0
: >"$log"

run() { "$@" 2>&1 | tee -a "$log" || status=$?; }

# Guests are tested as ordinary libraries; as components they run in the tests of the host.
run cargo test --manifest-path plugins/Cargo.toml --target-dir plugins/target --workspace --locked --quiet
if cargo nextest --version >/dev/null 2>&1; then
    run cargo nextest run --workspace --locked --no-fail-fast
    run cargo test --workspace --locked --doc --quiet
else
    run cargo test --workspace --locked --no-fail-fast
fi

# nextest: "Summary [ 1.2s] 34 tests run: 34 passed, 0 skipped"; cargo test, per binary:
# "test result: ok. 3 passed; 1 failed; 0 ignored; …".
sum() {
    sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^ *Summary \[|^test result:' | grep -oE "[0-9]+ $1" |
        awk '{n += $1} END {print n + 0}'
}
printf 'tests: %d passed, %d failed, %d skipped\n' "$(sum passed)" "$(sum failed)" "$(sum '(skipped|ignored)')"
exit "$status"
