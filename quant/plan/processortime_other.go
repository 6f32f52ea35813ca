//go:build !linux && !darwin && !freebsd

package plan

import "time"

func processorTime() time.Duration { return 0 }
