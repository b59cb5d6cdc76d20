package plugin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// claims are those of a token that say something here.
type claims struct {
	Subject   string   `json:"sub"`
	Issuer    string   `json:"iss"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	Email     string   `json:"email"`
	Team      string   `json:"team_id"`
	Models    []string `json:"models"`
}

var (
	errMalformed = errors.New("this token is malformed")
	errSignature = errors.New("this token is not signed by us")
)

// verify checks the signature, the algorithm, the times and the issuer of a token. It calls no host function: `go test` tests it.
func verify(token string, key []byte, issuer string, now time.Time) (*claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errMalformed
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if err := decode(parts[0], &header); err != nil {
		return nil, errMalformed
	}
	// The token does not choose how it is checked.
	if header.Algorithm != "HS256" {
		return nil, errSignature
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return nil, errMalformed
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(parts[0] + "." + parts[1]))
	if !hmac.Equal(signature, mac.Sum(nil)) {
		return nil, errSignature
	}
	var found claims
	if err := decode(parts[1], &found); err != nil {
		return nil, errMalformed
	}
	switch {
	case found.Subject == "":
		return nil, errors.New("this token names nobody (`sub`)")
	case found.Expires == 0 || !now.Before(time.Unix(found.Expires, 0)):
		return nil, errors.New("this token has expired")
	case now.Before(time.Unix(found.NotBefore, 0)):
		return nil, errors.New("this token is not valid yet")
	case issuer != "" && found.Issuer != issuer:
		return nil, errors.New("this token is from another issuer")
	}
	return &found, nil
}

func decode(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
