package cpu

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/cpuid/v2"
)

// ErrISA reports an instruction-set tier that does not exist or that this CPU
// does not have.
var ErrISA = errors.New("instruction set not available")

// ISA is an instruction-set tier. A tier may use the kernels of every tier
// before it in the order of [Tiers].
type ISA string

// The tiers, from the slowest to the fastest: those of amd64, then those of
// arm64.
const (
	Generic    ISA = "generic"    // plain Go
	AVX2       ISA = "avx2"       // AVX2, FMA and F16C
	AVXVNNI    ISA = "avxvnni"    // AVX2 and the VEX-encoded VPDPBUSD
	AVX512VNNI ISA = "avx512vnni" // AVX-512 F, BW, DQ, VL and VNNI
	AMX        ISA = "amx"        // AMX tiles of INT8
	NEON       ISA = "neon"       // Advanced SIMD, which every arm64 CPU has
	DotProd    ISA = "dotprod"    // SDOT
	I8MM       ISA = "i8mm"       // SMMLA and USMMLA
)

// Tiers lists every tier in ascending order.
func Tiers() []ISA { return []ISA{Generic, AVX2, AVXVNNI, AVX512VNNI, AMX, NEON, DotProd, I8MM} }

// Supported lists the tiers this CPU and this build have, in ascending order.
var Supported = sync.OnceValue(func() []ISA { return append([]ISA{Generic}, archTiers()...) })

// ParseISA checks that name is a tier this CPU has.
func ParseISA(name string) (ISA, error) {
	isa := ISA(strings.ToLower(name))
	if !slices.Contains(Tiers(), isa) {
		return "", fmt.Errorf("%w: no tier is called %q (the tiers are %s)", ErrISA, name, joinISA(Tiers()))
	}
	if !slices.Contains(Supported(), isa) {
		return "", fmt.Errorf("%w: this CPU or build lacks %s (it has %s)", ErrISA, isa, joinISA(Supported()))
	}
	return isa, nil
}

func joinISA(tiers []ISA) string {
	names := make([]string, len(tiers))
	for i, t := range tiers {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

// FromEnv is the tier named by NIBBLE_ISA, or the best one.
func FromEnv() (ISA, error) {
	if v := os.Getenv("NIBBLE_ISA"); v != "" {
		isa, err := ParseISA(v)
		if err != nil {
			return "", fmt.Errorf("NIBBLE_ISA: %w", err)
		}
		return isa, nil
	}
	tiers := Supported()
	return tiers[len(tiers)-1], nil
}

// Allows reports whether a tier may run the kernels of another.
func (i ISA) Allows(other ISA) bool {
	return slices.Index(Tiers(), other) <= slices.Index(Tiers(), i) && slices.Contains(Supported(), other)
}

// CPU describes the machine for people and for cache keys.
type CPU struct {
	Name       string   `json:"name"`
	Cores      int      `json:"cores"`
	Features   []string `json:"features"`
	L1D        int      `json:"l1d_bytes"`
	L2         int      `json:"l2_bytes"`
	L3         int      `json:"l3_bytes"`
	Tiers      []ISA    `json:"tiers"`
	CacheLines int      `json:"cache_line_bytes"`
}

// This describes the CPU the program runs on.
func This() CPU {
	c := cpuid.CPU
	interesting := []cpuid.FeatureID{cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.AVXVNNI,
		cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512VNNI, cpuid.AVX512VBMI, cpuid.AVX512BF16,
		cpuid.AVX512FP16, cpuid.AMXINT8, cpuid.ASIMD, cpuid.ASIMDDP}
	cpu := CPU{Name: strings.TrimSpace(c.BrandName), Cores: DefaultThreads(), Tiers: Supported(),
		L1D: max(c.Cache.L1D, 0), L2: max(c.Cache.L2, 0), L3: max(c.Cache.L3, 0), CacheLines: c.CacheLine}
	if cpu.Name == "" { // arm64 has no name to read, only numbers
		cpu.Name = fmt.Sprintf("%s CPU, model %#x", cmp.Or(c.VendorString, "unknown"), c.Model)
	}
	for _, f := range interesting {
		if c.Supports(f) {
			cpu.Features = append(cpu.Features, f.String())
		}
	}
	if slices.Contains(Supported(), I8MM) { // unknown to cpuid
		cpu.Features = append(cpu.Features, "I8MM")
	}
	return cpu
}

// cores is how many threads the program may run at once, as it was at the start:
// a screen beside the engine may raise GOMAXPROCS to be answered in time.
var cores = runtime.GOMAXPROCS(0)

// DefaultThreads is the number of threads used when none is asked for.
func DefaultThreads() int { return cores }
