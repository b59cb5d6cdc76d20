// Package sso is for plugins that ask an identity provider who somebody is, decide what that user is to the gateway, or read both from
// what a proxy in front says. The host owns the flow: state, nonce, PKCE, cookies, redirects, the user's row, the session.
package sso

import (
	"encoding/json"
	"fmt"
	"strings"

	"witgate"
)

// Plugin implements the interfaces of the roles that `plugin.toml` names: Provider, Mapper, SignIn.
type Plugin any

// Provider has the role `provider`.
type Provider interface {
	// Authorize says where a login goes.
	Authorize(login *Login) (*Authorization, error)
	// Exchange gets tokens for the code, checks them, and says who it is; TurnAway when the provider refuses the code.
	Exchange(callback *Callback) (*OpenID, error)
}

// Mapper has the role `mapping`: LiteLLM's `custom_sso`.
type Mapper interface {
	// MapUser decides what the user is to the gateway; TurnAway lets nobody in, and so does any other error. Known is the row that the
	// gateway has of this user, by LiteLLM's names; nil when there is none.
	MapUser(user *OpenID, known json.RawMessage) (*UserValues, error)
}

// SignIn has the role `sign-in`: LiteLLM's `custom_ui_sso_sign_in_handler`.
type SignIn interface {
	// SignIn says who a request is from that a proxy in front has authenticated; TurnAway lets nobody in.
	SignIn(request *Request) (*OpenID, error)
}

// Login is a login that begins.
type Login struct {
	// RedirectURI is where the provider must send the browser back to.
	RedirectURI string
	// State must come back unchanged, Nonce must be in the ID token, CodeChallenge is PKCE's, of the method S256.
	State, Nonce, CodeChallenge string
}

// Authorization is where to send the browser.
type Authorization struct {
	URL string
	// State is the one in the URL, when it is not the login's.
	State string
}

// Callback is what the browser came back with. The host has checked the state.
type Callback struct{ Code, RedirectURI, Nonce, CodeVerifier string }

// OpenID is who it is, as the identity provider says; what is unknown is empty.
type OpenID struct {
	// ID is never empty.
	ID, Email, FirstName, LastName, DisplayName, Picture, Provider string
	// TeamIDs are groups there that may be teams here.
	TeamIDs []string
	// UserRole is one of `proxy_admin`, `proxy_admin_viewer`, `internal_user`, `internal_user_viewer`.
	UserRole string
	// ExtraFields are further facts, a JSON object.
	ExtraFields json.RawMessage
}

// UserValues is what a signed-in user is to the gateway: LiteLLM's SSOUserDefinedValues.
type UserValues struct {
	// UserID is never empty. UserRole is as in OpenID; empty: the role in the database, else that of new users.
	UserID, UserEmail, UserRole string
	// Models are the model groups that may be called; none: all.
	Models []string
	// MaxBudget of a new user in US dollars, a decimal number; BudgetDuration its window, such as `30d`.
	MaxBudget, BudgetDuration string
}

// Request is a request that a proxy in front has authenticated.
type Request struct {
	Method, Path, Query, ClientIP string
	// Headers are pairs of lower-case name and value, in order, without cookies.
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

// Denial lets nobody in, and tells the user why.
type Denial struct {
	Status  uint16
	Message string
}

func (d *Denial) Error() string { return d.Message }

// TurnAway lets nobody in: status 403 and this message for the user.
func TurnAway(format string, args ...any) error {
	return &Denial{Status: 403, Message: fmt.Sprintf(format, args...)}
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[Plugin]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (Plugin, error)) { witgate.Register(&Registered, make) }
