// Package secretmanager is for plugins that keep what a configuration refers to as `os.environ/NAME`: LiteLLM's `key_management_system`.
//
// The options of each call are overrides for one secret, a JSON object by LiteLLM's names in `secret_manager_settings`; normally empty.
package secretmanager

import (
	"encoding/json"
	"fmt"
	"time"

	"witgate"
)

// SecretManager reads. What also implements Writer, Rotator or HealthChecker does that, too.
type SecretManager interface {
	// Read reads a secret; nil: there is none. An error means that nobody knows: the host takes the last value.
	Read(name string, options json.RawMessage) (*Reading, error)
}

// Writer stores and deletes. Without it the manager only reads.
type Writer interface {
	// Write stores a secret, a new version when there is one of that name.
	Write(secret *Secret, options json.RawMessage) error
	// Delete deletes a secret. That there is none is no error.
	Delete(name string, recoveryDays uint32, options json.RawMessage) error
}

// Rotator replaces a secret by another. Without it: Read, Write, Read again, Delete of the old name.
type Rotator interface {
	Rotate(current string, secret *Secret, options json.RawMessage) error
}

// HealthChecker tells whether the manager answers and takes the credentials.
type HealthChecker interface {
	Health() error
}

// Reading is what the manager says about a name.
type Reading struct {
	Value string
	// Unknown: there is no such secret; the same as no reading, and says how long that may be kept.
	Unknown bool
	// Keep is how long the answer may be kept, in whole seconds; 0: as long as the gateway's configuration says.
	Keep time.Duration
}

// Secret is a secret to be stored.
type Secret struct {
	Name, Value, Description string
	// Tags are pairs of name and value.
	Tags [][2]string
}

// Value is a reading with this value.
func Value(value string) *Reading { return &Reading{Value: value} }

// NoValue says that there is no such secret, and how long that may be kept.
func NoValue(keep time.Duration) *Reading { return &Reading{Unknown: true, Keep: keep} }

// Rotate replaces a secret by the other functions of a manager. For the exports.
func Rotate(manager SecretManager, current string, secret *Secret, options json.RawMessage) error {
	if rotator, can := manager.(Rotator); can {
		return rotator.Rotate(current, secret, options)
	}
	before, err := manager.Read(current, options)
	if err != nil {
		return err
	}
	if before == nil || before.Unknown {
		return fmt.Errorf("the manager has no secret `%s`", current)
	}
	writer, can := manager.(Writer)
	if !can {
		return OnlyReads(secret.Name)
	}
	if err := writer.Write(secret, options); err != nil {
		return err
	}
	after, err := manager.Read(secret.Name, options)
	if err != nil {
		return err
	}
	if after == nil || after.Unknown || after.Value != secret.Value {
		return fmt.Errorf("`%s` was written, and another value was read", secret.Name)
	}
	if current == secret.Name {
		return nil
	}
	return writer.Delete(current, 7, options)
}

// OnlyReads is the error of a manager that does not write.
func OnlyReads(name string) error {
	return fmt.Errorf("`%s` is left as it is: this secret manager only reads; set "+
		"general_settings.key_management_settings.access_mode to read_only", name)
}

// Registered is what was registered. For the exports.
var Registered witgate.Registered[SecretManager]

// Register says how the plugin is made of its settings; it runs once per instance.
func Register[S any](make func(settings S) (SecretManager, error)) {
	witgate.Register(&Registered, make)
}
