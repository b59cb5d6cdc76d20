#!/usr/bin/env bash
# Installs what is missing on a Debian machine that has rustup's stable toolchain.
#   setup.sh build   C compiler, a wasm toolchain for the plugins, Python with pip and Node.js with npm for some of them
#   setup.sh sdk     Python with venv, Node.js with npm, Prometheus' promtool, Docker's registry, Redis, PostgreSQL
#   setup.sh bench   wrk, nginx, Redis, Python with venv
# Does nothing when everything is there. What cannot be installed is an error, never a skip.
set -euo pipefail

# A fresh rustup puts cargo here, and only a new login shell looks there.
PATH="$PATH:$HOME/.cargo/bin"

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else fail "not root and no sudo: please install by hand: ${*: -1}"; fi
}

# debian PACKAGE... installs Debian packages, updating the lists only when needed.
debian() {
    command -v apt-get >/dev/null || fail "no apt-get here: please install by hand: $*"
    printf 'setup: installing %s\n' "$*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE... installs the packages when the command is missing.
need() {
    local command=$1; shift
    command -v "$command" >/dev/null || PATH="$PATH:/usr/sbin" command -v "$command" >/dev/null || debian "$@"
}

have_rustup_target() {
    rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown
}

wasm_toolchain() {
    have_rustup_target && return
    if command -v rustup >/dev/null && rustup target add wasm32-unknown-unknown >/dev/null 2>&1 && have_rustup_target; then
        return
    fi
    # No server of rustup can be reached: Debian's newer Rust builds the standard library itself.
    dpkg -s rustc-web cargo-web rust-web-src >/dev/null 2>&1 || debian rustc-web cargo-web rust-web-src
}

case "${1:-}" in
build)
    command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs, then run this again"
    need cc build-essential
    wasm_toolchain
    need python3 python3 python3-pip
    python3 -c 'import pip' 2>/dev/null || debian python3-pip
    need node nodejs
    need npm npm
    ;;
sdk)
    need python3 python3 python3-venv
    python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv
    need node nodejs
    need npm npm
    need promtool prometheus
    need docker-registry docker-registry
    need redis-server redis-server
    need redis-cli redis-tools
    # Debian keeps the server's programs out of the path.
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql postgresql-client
    need psql postgresql-client
    ;;
bench)
    need wrk wrk
    need nginx nginx-light
    need redis-server redis-server
    need python3 python3 python3-venv
    python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv
    ;;
*)
    fail "say what to set up: build, sdk or bench"
    ;;
esac
