//go:build !linux && !darwin && !freebsd

package quant

import "time"

func freeDisk(string) int64 { return -1 }

func addressSpace(int64) int64 { return -1 }

func processorTime() time.Duration { return 0 }
