//go:build !linux && !darwin && !freebsd && !windows

package durable

// FreeDisk is unknown, -1.
func FreeDisk(string) int64 { return -1 }
