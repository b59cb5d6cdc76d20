// Package authenticator is for plugins that decide who makes a request.
package authenticator

import (
	"encoding/json"
	"fmt"
	"strings"

	"witgate"
)

// Authenticator decides.
type Authenticator interface {
	// Authenticate decides. An error or a panic lets nobody in, and so does no decision.
	Authenticate(request *Request) (Decision, error)
}

// Request is the request to identify.
type Request struct {
	// APIKey is the key that the client sent, without `Bearer `; empty when there was none.
	APIKey, Method, Path, Query, ClientIP string
	// Headers are pairs of lower-case name and value, in order.
	Headers [][2]string
}

// Header is the first header of this name, empty when there is none.
func (r *Request) Header(name string) string {
	for _, header := range r.Headers {
		if strings.EqualFold(header[0], name) {
			return header[1]
		}
	}
	return ""
}

// Decision is one of Identity, Key, Decline and Denial.
type Decision interface{ decision() }

// Identity lets in: LiteLLM's UserAPIKeyAuth. What is empty puts no limit and gives no right.
type Identity struct {
	APIKey, KeyAlias, UserID, UserEmail, Role, TeamID, TeamAlias, OrgID, EndUserID string
	// Models are the model groups that may be called; none: all.
	Models []string
	// Metadata and Extra (further members of UserAPIKeyAuth) are JSON objects.
	Metadata, Extra json.RawMessage
}

// Key lets the gateway check this key in place of the one that was sent.
type Key string

// Decline: not mine; the gateway's own authentication decides, under `mode: auto`.
type Decline struct{}

// Denial refuses.
type Denial struct {
	Status               uint16
	Message, Kind, Param string
}

func (Identity) decision() {}
func (Key) decision()      {}
func (Decline) decision()  {}
func (Denial) decision()   {}

// Deny refuses with status 401 and this message.
func Deny(format string, args ...any) Denial {
	return Denial{Status: 401, Message: fmt.Sprintf(format, args...)}
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[Authenticator]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (Authenticator, error)) {
	witgate.Register(&Registered, make)
}
