// Package body reads the body of a request or an answer, and edits it: for guardrails and request hooks.
package body

import (
	"encoding/json"

	"witgate"
	abi "witgate/abi/types"
	wit "witgate/wit/witgate_host_body"
)

// Body is a body under inspection; it lives as long as the call it was given to. Reading is lazy: pay for what you look at.
type Body interface {
	// Texts are all texts that a person or model wrote, in order.
	Texts() []Text
	// Field is the JSON value at a pointer, nil when there is none.
	Field(pointer string) json.RawMessage
	// Raw is the whole body.
	Raw() string
	// Size is its length in bytes.
	Size() uint64
}

// Text is one text of the body.
type Text struct {
	// Pointer is its JSON pointer, the name an edit refers to.
	Pointer string
	// Role of the message it belongs to; may be empty.
	Role string
	Text string
}

// Edit is a change to one place of the body.
type Edit struct {
	Pointer string
	// Text replaces a text, Value any value; when both are nil the member is removed.
	Text  *string
	Value json.RawMessage
}

// WithText is the edit that puts a text in the place of this one.
func (t Text) WithText(text string) Edit { return Edit{Pointer: t.Pointer, Text: &text} }

// Of is the host's view of a body. For the exports of the kinds.
func Of(view *wit.View) Body { return viewed{view} }

type viewed struct{ view *wit.View }

func (b viewed) Raw() string  { return b.view.Raw() }
func (b viewed) Size() uint64 { return b.view.Size() }

func (b viewed) Field(pointer string) json.RawMessage {
	value := b.view.Field(pointer)
	if value.Tag() == abi.OptionNone {
		return nil
	}
	return json.RawMessage(value.Some())
}

func (b viewed) Texts() []Text {
	texts := b.view.Texts()
	all := make([]Text, 0, len(texts))
	for _, text := range texts {
		all = append(all, Text{Pointer: text.Pointer, Role: text.Role.SomeOr(""), Text: text.Text})
	}
	return all
}

// EditsOf are the contract's edits. For the exports of the kinds.
func EditsOf(edits []Edit) []wit.Edit {
	all := make([]wit.Edit, 0, len(edits))
	for _, edit := range edits {
		switch {
		case edit.Text != nil:
			all = append(all, wit.MakeEditText(abi.Tuple2[string, string]{F0: edit.Pointer, F1: witgate.UTF8(*edit.Text)}))
		case edit.Value != nil:
			all = append(all, wit.MakeEditValue(abi.Tuple2[string, string]{F0: edit.Pointer, F1: string(edit.Value)}))
		default:
			all = append(all, wit.MakeEditRemove(edit.Pointer))
		}
	}
	return all
}
