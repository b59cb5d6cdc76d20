package plugin

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"witgate"
	"witgate/http"
	"witgate/secretmanager"
)

type settings struct {
	URL string `json:"url"`
}

func init() {
	secretmanager.Register(func(s settings) (secretmanager.SecretManager, error) {
		return keeper{strings.TrimRight(s.URL, "/")}, nil
	})
}

type keeper struct{ url string }

func (k keeper) Read(name string, options json.RawMessage) (*secretmanager.Reading, error) {
	response, err := http.Get(k.url + "/" + url.PathEscape(name)).Bearer("token").Send()
	switch {
	case err != nil:
		return nil, err
	case response.Status == 404:
		return nil, nil // there is no such secret: the gateway looks into its environment
	case response.WorthARetry():
		return nil, witgate.Unavailable("the keeper answered with status %d", response.Status)
	case !response.OK():
		return nil, fmt.Errorf("the keeper answered with status %d; may the token read %q?", response.Status, name)
	}
	return secretmanager.Value(string(response.Body)), nil
}
