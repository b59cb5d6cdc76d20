// Package provider is for plugins between OpenAI's JSON and the dialect of one model provider. A provider sends nothing; it says what to send
// and reads what came.
package provider

import (
	"encoding/json"
	"fmt"

	"witgate"
)

// Provider builds requests and reads answers. What also implements Streamer reads streams, ErrorMapper answers of failure.
type Provider interface {
	// SupportedParams are OpenAI's parameters that calls of this type to this model may have.
	SupportedParams(callType, model string) ([]string, error)
	// BuildRequest is the request for a call; Fail as an error when the call cannot be expressed in this dialect.
	BuildRequest(call *Call) (*Request, error)
	// ParseResponse reads a complete answer with a status of success; Fail as an error when the provider failed all the same.
	ParseResponse(context string, response *Response) (*Answer, error)
}

// Streamer reads streamed answers, of requests with a Framing.
type Streamer interface {
	// OpenStream starts reading an answer; the response has no body yet.
	OpenStream(context string, head *Response) (Stream, error)
}

// Stream is the state of one streamed answer.
type Stream interface {
	// Push reads one frame into progress.
	Push(frame Frame, progress *Progress) error
	// Finish is called when the connection ended without an end. An error fails the call.
	Finish(progress *Progress) error
}

// ErrorMapper reads an answer with a status of failure; nil: the host's general rules decide.
type ErrorMapper interface {
	MapError(context string, response *Response) (*Failure, error)
}

// Call is one call to be made.
type Call struct {
	// ID is the gateway's call id, CallType `chat`, `text` or `embed`, Model the provider's name of the model.
	ID, CallType, Model string
	// Body is OpenAI's request, without parameters that the provider does not support.
	Body json.RawMessage
	// Params of the deployment that are no part of a request, a JSON object.
	Params json.RawMessage
	// APIBase is without a final slash.
	APIBase string
	// Credentials are names of the secrets there are; Request.Credential refers to them as `{name}`. The value is the prefix of
	// the manifest's key_prefixes that the secret begins with, or empty.
	Credentials map[string]string
	// Headers that the manifest's `headers` names: the client's, then those of the deployment.
	Headers [][2]string
}

// Request is an HTTP request for the host to send.
type Request struct {
	Method, URL string
	Headers     [][2]string
	// Secret are headers whose values have `{name}` in the place of a credential: `Bearer {api_key}`.
	Secret [][2]string
	Body   []byte
	// Framing is how a streamed answer is cut: `sse`, `ndjson`, `json-array` or `raw`. Empty: the answer is complete.
	Framing string
	// Context is handed back with the answer.
	Context string
}

// Post is a POST of a value as JSON.
func Post(url string, value any) (*Request, error) {
	body, err := json.Marshal(value)
	return &Request{Method: "POST", URL: url, Headers: [][2]string{{"content-type", "application/json"}}, Body: body}, err
}

// Credential adds a header whose value has `{name}` in the place of a credential.
func (r *Request) Credential(name, value string) *Request {
	r.Secret = append(r.Secret, [2]string{name, value})
	return r
}

// Response is what came back.
type Response struct {
	Status  int
	Headers [][2]string
	Body    []byte
}

// Answer is what a complete answer means: OpenAI's answer, or another request.
type Answer struct {
	// Body is OpenAI's answer; what it leaves out of `id`, `object`, `created` and `model` the host fills in.
	Body json.RawMessage
	// Again, when it is not nil, is sent after so many milliseconds.
	Again   *Request
	DelayMs uint32
}

// Say is OpenAI's answer, a value that becomes JSON.
func Say(value any) (*Answer, error) {
	body, err := json.Marshal(value)
	return &Answer{Body: body}, err
}

// Frame is one frame of a stream; Event is the name of SSE's event, or empty.
type Frame struct {
	Event string
	Data  []byte
}

// Progress is what frames gave.
type Progress struct {
	Chunks []json.RawMessage
	// Ended: properly when Failed is nil.
	Ended  bool
	Failed *Failure
}

// Chunk adds a chunk of OpenAI's, a value that becomes JSON.
func (p *Progress) Chunk(value any) error {
	chunk, err := json.Marshal(value)
	p.Chunks = append(p.Chunks, chunk)
	return err
}

// Content adds a chunk with more content of the first choice.
func (p *Progress) Content(text string) error { return p.choice(map[string]any{"content": text}, nil) }

// Finish adds a chunk that ends the first choice: `stop`, `length`, `tool_calls`, …
func (p *Progress) Finish(reason string) error { return p.choice(map[string]any{}, reason) }

func (p *Progress) choice(delta map[string]any, reason any) error {
	return p.Chunk(map[string]any{"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": reason}}})
}

// Usage adds a chunk with the usage.
func (p *Progress) Usage(promptTokens, completionTokens uint64) error {
	return p.Chunk(map[string]any{"choices": []any{}, "usage": Usage(promptTokens, completionTokens)})
}

// Done says that the stream is complete.
func (p *Progress) Done() { p.Ended = true }

// Usage is OpenAI's.
func Usage(promptTokens, completionTokens uint64) map[string]uint64 {
	return map[string]uint64{
		"prompt_tokens": promptTokens, "completion_tokens": completionTokens, "total_tokens": promptTokens + completionTokens,
	}
}

// Failure is a failure of the call with LiteLLM's name of the error. Code and Param may be empty.
type Failure struct{ Class, Message, Code, Param string }

func (f *Failure) Error() string { return f.Message }

// Fail is a failure: `BadRequestError`, `RateLimitError`, …
func Fail(class, format string, args ...any) *Failure {
	return &Failure{Class: class, Message: fmt.Sprintf(format, args...)}
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[Provider]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (Provider, error)) { witgate.Register(&Registered, make) }
