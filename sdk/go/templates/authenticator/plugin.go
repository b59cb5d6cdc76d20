package plugin

import (
	"crypto/subtle"
	"strings"

	"witgate/authenticator"
)

type settings struct {
	Users map[string]string `json:"users"`
}

func init() {
	authenticator.Register(func(s settings) (authenticator.Authenticator, error) { return tokens{s.Users}, nil })
}

type tokens struct{ users map[string]string }

func (t tokens) Authenticate(request *authenticator.Request) (authenticator.Decision, error) {
	if !strings.HasPrefix(request.APIKey, "tok-") {
		return authenticator.Decline{}, nil // not one of ours: the gateway decides
	}
	for user, token := range t.users {
		if subtle.ConstantTimeCompare([]byte(token), []byte(request.APIKey)) == 1 {
			return authenticator.Identity{UserID: user}, nil
		}
	}
	return authenticator.Deny("this token is not known"), nil
}
