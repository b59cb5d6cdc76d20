package plugin

import (
	"fmt"
	"regexp"

	"witgate/promptmanager"
)

type settings struct {
	Prompts map[string]string `json:"prompts"`
}

func init() {
	promptmanager.Register(func(s settings) (promptmanager.PromptManager, error) { return prompts{s.Prompts}, nil })
}

type prompts struct{ templates map[string]string }

var place = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

func (p prompts) GetPrompt(call *promptmanager.Call) (*promptmanager.Prompt, error) {
	template, known := p.templates[call.PromptID]
	if !known {
		return nil, nil // not one of ours: the next prompt manager is asked
	}
	content := place.ReplaceAllStringFunc(template, func(found string) string {
		if value, given := call.Variables[place.FindStringSubmatch(found)[1]]; given {
			return fmt.Sprint(value)
		}
		return found
	})
	messages := []any{map[string]string{"role": "system", "content": content}}
	for _, message := range call.Messages {
		messages = append(messages, message)
	}
	return &promptmanager.Prompt{Messages: messages}, nil
}
