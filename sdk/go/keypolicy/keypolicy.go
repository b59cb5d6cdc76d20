// Package keypolicy is for plugins that may refuse a request for a virtual key, or change it: LiteLLM's `custom_key_generate`.
package keypolicy

import (
	"encoding/json"
	"fmt"

	"witgate"
)

// KeyPolicy judges.
type KeyPolicy interface {
	// Judge judges; nil goes on. An error or a panic refuses the request.
	Judge(request *Request) (*Verdict, error)
}

// Action is what is about to be done.
type Action string

// The actions: `/key/generate` and `/key/update`.
const (
	Generate Action = "generate"
	Update   Action = "update"
)

// Request is a request for a key. Nothing has been written yet.
type Request struct {
	Action Action
	// Caller is who asks.
	Caller witgate.Principal
	// Body is what the client sent, a JSON object: LiteLLM's GenerateKeyRequest. A key in it is a hash.
	Body json.RawMessage
}

// Verdict is a judgement; made by the functions below.
type Verdict struct {
	// Body, when it is not nil, takes the place of the client's; else the request is refused with this message.
	Body    json.RawMessage
	Message string
}

// Edit goes on with this body, a JSON object, in place of the client's. It is checked like one that a client sent.
func Edit(body json.RawMessage) *Verdict { return &Verdict{Body: body} }

// Deny refuses with status 403 and this message.
func Deny(format string, args ...any) *Verdict {
	return &Verdict{Message: fmt.Sprintf(format, args...)}
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[KeyPolicy]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (KeyPolicy, error)) { witgate.Register(&Registered, make) }
