// Package http sends requests through the gateway's own client. Connections, TLS, proxies and which hosts may be reached are the host's affair.
//
//	response, err := http.Post(url).JSON(value).Bearer("token").Send()
package http

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"witgate"
	abi "witgate/abi/types"
	wit "witgate/wit/witgate_host_http"
	secrets "witgate/wit/witgate_host_secrets"
)

// A Request that is being made.
type Request struct {
	wit  wit.Request
	auth func(*secrets.Secret) wit.Auth
	// The name of the secret setting that auth is made with.
	secret string
	err    error
}

// A Response, read to its end.
type Response struct {
	Status int
	// Pairs of lower-case name and value, in order.
	Headers [][2]string
	Body    []byte
}

// New is a request of any method.
func New(method, url string) *Request {
	return &Request{wit: wit.Request{Method: strings.ToUpper(method), Url: url}}
}

// Get is a GET request.
func Get(url string) *Request { return New("GET", url) }

// Post is a POST request.
func Post(url string) *Request { return New("POST", url) }

// Header adds a header.
func (r *Request) Header(name, value string) *Request {
	r.wit.Headers = append(r.wit.Headers, abi.Tuple2[string, string]{F0: strings.ToLower(name), F1: value})
	return r
}

// Body sets the body, sent as it is.
func (r *Request) Body(body []byte) *Request {
	r.wit.Body = body
	return r
}

// JSON sets the body to a value as JSON, with its content type.
func (r *Request) JSON(value any) *Request {
	body, err := json.Marshal(value)
	if err != nil && r.err == nil {
		r.err = err
	}
	return r.Header("content-type", "application/json").Body(body)
}

// TimeoutMs is the time for the whole exchange; the host lowers it to what is left of the call's.
func (r *Request) TimeoutMs(ms uint32) *Request {
	r.wit.TimeoutMs = abi.Some(ms)
	return r
}

// Bearer sends the secret setting of this name as `authorization: Bearer …`. The value stays with the host.
func (r *Request) Bearer(secret string) *Request {
	r.secret, r.auth = secret, wit.MakeAuthBearer
	return r
}

// Basic sends it as the password of `authorization: Basic …`.
func (r *Request) Basic(user, secret string) *Request {
	r.secret = secret
	r.auth = func(handle *secrets.Secret) wit.Auth {
		return wit.MakeAuthBasic(abi.Tuple2[string, *secrets.Secret]{F0: user, F1: handle})
	}
	return r
}

// SecretHeader sends it as the whole value of a header.
func (r *Request) SecretHeader(name, secret string) *Request {
	r.secret = secret
	r.auth = func(handle *secrets.Secret) wit.Auth {
		return wit.MakeAuthHeader(abi.Tuple2[string, *secrets.Secret]{F0: strings.ToLower(name), F1: handle})
	}
	return r
}

// HasSecret tells whether the secret setting has a value.
func HasSecret(name string) bool {
	handle, err := Handle(name)
	if err != nil {
		return false
	}
	handle.Drop()
	return true
}

// Reveal is the value itself; only when the manifest has `reveal = true` for it.
func Reveal(name string) (string, error) {
	handle, err := Handle(name)
	if err != nil {
		return "", err
	}
	defer handle.Drop()
	result := handle.Reveal()
	if result.Tag() == abi.ResultErr {
		return "", &witgate.Error{Kind: witgate.KindDenied, Text: result.Err()}
	}
	return result.Ok(), nil
}

// Handle is the secret setting of this name as the host's services take it; it is the caller's to drop.
func Handle(name string) (*secrets.Secret, error) {
	result := secrets.Get(name)
	if result.Tag() == abi.ResultErr {
		return nil, &witgate.Error{Kind: witgate.KindDenied, Text: result.Err()}
	}
	if result.Ok().Tag() == abi.OptionNone {
		return nil, witgate.SettingsError("`%s` is not set", name)
	}
	return result.Ok().Some(), nil
}

// Send sends it and waits for the whole response, whatever its status.
func (r *Request) Send() (*Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	auth := abi.None[wit.Auth]()
	if r.auth != nil {
		handle, err := Handle(r.secret)
		if err != nil {
			return nil, err
		}
		defer handle.Drop()
		auth = abi.Some(r.auth(handle))
	}
	result := wit.Send(r.wit, auth)
	if result.Tag() == abi.ResultErr {
		return nil, failure(result.Err())
	}
	answer := result.Ok()
	response := &Response{Status: int(answer.Status), Body: answer.Body}
	for _, header := range answer.Headers {
		response.Headers = append(response.Headers, [2]string{header.F0, header.F1})
	}
	return response, nil
}

func failure(err wit.HttpError) error {
	switch err.Tag() {
	case wit.HttpErrorDenied:
		return &witgate.Error{Kind: witgate.KindDenied, Text: err.Denied()}
	case wit.HttpErrorTimeout:
		return witgate.Unavailable("no answer in time")
	case wit.HttpErrorConnection:
		return witgate.Unavailable("%s", err.Connection())
	case wit.HttpErrorTooLarge:
		return fmt.Errorf("the response is larger than %d bytes", err.TooLarge())
	default:
		return fmt.Errorf("%s", err.Invalid())
	}
}

// OK tells whether the status is 2xx.
func (r *Response) OK() bool { return r.Status >= 200 && r.Status < 300 }

// WorthARetry tells whether the same request may succeed later: 408, 429 and 5xx.
func (r *Response) WorthARetry() bool { return r.Status == 408 || r.Status == 429 || r.Status >= 500 }

// Header is the first header of this name, empty when there is none.
func (r *Response) Header(name string) string {
	for _, header := range r.Headers {
		if strings.EqualFold(header[0], name) {
			return header[1]
		}
	}
	return ""
}

// RetryAfterMs is the server's `retry-after` when it is a number of seconds, in milliseconds; else 0.
func (r *Response) RetryAfterMs() uint64 {
	seconds, err := strconv.ParseUint(strings.TrimSpace(r.Header("retry-after")), 10, 32)
	if err != nil {
		return 0
	}
	return seconds * 1000
}

// JSON decodes the body.
func (r *Response) JSON(into any) error { return json.Unmarshal(r.Body, into) }

// Summary is `status 503: ` and the start of the body, for a reason or an error.
func (r *Response) Summary() string {
	text := []rune(witgate.UTF8(string(r.Body)))
	if len(text) > 300 {
		return fmt.Sprintf("status %d: %s…", r.Status, string(text[:300]))
	}
	return fmt.Sprintf("status %d: %s", r.Status, string(text))
}
