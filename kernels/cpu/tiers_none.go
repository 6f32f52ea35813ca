//go:build (!amd64 && !arm64) || noasm

package cpu

func archTiers() []ISA { return nil }
