#!/usr/bin/env bash
# Keeps one built plugin of every kind, its cases and the WIT of a version that is being released.
#   release-corpus.sh VERSION        (after `make plugins`)
# What is there already stays byte for byte: it is what users have built. See tests/fixtures/released/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$1
out=tests/fixtures/released/$version
# One of each kind, small and with cases; a new kind gets a line.
plugins=(
    plugins/guardrails/hide-secrets
    plugins/logging/generic-api
    plugins/alerting/slack
    plugins/providers/anthropic
    examples/plugins/custom-auth
    examples/plugins/custom-hook
    examples/plugins/custom-router
    examples/plugins/custom-key-policy
    plugins/prompts/langfuse-prompts
    plugins/secrets/hashicorp_vault
    plugins/sso/generic-sso
)

mkdir -p "$out/wit"
for folder in "${plugins[@]}"; do
    name=$(basename "$folder")
    # Files of components have `-` where names may have `_`.
    component=${name//_/-}.wasm
    if [ -e "$out/$component" ]; then
        echo "$out/$component is kept as it is"
        continue
    fi
    case $folder in
        plugins/*) built=plugins/target/components ;;
        *) built=plugins/target/fixtures ;;
    esac
    mkdir -p "$out/$name"
    cp "$folder/plugin.toml" "$out/$name/"
    cp -r "$folder/cases" "$out/$name/"
    cp "$built/$component" "$out/$component"
    echo "$out/$component"
done
for package in wit/*/; do
    name=$(basename "$package")
    if [ -e "$out/wit/$name" ]; then
        echo "$out/wit/$name is kept as it is"
    else
        cp -r "$package" "$out/wit/$name"
        echo "$out/wit/$name"
    fi
done
