//go:build !unix

package exit

import "os"

// suspendSignal is none: there is no job control.
var suspendSignal os.Signal

func ignoreBackground() {}

// OnSuspend does nothing: nobody asks to stop.
func (o *Owner) OnSuspend(func()) {}

// Suspend does nothing.
func (o *Owner) Suspend(uintptr) {}

// Foreground is always true.
func Foreground(uintptr) bool { return true }
