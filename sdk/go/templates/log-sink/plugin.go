package plugin

import (
	"encoding/json"

	"witgate/http"
	"witgate/logsink"
	"witgate/outcome"
)

type settings struct {
	URL string `json:"url"`
}

func init() {
	logsink.Register(func(s settings) (logsink.LogSink, error) { return sink{s.URL}, nil })
}

type sink struct{ url string }

func (s sink) Deliver(batch []logsink.Event) (logsink.Outcome, error) {
	payloads := make([]json.RawMessage, 0, len(batch))
	for _, event := range batch {
		payloads = append(payloads, event.Payload)
	}
	return outcome.By(http.Post(s.url).JSON(payloads).Bearer("token"))
}
