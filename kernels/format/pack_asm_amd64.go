//go:build amd64 && !noasm

package format

import (
	"nibble/kernels/cpu"
	"nibble/kernels/layout"
)

// archPackNibbles interleaves lines of 16 rows of 4-bit codes, rowBytes apart in src,
// or reports that it cannot; archPackBytes does so with 8-bit codes.
func archPackNibbles(dst, src []byte, rowBytes, lines int) bool {
	return packLinesBy(packLines4AVX2, dst, src, rowBytes, lines)
}

func archPackBytes(dst, src []byte, rowBytes, lines int) bool {
	return packLinesBy(packLines8AVX2, dst, src, rowBytes, lines)
}

func packLinesBy(asm func(dst, src *byte, stride, lines int), dst, src []byte, rowBytes, lines int) bool {
	if lines == 0 || rowBytes >= 1<<27 || len(cpu.Supported()) == 1 {
		return false
	}
	_, _ = dst[lines*layout.LineBytes-1], src[(layout.PanelRows-1)*rowBytes+4*lines-1]
	asm(&dst[0], &src[0], rowBytes, lines)
	return true
}
