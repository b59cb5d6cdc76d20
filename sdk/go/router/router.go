// Package router is for plugins that pick the deployment that gets a call: a routing strategy of one's own.
package router

import (
	"encoding/json"

	"witgate"
)

// Router picks.
type Router interface {
	// Pick returns one of the candidates, of which there is at least one. Nil leaves this choice to `simple-shuffle`, and so does an error
	// or a panic.
	Pick(candidates []Candidate, request *Request) (*Candidate, error)
}

// Request is a call that needs a deployment.
type Request struct {
	ID string
	// CallType is LiteLLM's: `acompletion`, …
	CallType string
	// Model is the model group that is tried.
	Model     string
	Streaming bool
	// Tags of the request and of its key.
	Tags []string
	// PromptTokens is nil when they cannot be counted.
	PromptTokens *uint64
	// FailedTries are those of this call so far.
	FailedTries uint32
	Principal   witgate.Principal
	// Metadata is the request's, a JSON object.
	Metadata json.RawMessage
}

// Candidate is a deployment that can serve the call. Counts are of this minute; what is not known is nil.
type Candidate struct {
	ID string
	// Model is `litellm_params.model`.
	Model string
	Tags  []string
	// Region may be empty.
	Region string
	Weight *float64
	Order  *int64
	// InFlight are calls under way, InFlightMax how many may be.
	InFlight    uint32
	InFlightMax *uint32
	// Requests are calls begun, RequestsMax is its `rpm`.
	Requests    uint64
	RequestsMax *uint64
	// Tokens used; TokensMax is its `tpm`.
	Tokens    uint64
	TokensMax *uint64
	// PromptTokensMax is the longest prompt it takes.
	PromptTokensMax *uint64
	// Latency is in seconds per token, FirstToken in seconds to a stream's first.
	Latency, FirstToken *float64
	// Cost in US dollars of a prompt token and a completion token together.
	Cost float64
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[Router]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (Router, error)) { witgate.Register(&Registered, make) }
