// Package requesthook is for plugins that edit requests, answers, chunks of streams and lists of deployments; LiteLLM's hooks of a
// CustomLogger.
package requesthook

import (
	"encoding/json"
	"fmt"

	"witgate"
	"witgate/body"
)

// RequestHook implements the interfaces of the hooks that `plugin.toml` names; the host calls no other.
type RequestHook any

// PreCall: before guardrails and any upstream see the request; nil goes on without changes.
type PreCall interface {
	PreCall(call *Call, request Body) (*Decision, error)
}

// PreRouting may lead the call to another model, by an edit of `/model`. The first hook with edits decides.
type PreRouting interface {
	PreRouting(call *Call, request Body) (*Decision, error)
}

// FilterDeployments says which deployments of a model group may serve: it returns their ids, or Refuse as an error.
type FilterDeployments interface {
	FilterDeployments(call *Call, request Body, deployments []Deployment) ([]string, error)
}

// PreCallDeployment edits the request of one try, its deployment chosen.
type PreCallDeployment interface {
	PreCallDeployment(call *Call, request Body, deployment *Deployment) (*Decision, error)
}

// PostCallSuccess gets a complete answer, after the guardrails. An edit with an empty pointer replaces all of it.
type PostCallSuccess interface {
	PostCallSuccess(call *Call, request, response Body) (*Decision, error)
}

// PostCallFailure: a call failed. Refuse puts another error in the place of its own, nil leaves it.
type PostCallFailure interface {
	PostCallFailure(call *Call, request Body, failure *Failure) (*Refusal, error)
}

// ResponseHeaders are added to the reply: pairs of name and value. Response is nil when there is none, or a stream.
type ResponseHeaders interface {
	ResponseHeaders(call *Call, request Body, reply *Reply, response Body) ([][2]string, error)
}

// Streaming starts on a streamed answer; nil leaves it alone.
type Streaming interface {
	OpenStream(call *Call, request Body) (Stream, error)
}

// Stream is one streamed answer.
type Stream interface {
	// Push takes a chunk that guardrails let through, OpenAI's JSON; nil keeps it, byte for byte.
	Push(chunk json.RawMessage) (*Piece, error)
	// Finish is called when the upstream has said all; nil, or more chunks before the end.
	Finish() (*Piece, error)
}

// Body is the body of a request or an answer, Edit a change to one place.
type (
	Body = body.Body
	Edit = body.Edit
)

// Call is what is known of the call.
type Call struct {
	ID, CallType string
	// Model is the model group that is asked for.
	Model     string
	Streaming bool
	Principal witgate.Principal
}

// Deployment is an entry of `model_list`; Params and Info are JSON objects without secrets.
type Deployment struct {
	ID, ModelName string
	Params, Info  json.RawMessage
}

// Failure is how a call failed.
type Failure struct {
	// Class is LiteLLM's: `RateLimitError`, …
	Class   string
	Status  uint16
	Message string
}

// Reply is about to be sent; Deployment answered or was tried last, and may be nil.
type Reply struct {
	Status     uint16
	Deployment *Deployment
}

// Refusal is an error in the client's words: LiteLLM's HTTPException. Kind, Param and Detail (a JSON object) may be empty.
type Refusal struct {
	// Status is 400 to 599.
	Status               uint16
	Message, Kind, Param string
	Detail               json.RawMessage
}

func (r *Refusal) Error() string { return r.Message }

// Decision is what becomes of a request or an answer; made by the functions below. A Refusal is returned as an error.
type Decision struct {
	Edits []Edit
	// Text answers in place of a model; of PreCall only.
	Text *string
}

// Piece is what becomes of a chunk: these chunks go in its place, none drops it.
type Piece struct {
	Chunks []json.RawMessage
	// End ends the stream after them.
	End bool
}

// Change goes on with these changes.
func Change(edits ...Edit) *Decision { return &Decision{Edits: edits} }

// Set is the edit that puts a value at a JSON pointer.
func Set(pointer string, value any) Edit {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return Edit{Pointer: pointer, Value: text}
}

// Respond answers with this text in place of a model.
func Respond(format string, args ...any) *Decision {
	text := fmt.Sprintf(format, args...)
	return &Decision{Text: &text}
}

// Refuse is an error that refuses with a status from 400 to 599 and this message.
func Refuse(status uint16, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Message: fmt.Sprintf(format, args...)}
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[RequestHook]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (RequestHook, error)) { witgate.Register(&Registered, make) }
