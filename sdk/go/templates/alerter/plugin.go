package plugin

import (
	"strings"

	"witgate/alerter"
	"witgate/http"
	"witgate/outcome"
)

type settings struct {
	URL string `json:"url"`
}

func init() {
	alerter.Register(func(s settings) (alerter.Alerter, error) { return chat{s.URL}, nil })
}

type chat struct{ url string }

func (c chat) Send(batch []alerter.Alert) (alerter.Outcome, error) {
	lines := make([]string, 0, len(batch))
	for _, alert := range batch {
		lines = append(lines, alert.Kind+": "+alert.Title)
	}
	return outcome.By(http.Post(c.url).JSON(map[string]string{"text": strings.Join(lines, "\n")}))
}
