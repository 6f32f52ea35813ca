//go:build arm64 && !noasm

package attention

import (
	"nibble/kernels/cpu"
	"nibble/kernels/number"
)

func archHeads(cpu.ISA) (ops headOps) {
	ops.scores = tiledScores(number.PerDType[[]scoresTile]{
		number.F32: {{4, scoresF32NEONx4}, {2, scoresF32NEONx2}, {1, scoresF32NEONx1}},
		number.F16: {{4, scoresF16NEONx4}, {2, scoresF16NEONx2}, {1, scoresF16NEONx1}},
	})
	ops.values = tiledValues(number.PerDType[[]valuesTile]{
		number.F32: {{4, valuesF32NEONx4}, {2, valuesF32NEONx2}, {1, valuesF32NEONx1}},
		number.F16: {{4, valuesF16NEONx4}, {2, valuesF16NEONx2}, {1, valuesF16NEONx1}},
	})
	ops.valuesHeads = headByHead(ops.values)
	return ops
}
