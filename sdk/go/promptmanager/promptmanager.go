// Package promptmanager is for plugins that fill a chat request with a prompt that is kept elsewhere, by its id.
package promptmanager

import (
	"encoding/json"

	"witgate"
)

// PromptManager fetches prompts.
type PromptManager interface {
	// GetPrompt fetches the prompt and fills in its variables; nil: there is no such prompt here, the next prompt manager is asked. An error
	// fails the call unless the operator's `fail` is `open`.
	GetPrompt(call *Call) (*Prompt, error)
}

// Call is a chat request that names a prompt.
type Call struct {
	ID string
	// Model is the model the client asked for, without this plugin's prefix.
	Model string
	// Messages are the client's.
	Messages []json.RawMessage
	// Params are the client's other parameters, a JSON object.
	Params   json.RawMessage
	PromptID string
	// Variables are values for the places of the template.
	Variables map[string]any
	// Label and Version may be empty.
	Label, Version string
}

// Prompt is what the request becomes.
type Prompt struct {
	// Messages are all messages, in place of the client's.
	Messages []any
	// Model that answers; empty leaves it.
	Model string
	// Params to set; they win over the client's.
	Params map[string]any
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[PromptManager]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (PromptManager, error)) {
	witgate.Register(&Registered, make)
}
