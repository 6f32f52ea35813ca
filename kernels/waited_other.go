//go:build !linux

package kernels

import "time"

// processWaited is unknown.
func processWaited() time.Duration { return 0 }
