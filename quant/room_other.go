//go:build !linux && !darwin && !freebsd

package quant

import "time"

func addressSpace(int64) int64 { return -1 }

func processorTime() time.Duration { return 0 }
