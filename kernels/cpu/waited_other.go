//go:build !linux

package cpu

import "time"

// Waited is unknown.
func Waited() time.Duration { return 0 }
