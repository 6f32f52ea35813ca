package table

import (
	"fmt"
	"strings"

	"nibble/kernels/layout"
)

// Format is a storage format whose matrices have zero points or not.
type Format struct {
	layout.Format
	WithZeros bool
}

// Formats lists what kernels are generated for.
func Formats() (all []Format) {
	for _, f := range layout.Formats {
		all = append(all, Format{f, false})
		if f.Zeros {
			all = append(all, Format{f, true})
		}
	}
	return all
}

// ID names the format in the names of functions.
func (f Format) ID() string {
	switch {
	case f.WithZeros:
		return fmt.Sprint(f.Bits, "asym")
	case f.Zeros:
		return fmt.Sprint(f.Bits, "sym")
	}
	return strings.ToUpper(strings.ReplaceAll(f.Name, "_", ""))
}

// Describe says what codes the functions take.
func (f Format) Describe() string {
	if f.Zeros {
		return fmt.Sprintf("%d-bit %smetric codes", f.Bits, map[bool]string{true: "asym", false: "sym"}[f.WithZeros])
	}
	return f.Name + " codes"
}

// Parts is how many groups a block has whose groups are no larger: halves of it have
// dot products of their own.
func (f Format) Parts() int {
	if f.Group > 0 {
		return layout.BlockCols / f.Group
	}
	return 1
}

// SpanBlocks is the blocks of a span whose groups are no larger.
func (f Format) SpanBlocks() int {
	groups, _ := f.Span(f.WithZeros)
	return groups / f.Parts()
}

// Head is the bytes in front of a span's codes.
func (f Format) Head() int {
	_, head := f.Span(f.WithZeros)
	return head
}

// ScaleStep is how far apart the scales of two blocks are, whose groups are no larger.
func (f Format) ScaleStep() int {
	if f.Scale == layout.SuperScale {
		return f.Parts() * layout.SubBytes
	}
	return layout.ScaleBytes
}

// High is how many bits of a code lie apart from its nibble.
func (f Format) High() int {
	if f.Bits == 8 {
		return 0
	}
	return f.Bits - 4
}

// Where the sum of a block starts that is to have no zero point in it.
const (
	StartNowhere = -1 // at zero
	StartBeside  = -2 // at what stands beside the activations, for each half
)

// Start is where in a block of activations the sum of a product without zero points
// begins: at minus what a code has too much, times the sum of the activations.
func (f Format) Start() int {
	switch {
	case f.Mins:
		return StartNowhere
	case f.Parts() > 1:
		return StartBeside
	case f.Bits == 8, f.Table != nil:
		return layout.ActNegSum128
	}
	return layout.ActNegSum8
}

// StartTwice tells that sums start at twice what is there.
func (f Format) StartTwice() bool { return f.Start() == layout.ActNegSum8 && f.Bits == 5 }

// SideStep is the bytes that stand beside a block of activations, for a token: the
// float32 that meets least values, or for each half of it an int32 where sums start.
func (f Format) SideStep() int {
	switch {
	case f.Start() == StartBeside:
		return 4 * f.Parts()
	case f.Mins:
		return 4
	}
	return 0
}

// HighLine is the line that has the high bits of vector j.
func (f Format) HighLine(j int) int {
	if f.High() == 2 {
		return 4 + j/4
	}
	return 4
}

// MinsApart is how far behind the scales of a group its least values are.
func (f Format) MinsApart() int {
	if f.Scale == layout.SuperScale {
		groups, _ := f.Span(f.WithZeros)
		return groups * layout.SubBytes
	}
	return layout.ScaleBytes
}
