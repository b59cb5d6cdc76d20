// Package guardrail is for plugins that judge, and where allowed edit, what goes in and what comes out.
//
//	func init() {
//		guardrail.Register(func(s settings) (guardrail.Guardrail, error) { return plugin{s}, nil })
//	}
package guardrail

import (
	"encoding/json"
	"fmt"

	"witgate"
	"witgate/body"
)

// Guardrail judges. What also implements Streamer judges streams piece by piece; else the host holds a stream and asks Check about the whole.
type Guardrail interface {
	// Check judges a request or a complete answer; nil allows it.
	Check(call *Call, body Body) (*Verdict, error)
}

// Streamer starts the inspection of a streamed answer; nil means that the whole answer is wanted.
type Streamer interface {
	OpenStream(call *Call) (Stream, error)
}

// Stream is one streamed answer under inspection. Text arrives per channel: each choice's content and each tool call's arguments is one.
type Stream interface {
	// Push takes more text of a channel and returns what may go to the client in place of all that was pushed and not released ("" holds
	// everything), or a verdict that blocks.
	Push(channel uint32, text string) (release string, block *Verdict, err error)
	// Finish releases what was held of a channel, or blocks.
	Finish(channel uint32) (release string, block *Verdict, err error)
	// Findings are those so far, over all channels.
	Findings() Findings
}

// Phase is LiteLLM's mode.
type Phase string

// The phases.
const (
	PreCall     Phase = "pre_call"
	DuringCall  Phase = "during_call"
	PostCall    Phase = "post_call"
	LoggingOnly Phase = "logging_only"
)

// Call is what is known of the call.
type Call struct {
	ID       string
	Phase    Phase
	CallType string
	// Model is the model group that the client asked for.
	Model     string
	Principal Principal
	// Params are the caller's own parameters for this guardrail, a JSON object.
	Params json.RawMessage
}

// Principal is who makes the request; what is unknown is empty.
type Principal = witgate.Principal

// Body is a body under inspection, Text one text of it, Edit a change to one place.
type (
	Body = body.Body
	Text = body.Text
	Edit = body.Edit
)

// Findings are counts by kind; never the text that was found.
type Findings map[string]uint32

// Verdict is a judgement; made by the functions below.
type Verdict struct {
	Message    string
	Status     uint16
	Detail     json.RawMessage
	Edits      []Edit
	Found      Findings
	Undecided  string
	IsBlock    bool
	IsNoAnswer bool
}

// Block refuses with status 400 and this message for the client.
func Block(format string, args ...any) *Verdict {
	return &Verdict{IsBlock: true, Status: 400, Message: fmt.Sprintf(format, args...)}
}

// CouldNotJudge leaves the decision to the operator's `fail: open | closed`.
func CouldNotJudge(format string, args ...any) *Verdict {
	return &Verdict{IsNoAnswer: true, Undecided: fmt.Sprintf(format, args...)}
}

// Replace makes edits.
func Replace(edits ...Edit) *Verdict { return &Verdict{Edits: edits} }

// WithFinding adds a finding.
func (v *Verdict) WithFinding(kind string, count uint32) *Verdict {
	if v.Found == nil {
		v.Found = Findings{}
	}
	v.Found[kind] += count
	return v
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[Guardrail]

// Register says how the plugin is made of its settings; it runs once per instance. Return a witgate.SettingsError for what is wrong.
func Register[S any](make func(settings S) (Guardrail, error)) { witgate.Register(&Registered, make) }
