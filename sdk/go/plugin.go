// Package witgate is what every kind of plugin in Go has: errors, settings, the log.
//
// A plugin is a package called plugin that registers itself in its init function, with the package of its kind:
// witgate/guardrail, witgate/logsink, witgate/authenticator. Time and randomness are Go's own (time.Now, crypto/rand). There are no
// files, sockets or processes; witgate/http reaches other services.
package witgate

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	wit "witgate/wit/witgate_host_log"
	settings "witgate/wit/witgate_host_settings"
	types "witgate/wit/witgate_types_types"

	abiRuntime "witgate/abi/runtime"
	abi "witgate/abi/types"
)

func init() { debug.SetGCPercent(-1) }

// Kind says what a later try would do.
type Kind int

// Why a plugin could not do its work.
const (
	// KindFailed: a later try with the same input would fail the same way. Any error that is no *Error is one of these.
	KindFailed Kind = iota
	// KindSettings: a setting is missing or wrong.
	KindSettings
	// KindDenied: the host refused something; the text has the line of configuration that would allow it.
	KindDenied
	// KindUnavailable: the other side is in trouble; a later try may work.
	KindUnavailable
)

// Error is an error with its kind.
type Error struct {
	Kind Kind
	Text string
}

func (e *Error) Error() string { return e.Text }

// SettingsError says which setting is missing or wrong, and what would be right.
func SettingsError(format string, args ...any) error {
	return &Error{KindSettings, fmt.Sprintf(format, args...)}
}

// Unavailable says that the other side is in trouble.
func Unavailable(format string, args ...any) error {
	return &Error{KindUnavailable, fmt.Sprintf(format, args...)}
}

// Settings decodes the plugin's settings that are not secret, JSON, into a value.
func Settings(into any) error {
	if err := json.Unmarshal([]byte(settings.All()), into); err != nil {
		return SettingsError("%v", err)
	}
	return nil
}

// Env is a variable of the gateway's environment that the manifest names; empty when it has no value.
func Env(name string) (string, error) {
	result := settings.Env(name)
	if result.Tag() == abi.ResultErr {
		return "", &Error{KindDenied, result.Err()}
	}
	return result.Ok().SomeOr(""), nil
}

// Debug, Info, Warn and Fault write a line to the plugin's log, with fields as pairs of name and value.
func Debug(message string, pairs ...any) { write(wit.LevelDebug, message, pairs) }

// Info writes a line.
func Info(message string, pairs ...any) { write(wit.LevelInfo, message, pairs) }

// Warn writes a line.
func Warn(message string, pairs ...any) { write(wit.LevelWarn, message, pairs) }

// Fault writes a line of level error.
func Fault(message string, pairs ...any) { write(wit.LevelError, message, pairs) }

func write(level uint8, message string, pairs []any) {
	wit.Write(level, UTF8(message), Pairs(pairs))
}

// Pairs makes text of names and values.
func Pairs(values []any) []abi.Tuple2[string, string] {
	var pairs []abi.Tuple2[string, string]
	for i := 0; i+1 < len(values); i += 2 {
		pairs = append(pairs, abi.Tuple2[string, string]{F0: UTF8(fmt.Sprint(values[i])), F1: UTF8(fmt.Sprint(values[i+1]))})
	}
	return pairs
}

// UTF8 is the text with what is not UTF-8 replaced: the host takes nothing else.
func UTF8(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// Principal is who makes the request; what is unknown is empty.
type Principal struct {
	KeyHash, KeyAlias, UserID, TeamID, OrgID, EndUserID, Role string
}

// PrincipalOf makes one of the contract's. For the exports of the kinds.
func PrincipalOf(who types.Principal) Principal {
	return Principal{
		KeyHash: who.KeyHash.SomeOr(""), KeyAlias: who.KeyAlias.SomeOr(""), UserID: who.UserId.SomeOr(""),
		TeamID: who.TeamId.SomeOr(""), OrgID: who.OrgId.SomeOr(""), EndUserID: who.EndUserId.SomeOr(""), Role: who.Role.SomeOr(""),
	}
}

// Some is a text that is absent when it is empty. For the exports of the kinds.
func Some(text string) abi.Option[string] {
	if text == "" {
		return abi.None[string]()
	}
	return abi.Some(UTF8(text))
}

// Headers are pairs of the contract as Go's. For the exports of the kinds.
func Headers(list []abi.Tuple2[string, string]) [][2]string {
	var all [][2]string
	for _, pair := range list {
		all = append(all, [2]string{pair.F0, pair.F1})
	}
	return all
}

// Tuples are Go's pairs as those of the contract. For the exports of the kinds.
func Tuples(list [][2]string) []abi.Tuple2[string, string] {
	var all []abi.Tuple2[string, string]
	for _, pair := range list {
		all = append(all, abi.Tuple2[string, string]{F0: UTF8(pair[0]), F1: UTF8(pair[1])})
	}
	return all
}

// Registered is the plugin of a kind: how it is made, and what was made. For the packages of the kinds.
type Registered[T any] struct {
	maker  func() (T, error)
	Plugin T
}

// Register says how a plugin is made of its settings. For the packages of the kinds.
func Register[S, T any](registered *Registered[T], make func(settings S) (T, error)) {
	registered.maker = func() (plugin T, err error) {
		var settings S
		if err := Settings(&settings); err != nil {
			return plugin, err
		}
		return make(settings)
	}
}

// Init makes the plugin, once per instance. For the exports of the kinds.
func (r *Registered[T]) Init(name string) abi.Result[abi.Unit, types.PluginError] {
	return Guarded(func() (done abi.Unit, err error) {
		if r.maker == nil {
			return done, fmt.Errorf("the plugin does not call %s.Register", name)
		}
		r.Plugin, err = r.maker()
		return done, err
	})
}

// Failure is an error in the contract's terms. For the exports of the kinds.
func Failure(err error) types.PluginError {
	text := UTF8(err.Error())
	var own *Error
	if errors.As(err, &own) {
		switch own.Kind {
		case KindSettings:
			return types.MakePluginErrorInvalidSettings(text)
		case KindDenied:
			return types.MakePluginErrorDenied(text)
		case KindUnavailable:
			return types.MakePluginErrorUnavailable(text)
		}
	}
	return types.MakePluginErrorFailed(text)
}

// Guarded runs a function of the plugin; a panic becomes an error with its place, and its stack goes to the log. For the exports
// of the kinds.
func Guarded[T any](call func() (T, error)) (result abi.Result[T, types.PluginError]) {
	abiRuntime.Open()
	defer abiRuntime.Shut()
	// The collector works only here, too. To switch it off waits for it to be done.
	debug.SetGCPercent(100)
	defer debug.SetGCPercent(-1)
	defer func() {
		if cause := recover(); cause != nil {
			place := where()
			Fault(fmt.Sprintf("panic: %v\n%s", cause, debug.Stack()))
			result = abi.Err[T](types.MakePluginErrorFailed(UTF8(fmt.Sprintf("panic: %v%s", cause, place))))
		}
	}()
	value, err := call()
	if err != nil {
		return abi.Err[T](Failure(err))
	}
	return abi.Ok[T, types.PluginError](value)
}

// where is the author's line at which a panic began: the first that is neither Go's nor ours.
func where() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		if frame.Function != "" && !strings.HasPrefix(frame.Function, "runtime.") && !strings.HasPrefix(frame.Function, "witgate") {
			return fmt.Sprintf(" (at %s:%d)", frame.File[strings.LastIndex(frame.File, "/")+1:], frame.Line)
		}
		if !more {
			return ""
		}
	}
}
