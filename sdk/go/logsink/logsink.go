// Package logsink is for plugins that get the record of each finished request. The host queues, batches, retries and redacts.
package logsink

import (
	"encoding/json"

	"witgate"
	"witgate/outcome"
)

// LogSink delivers. What also implements HealthChecker tells whether the other side can be reached.
type LogSink interface {
	// Deliver delivers a batch. An error counts as a failed try: witgate.Unavailable is tried again, anything else is dropped.
	Deliver(batch []Event) (Outcome, error)
}

// HealthChecker tells whether the other side can be reached with these settings. Without it an empty batch is delivered.
type HealthChecker interface {
	HealthCheck() error
}

// Event is one finished request.
type Event struct {
	// ID is unique per call; deliveries of the same event repeat it.
	ID      string
	Success bool
	// Payload is LiteLLM's standard logging payload.
	Payload json.RawMessage
	// Context holds request, timing, trace, exception and dynamic.
	Context json.RawMessage
}

// Outcome is what became of a batch; the zero value: everything arrived.
type Outcome = outcome.Outcome

// Registered is what was registered. For the exports.
var Registered witgate.Registered[LogSink]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (LogSink, error)) { witgate.Register(&Registered, make) }
