#!/usr/bin/env bash
# Serves the quickstart and, once it listens, prints what to try.
#   quickstart.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=$1
base=http://127.0.0.1:4000

commands() {
    cat <<TEXT

Witgate is ready. In another terminal:

  curl $base/v1/models

  curl $base/v1/chat/completions -H 'content-type: application/json' \\
       -d '{"model": "mock", "messages": [{"role": "user", "content": "Hello!"}]}'

  curl -N $base/v1/chat/completions -H 'content-type: application/json' \\
       -d '{"model": "mock", "stream": true, "messages": [{"role": "user", "content": "My key is AKIAIOSFODNN7EXAMPLE"}]}'

Control-C ends it.
TEXT
}

announce() {
    while IFS= read -r line; do
        printf '%s\n' "$line"
        case $line in "listening on "*) commands ;; esac
    done
}

# What `make plugins` just built, wherever cargo's target folder is.
export WITGATE_PLUGIN_DIR=${WITGATE_PLUGIN_DIR:-plugins/target/components}
# exec, so that control-C and a supervisor's SIGTERM reach the gateway itself.
exec "$binary" serve --config examples/quickstart.yaml --host 127.0.0.1 --port 4000 > >(announce)
