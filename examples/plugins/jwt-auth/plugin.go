// Package plugin is an authenticator in Go: it lets in whoever has a JSON Web Token that is signed with a shared key (HS256).
package plugin

import (
	"strings"
	"time"

	"witgate"
	"witgate/authenticator"
	"witgate/http"
)

type settings struct {
	Issuer string `json:"issuer"`
}

func init() {
	authenticator.Register(func(s settings) (authenticator.Authenticator, error) {
		key, err := http.Reveal("key")
		if err != nil {
			return nil, err
		}
		if len(key) < 16 {
			return nil, witgate.SettingsError("`key` must have at least 16 bytes")
		}
		return tokens{[]byte(key), s.Issuer}, nil
	})
}

type tokens struct {
	key    []byte
	issuer string
}

func (t tokens) Authenticate(request *authenticator.Request) (authenticator.Decision, error) {
	if strings.Count(request.APIKey, ".") != 2 {
		return authenticator.Decline{}, nil // no token: the gateway decides
	}
	claims, err := verify(request.APIKey, t.key, t.issuer, time.Now())
	if err != nil {
		return authenticator.Deny("%v", err), nil
	}
	return authenticator.Identity{
		UserID: claims.Subject, UserEmail: claims.Email, TeamID: claims.Team, Models: claims.Models,
	}, nil
}
