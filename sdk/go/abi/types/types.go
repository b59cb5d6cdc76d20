// Package wit_types has the generic types that the generated bindings are written in: optional values, results, pairs.
package wit_types

// Tags of Option and Result.
const (
	OptionNone = 0
	OptionSome = 1
	ResultOk   = 0
	ResultErr  = 1
)

// Option is a value that may be absent.
type Option[T any] struct {
	there bool
	value T
}

// Some is a value that is there.
func Some[T any](value T) Option[T] { return Option[T]{true, value} }

// None is an absent value.
func None[T any]() Option[T] { return Option[T]{} }

// Tag is OptionNone or OptionSome.
func (o Option[T]) Tag() uint8 {
	if o.there {
		return OptionSome
	}
	return OptionNone
}

// Some returns the value; it must be there.
func (o Option[T]) Some() T {
	if !o.there {
		panic("witgate: an absent value was asked for")
	}
	return o.value
}

// SomeOr returns the value, or another one when it is absent.
func (o Option[T]) SomeOr(other T) T {
	if o.there {
		return o.value
	}
	return other
}

// Result is a value or an error.
type Result[T, E any] struct {
	failed bool
	value  T
	err    E
}

// Ok is a value.
func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{value: value} }

// Err is an error.
func Err[T, E any](err E) Result[T, E] { return Result[T, E]{failed: true, err: err} }

// Tag is ResultOk or ResultErr.
func (r Result[T, E]) Tag() uint8 {
	if r.failed {
		return ResultErr
	}
	return ResultOk
}

// Ok returns the value; there must be no error.
func (r Result[T, E]) Ok() T {
	if r.failed {
		panic("witgate: the value of an error was asked for")
	}
	return r.value
}

// Err returns the error; there must be one.
func (r Result[T, E]) Err() E {
	if !r.failed {
		panic("witgate: the error of a value was asked for")
	}
	return r.err
}

// Unit is no value.
type Unit struct{}

// Tuple2 is a pair.
type Tuple2[A, B any] struct {
	F0 A
	F1 B
}

// Tuple3 is a triple.
type Tuple3[A, B, C any] struct {
	F0 A
	F1 B
	F2 C
}
