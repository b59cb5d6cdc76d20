// Package kv keeps small values that outlive an instance, in the gateway's memory: a cache, never the truth.
package kv

import (
	"errors"
	"time"

	abi "witgate/abi/types"
	wit "witgate/wit/witgate_host_kv"
)

// Scope says whose values are meant.
type Scope uint8

const (
	// OfRequest: those of the request under way; every phase sees the same, and they are gone when it ends.
	OfRequest = Scope(wit.ScopeRequest)
	// OfPlugin: those of the plugin, whoever it is called for.
	OfPlugin = Scope(wit.ScopePlugin)
)

// Get is the value, false when there is none.
func Get(scope Scope, key string) ([]byte, bool) {
	value := wit.Get(uint8(scope), key)
	return value.SomeOr(nil), value.Tag() == abi.OptionSome
}

// Set keeps a value for so long, at most a day; 0 for a day. The error says which bound was met.
func Set(scope Scope, key string, value []byte, ttl time.Duration) error {
	keep := abi.None[uint64]()
	if ttl > 0 {
		keep = abi.Some(uint64(ttl.Milliseconds()))
	}
	result := wit.Set(uint8(scope), key, value, keep)
	if result.Tag() == abi.ResultErr {
		return errors.New(result.Err())
	}
	return nil
}

// Delete forgets a value; false when there was none.
func Delete(scope Scope, key string) bool { return wit.Delete(uint8(scope), key) }
