//go:build amd64 && !noasm

package attention

import (
	"nibble/kernels/cpu"
	"nibble/kernels/number"
)

func archHeads(isa cpu.ISA) (ops headOps) {
	ops.scores = tiledScores(number.PerDType[[]scoresTile]{
		number.F32: {{4, scoresF32AVX2x4}, {2, scoresF32AVX2x2}, {1, scoresF32AVX2x1}},
		number.F16: {{4, scoresF16AVX2x4}, {2, scoresF16AVX2x2}, {1, scoresF16AVX2x1}},
	})
	ops.values = tiledValues(number.PerDType[[]valuesTile]{
		number.F32: {{2, valuesF32AVX2x2}, {1, valuesF32AVX2x1}},
		number.F16: {{2, valuesF16AVX2x2}, {1, valuesF16AVX2x1}},
	})
	ops.valuesHeads = tiledValuesHeads(number.PerDType[func(*float32, *float32, int, *byte, int, int, int, int)]{number.F32: valuesHeadsF32AVX2, number.F16: valuesHeadsF16AVX2})
	if isa == cpu.AVX512VNNI || isa == cpu.AMX {
		ops.scores = tiledScores(number.PerDType[[]scoresTile]{
			number.F32: {{8, scoresF32AVX512x8}, {4, scoresF32AVX512x4}, {2, scoresF32AVX512x2}, {1, scoresF32AVX512x1}},
			number.F16: {{8, scoresF16AVX512x8}, {4, scoresF16AVX512x4}, {2, scoresF16AVX512x2}, {1, scoresF16AVX512x1}},
		})
		ops.values = tiledValues(number.PerDType[[]valuesTile]{
			number.F32: {{4, valuesF32AVX512x4}, {2, valuesF32AVX512x2}, {1, valuesF32AVX512x1}},
			number.F16: {{4, valuesF16AVX512x4}, {2, valuesF16AVX512x2}, {1, valuesF16AVX512x1}},
		})
		ops.valuesHeads = tiledValuesHeads(number.PerDType[func(*float32, *float32, int, *byte, int, int, int, int)]{number.F32: valuesHeadsF32AVX512, number.F16: valuesHeadsF16AVX512})
	}
	return ops
}
