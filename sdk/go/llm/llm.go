// Package llm calls models through the gateway: routed, retried, metered and recorded with this plugin as the caller. The manifest asks
// for them (`llm = ["{model}"]`), the operator grants them.
package llm

import (
	"encoding/json"
	"fmt"

	"witgate"
	abi "witgate/abi/types"
	wit "witgate/wit/witgate_host_llm"
)

// Message is one message of a request.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Answer is a complete answer.
type Answer struct {
	// Body is OpenAI's chat completion.
	Body json.RawMessage
	// CostUSD is a decimal number; empty when the price is not known.
	CostUSD string
	// CallID is the id under which the call is logged.
	CallID string
}

// CallFailed is the error of a call that was made and failed.
type CallFailed struct {
	// Status is the HTTP status that a client would have got, Kind LiteLLM's `type`.
	Status        int
	Kind, Message string
}

func (e *CallFailed) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Message) }

// Chat calls a model with OpenAI's chat completion request, anything that is one as JSON, and waits for the whole answer.
func Chat(request any) (*Answer, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	result := wit.Chat(string(body), abi.None[uint32]())
	if result.Tag() == abi.ResultOk {
		answer := result.Ok()
		return &Answer{json.RawMessage(answer.Body), answer.CostUsd.SomeOr(""), answer.CallId}, nil
	}
	return nil, failure(result.Err())
}

// Stream is an answer as it is being made. It ends with the call of the plugin in which it was opened.
type Stream struct{ open *wit.AnswerStream }

// ChatStream calls a model as Chat does, and returns with the first chunk.
func ChatStream(request any) (*Stream, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	result := wit.Stream(string(body), abi.None[uint32]())
	if result.Tag() == abi.ResultErr {
		return nil, failure(result.Err())
	}
	return &Stream{result.Ok()}, nil
}

// Next is the next chunk, OpenAI's `chat.completion.chunk`; nil when the answer is complete.
func (s *Stream) Next() (json.RawMessage, error) {
	result := s.open.Next()
	if result.Tag() == abi.ResultErr {
		return nil, failure(result.Err())
	}
	if result.Ok().Tag() == abi.OptionNone {
		return nil, nil
	}
	return json.RawMessage(result.Ok().Some()), nil
}

// Close ends it, also before its end.
func (s *Stream) Close() { s.open.Drop() }

// TextOf is the text that a chunk adds to the first choice.
func TextOf(chunk json.RawMessage) string {
	var body struct {
		Choices []struct{ Delta Message }
	}
	if json.Unmarshal(chunk, &body) != nil || len(body.Choices) == 0 {
		return ""
	}
	return body.Choices[0].Delta.Content
}

func failure(failed wit.LlmError) error {
	switch failed.Tag() {
	case wit.LlmErrorDenied:
		return &witgate.Error{Kind: witgate.KindDenied, Text: failed.Denied()}
	case wit.LlmErrorTimeout:
		return witgate.Unavailable("the model gave no answer in time")
	case wit.LlmErrorUnavailable:
		return witgate.Unavailable("%s", failed.Unavailable())
	case wit.LlmErrorFailed:
		why := failed.Failed()
		return &CallFailed{int(why.Status), why.Kind, why.Message}
	default:
		return fmt.Errorf("%s", failed.Invalid())
	}
}

// Ask calls a model of the configuration with messages.
func Ask(model string, messages ...Message) (*Answer, error) {
	return Chat(map[string]any{"model": model, "messages": messages})
}

// Text is the text of the first choice; empty when it has none.
func (a *Answer) Text() string {
	var body struct {
		Choices []struct{ Message Message }
	}
	if json.Unmarshal(a.Body, &body) != nil || len(body.Choices) == 0 {
		return ""
	}
	return body.Choices[0].Message.Content
}
