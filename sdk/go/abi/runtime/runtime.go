// Package runtime gives the generated bindings memory that the host may write to, and handles of the host's resources.
package runtime

import (
	"runtime"
	"time"
	"unsafe"
)

func init() {
	// What stands still then has to be something.
	_ = time.Now()
	shut = true
}

// Open is called when the plugin's own code begins. Outside of it, and while the host answers a call of the plugin's, the host passes
// data in, when a component may call nothing: then Go's runtime must not ask for the time.
func Open() { shut = false }

// Shut ends what Open began; it returns whether it was shut before.
func Shut() bool {
	before := shut
	shut = true
	return before
}

// Restore puts back what Shut found.
func Restore(before bool) { shut = before }

// A Handle of a resource; 0 when it was given away.
type Handle struct{ number int32 }

// MakeHandle wraps a number that the host gave.
func MakeHandle(number int32) *Handle { return &Handle{number} }

// Use returns the number and keeps it.
func (h *Handle) Use() int32 {
	if h.number == 0 {
		panic("witgate: a resource was used after it was given away")
	}
	return h.number
}

// Take returns the number and gives it away.
func (h *Handle) Take() int32 {
	number := h.Use()
	h.number = 0
	return number
}

// TakeOrNil returns the number and gives it away; 0 when it is gone.
func (h *Handle) TakeOrNil() int32 {
	number := h.number
	h.number = 0
	return number
}

// Set takes a number back.
func (h *Handle) Set(number int32) { h.number = number }

// Allocate returns memory that stays where it is until the pinner lets it go.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// Go aligns by the type; eight bytes are the most that is asked for.
	var memory unsafe.Pointer
	if align <= 1 {
		memory = unsafe.Pointer(unsafe.SliceData(make([]byte, size)))
	} else {
		memory = unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	}
	pinner.Pin(memory)
	return memory
}

// What the host has written and the bindings have not yet turned into Go's values.
var arriving runtime.Pinner

// Unpin is called when the arguments of a call are Go's values.
func Unpin() { arriving.Unpin() }
