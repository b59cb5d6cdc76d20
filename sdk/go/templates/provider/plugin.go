// Package plugin speaks a dialect of its own: POST /generate {"model", "prompt", "max_tokens"} answers {"text", "in", "out"}, or as a stream
// lines of {"text"} and at last {"in", "out"}.
package plugin

import (
	"encoding/json"
	"strings"

	"witgate/provider"
)

func init() {
	provider.Register(func(struct{}) (provider.Provider, error) { return dialect{}, nil })
}

type dialect struct{}

// What the other side says.
type said struct {
	Text *string `json:"text"`
	In   uint64  `json:"in"`
	Out  uint64  `json:"out"`
}

func (dialect) SupportedParams(callType, model string) ([]string, error) {
	return []string{"stream", "max_tokens"}, nil
}

func (dialect) BuildRequest(call *provider.Call) (*provider.Request, error) {
	var body struct {
		Messages []struct {
			Role    string `json:"role"`
			Content any    `json:"content"`
		} `json:"messages"`
		MaxTokens json.RawMessage `json:"max_tokens"`
		Stream    bool            `json:"stream"`
	}
	if err := json.Unmarshal(call.Body, &body); err != nil {
		return nil, provider.Fail("BadRequestError", "this provider cannot read the request: %v", err)
	}
	var lines []string
	for _, message := range body.Messages {
		text, plain := message.Content.(string)
		if !plain {
			return nil, provider.Fail("BadRequestError", "this provider takes messages of plain text only")
		}
		lines = append(lines, message.Role+": "+text)
	}
	out := map[string]any{"model": call.Model, "prompt": strings.Join(lines, "\n")}
	if body.MaxTokens != nil {
		out["max_tokens"] = body.MaxTokens
	}
	if body.Stream {
		out["stream"] = true
	}
	request, err := provider.Post(call.APIBase+"/generate", out)
	if body.Stream {
		request.Framing = "ndjson"
	}
	return request.Credential("authorization", "Bearer {api_key}"), err
}

func (dialect) ParseResponse(context string, response *provider.Response) (*provider.Answer, error) {
	var answer said
	if err := json.Unmarshal(response.Body, &answer); err != nil || answer.Text == nil {
		return nil, provider.Fail("APIError", "the answer has no text")
	}
	return provider.Say(map[string]any{
		"choices": []any{map[string]any{
			"index": 0, "message": map[string]any{"role": "assistant", "content": answer.Text}, "finish_reason": "stop",
		}},
		"usage": provider.Usage(answer.In, answer.Out),
	})
}

func (dialect) OpenStream(context string, head *provider.Response) (provider.Stream, error) {
	return stream{}, nil
}

type stream struct{}

func (stream) Push(frame provider.Frame, progress *provider.Progress) error {
	var line said
	if err := json.Unmarshal(frame.Data, &line); err != nil {
		return provider.Fail("APIError", "a line is not JSON")
	}
	if line.Text != nil {
		return progress.Content(*line.Text)
	}
	if err := progress.Finish("stop"); err != nil {
		return err
	}
	progress.Done()
	return progress.Usage(line.In, line.Out)
}

func (stream) Finish(progress *provider.Progress) error {
	return provider.Fail("APIConnectionError", "the stream ended too early")
}
