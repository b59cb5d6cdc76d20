// Package metrics counts: what is called name shows on /metrics as witgate_plugin_custom_<name>.
package metrics

import (
	"witgate"
	wit "witgate/wit/witgate_host_metrics"
)

// Add adds to a counter; labels are pairs of name and value.
func Add(name string, amount uint64, labels ...any) { wit.Add(name, witgate.Pairs(labels), amount) }

// Observe records a value in a histogram.
func Observe(name string, value float64, labels ...any) {
	wit.Observe(name, witgate.Pairs(labels), value)
}
