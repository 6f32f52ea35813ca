package layout

// Format is how matrices of a storage format lie in panels.
type Format struct {
	Name  string
	Bits  int       // of a code
	Table *[16]int8 // what codes of four bits stand for; nil: even steps
	Scale ScaleType // of a group
	Mins  bool      // groups have a least value, of the type of their scales, that adds to each of theirs
	Group int       // columns of a group, a block or half of one; 0: any number of blocks
	Zeros bool      // matrices may have zero points
}

// ScaleType is how the scale of a group is stored.
type ScaleType int

// The types of scales.
const (
	F16Scale   ScaleType = iota
	BF16Scale            // the upper half of a float32
	SuperScale           // a signed byte, which is multiplied by an F16 of SuperCols columns
)

// SuperCols is how many columns share the scale of scales.
const SuperCols = 256

// What table codes stand for: the values of GGUF's IQ4_NL, and twice those of E2M1
// floats.
var (
	NonLinear = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	Floats    = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// Formats lists the formats.
var Formats = []Format{
	{Name: "w4", Bits: 4, Zeros: true},
	{Name: "w8", Bits: 8, Zeros: true},
	{Name: "nl4", Bits: 4, Table: &NonLinear, Group: 32},
	{Name: "mxfp4", Bits: 4, Table: &Floats, Scale: BF16Scale, Group: 32},
	{Name: "q4_1", Bits: 4, Mins: true, Group: 32},
	{Name: "q5_0", Bits: 5, Group: 32},
	{Name: "q5_1", Bits: 5, Mins: true, Group: 32},
	{Name: "q4_k", Bits: 4, Scale: SuperScale, Mins: true, Group: 32},
	{Name: "q5_k", Bits: 5, Scale: SuperScale, Mins: true, Group: 32},
	{Name: "q6_k", Bits: 6, Scale: SuperScale, Group: 16},
	{Name: "iq4_xs", Bits: 4, Table: &NonLinear, Scale: SuperScale, Group: 32},
}

// Lines is the lines of a block of codes. Codes of four bits lie as nibbles: line j has
// columns 8j to 8j+3 in its low nibbles and the next four in the high ones; those of
// eight as bytes. Of five and six bits the lower four lie as nibbles, and lines follow
// them with the fifth bits, bit j for columns 4j to 4j+3, or with the upper two, the
// first line for half of the columns, bits 2j and 2j+1 for four of them.
func (f Format) Lines() int { return f.Bits }

// SubBytes is the bytes of a group's scales that are multiplied by another.
const SubBytes = PanelRows

// Span is the groups of a span, of matrices that have zero points or not, and the bytes
// in front of its codes.
//
// These are the scales of its groups, then their zero points or least values; or, with
// SuperScale, the F16 of the rows and, if there are any, those that least values are
// multiplied by, then the scales of the groups, then their least values. They fill
// whole lines.
func (f Format) Span(zeros bool) (groups, head int) {
	switch {
	case f.Scale == SuperScale:
		groups = SuperCols / f.Group
		head = ScaleBytes + groups*SubBytes
		if f.Mins {
			head *= 2
		}
		return groups, (head + LineBytes - 1) / LineBytes * LineBytes
	case f.Mins:
		return 1, 2 * ScaleBytes
	case zeros:
		return AsymSpan, AsymSpan * (ScaleBytes + ZeroBytes)
	}
	return SymSpan, SymSpan * ScaleBytes
}

// SubsAt is where in the head of a span the scales of groups begin that another
// multiplies.
func (f Format) SubsAt() int {
	if f.Mins {
		return 2 * ScaleBytes
	}
	return ScaleBytes
}
