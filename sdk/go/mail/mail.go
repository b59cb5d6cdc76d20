// Package mail hands in mail over SMTP, by the host. The manifest names the server (`egress = ["smtp://{smtp_host}:{smtp_port}"]`);
// the password stays with the host.
package mail

import (
	"fmt"

	"witgate"
	abi "witgate/abi/types"
	"witgate/http"
	secrets "witgate/wit/witgate_host_secrets"
	wit "witgate/wit/witgate_host_mail"
)

// Encryption is how the connection to the server is encrypted.
type Encryption = wit.Encryption

// StartTLS begins in the clear and is given up unless the server agrees; TLS is from the first byte; None also sends the password in
// the clear.
const (
	StartTLS = wit.EncryptionStarttls
	TLS      = wit.EncryptionTls
	None     = wit.EncryptionNone
)

// Server is where mail is handed in.
type Server struct {
	Host       string
	Port       uint16
	Encryption Encryption
	// User logs in with the secret setting Password; nobody does when it is empty.
	User, Password string
}

// Mail is one message. One of Text and HTML must be given.
type Mail struct {
	From          string
	To            []string
	Subject       string
	Text, HTML    string
	// TimeoutMs is 30 s when it is 0.
	TimeoutMs uint32
}

// Refused is the error of a message that the server refuses for good.
type Refused struct {
	Code int
	Text string
}

func (e *Refused) Error() string { return fmt.Sprintf("the mail server refused: %d %s", e.Code, e.Text) }

// Send hands it in and waits until the server has taken it.
func (m Mail) Send(server Server) error {
	to := wit.Server{Host: server.Host, Port: server.Port, Encryption: server.Encryption}
	to.Login = abi.None[abi.Tuple2[string, *secrets.Secret]]()
	if server.Password != "" {
		handle, err := http.Handle(server.Password)
		if err != nil {
			return err
		}
		defer handle.Drop()
		to.Login = abi.Some(abi.Tuple2[string, *secrets.Secret]{F0: server.User, F1: handle})
	}
	message := wit.Message{Sender: m.From, Recipients: m.To, Subject: m.Subject, Text: some(m.Text), Html: some(m.HTML)}
	timeout := abi.None[uint32]()
	if m.TimeoutMs > 0 {
		timeout = abi.Some(m.TimeoutMs)
	}
	result := wit.Send(to, message, timeout)
	if result.Tag() == abi.ResultOk {
		return nil
	}
	failed := result.Err()
	switch failed.Tag() {
	case wit.MailErrorDenied:
		return &witgate.Error{Kind: witgate.KindDenied, Text: failed.Denied()}
	case wit.MailErrorTimeout:
		return witgate.Unavailable("the mail server did not answer in time")
	case wit.MailErrorConnection:
		return witgate.Unavailable("%s", failed.Connection())
	case wit.MailErrorRefused:
		no := failed.Refused()
		refused := &Refused{int(no.Code), no.Text}
		if no.Code < 500 {
			return witgate.Unavailable("%s", refused.Error())
		}
		return refused
	default:
		return fmt.Errorf("%s", failed.Invalid())
	}
}

func some(text string) abi.Option[string] {
	if text == "" {
		return abi.None[string]()
	}
	return abi.Some(text)
}
