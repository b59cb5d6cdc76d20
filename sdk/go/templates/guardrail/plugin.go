package plugin

import (
	"strings"

	"witgate/guardrail"
)

type settings struct {
	Word string `json:"word"`
}

func init() {
	guardrail.Register(func(s settings) (guardrail.Guardrail, error) {
		return words{strings.ToLower(s.Word)}, nil
	})
}

type words struct{ word string }

func (w words) Check(call *guardrail.Call, body guardrail.Body) (*guardrail.Verdict, error) {
	for _, text := range body.Texts() {
		if strings.Contains(strings.ToLower(text.Text), w.word) {
			return guardrail.Block("This text is not allowed.").WithFinding("word", 1), nil
		}
	}
	return nil, nil
}
