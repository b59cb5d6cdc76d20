// Package alerter is for plugins that tell people what is wrong. The host decides what is worth an alert and when, batches and retries.
package alerter

import (
	"witgate"
	"witgate/outcome"
)

// Alerter sends.
type Alerter interface {
	// Send sends a batch, in the order in which the alerts were raised. An error counts as a failed try: witgate.Unavailable is tried again,
	// anything else is dropped.
	Send(batch []Alert) (Outcome, error)
}

// Outcome is what became of a batch; the zero value: everything arrived.
type Outcome = outcome.Outcome

// Level is how bad it is.
type Level string

// The levels.
const (
	Low    Level = "low"
	Medium Level = "medium"
	High   Level = "high"
)

// Alert is one alert.
type Alert struct {
	// ID is unique; deliveries of the same alert repeat it.
	ID string
	// Kind is LiteLLM's alert type: `llm_exceptions`, `llm_too_slow`, …
	Kind  string
	Level Level
	// AtMs is when it was raised, milliseconds since 1970; LocalTime the same as HH:MM:SS in the gateway's time zone.
	AtMs      uint64
	LocalTime string
	// Title is what happened, one line; Text is more, with Slack's marks, and may be empty.
	Title, Text string
	// Fields are facts by their names for people, Metadata the request's `alerting_metadata`.
	Fields, Metadata [][2]string
	// Link is where to read on, ProxyURL the gateway's own address; both may be empty.
	Link, ProxyURL string
	// Count is how many alerts that say the same this one stands for.
	Count uint32
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[Alerter]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (Alerter, error)) { witgate.Register(&Registered, make) }
