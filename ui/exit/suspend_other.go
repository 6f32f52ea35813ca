//go:build !unix

package exit

func ignoreBackground() {}

// Suspend does nothing: there is no job control.
func (o *Owner) Suspend(uintptr) {}

// Foreground is always true.
func Foreground(uintptr) bool { return true }
