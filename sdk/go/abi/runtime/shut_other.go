//go:build !wasm

package runtime

var shut bool
