package format

import (
	"encoding/binary"

	"nibble/kernels/layout"
	"nibble/kernels/memory"
)

// UnpackBlock spreads what the codes of one block stand for, column by column.
func (p *Packed) UnpackBlock(values *[layout.BlockCols][layout.PanelRows]int32, panel, block int) {
	var zeros [layout.PanelRows]uint8
	for lane := range zeros {
		zeros[lane] = p.zero(panel*layout.PanelRows+lane, p.GroupOf(block, 0))
	}
	src := p.Panel(panel)[p.blockAt(block):][:p.blockBytes()]
	for c := range values {
		for lane := range values[c] {
			values[c][lane] = int32(p.Scheme.Value(p.Format.codes.packed(src[4*lane:], c), zeros[lane]))
		}
	}
}

// The packed layout, one for every tier.
//
// Rows are interleaved in panels of 16, columns are cut into blocks of 32. A
// 64-byte line holds four bytes of each of the panel's rows, so one 512-bit
// load (or two of 256, or four of 128) feeds a dot-product instruction with 16
// rows while the activations are a 4-byte broadcast:
//
//	4 bits: line j of a block: low nibbles = columns 8j..8j+3,
//	        high nibbles = columns 8j+4..8j+7      (4 lines a block)
//	8 bits: line j of a block: columns 4j..4j+3    (8 lines a block)
//
// The groups of a panel come in spans: first the scales of the span, F16, and
// unless the scheme is symmetric its zero points, 16 wide per group, then the
// codes. A span has as many groups as fill these lines, 2 or, with zero points,
// 4, so that a panel is one sequential stream in which every load of codes is
// aligned to a cache line. A second stream, as scales of their own would be,
// costs a third of the memory bandwidth; see RATIONALE.md. Package layout has the
// numbers.

// Packed is a quantized matrix ready for the kernels.
type Packed struct {
	N, K       int
	Scheme     Scheme
	Format     *Format
	Blocks     int // blocks of 32 columns in a row
	PerGroup   int // blocks in a full group, 1 if blocks have several
	Parts      int // groups in a block, 1 if groups have several
	groups     int
	Span       int // groups in a span
	spanBlocks int
	headBytes  int // scales and what else a span begins with
	PanelBytes int
	Memory     *memory.Block
}

// Panels is how many panels the rows are in.
func (p *Packed) Panels() int { return (p.N + layout.PanelRows - 1) / layout.PanelRows }

func (p *Packed) blockBytes() int { return p.Format.codes.blockBytes() }

// Bytes is the size of all panels.
func (p *Packed) Bytes() int64 { return int64(p.Panels()) * int64(p.PanelBytes) }

// Panel is one panel's bytes.
func (p *Packed) Panel(i int) []byte { return p.Memory.Bytes[i*p.PanelBytes:][:p.PanelBytes] }

// blockAt is the place of a block's codes in its panel.
func (p *Packed) blockAt(b int) int {
	return (b/p.spanBlocks+1)*p.headBytes + b*p.blockBytes()
}

// GroupOf is the group of a part of a block.
func (p *Packed) GroupOf(block, part int) int { return block*p.Parts/p.PerGroup + part }

// zeroAt is the place of a row's zero point in its panel.
func (p *Packed) zeroAt(r, g int) int {
	return p.SpanAt(g) + p.Span*layout.ScaleBytes + g%p.Span*layout.ZeroBytes + r%layout.PanelRows
}

// SpanAt is where the span of a group begins.
func (p *Packed) SpanAt(g int) int {
	return g / p.Span * (p.headBytes + p.spanBlocks*p.blockBytes())
}

// Scale returns the scale of a row and group.
func (p *Packed) Scale(r, g int) float32 { return p.headValue(r, g, 0) }

// Least returns the least value of a row and group.
func (p *Packed) Least(r, g int) float32 { return p.headValue(r, g, 1) }

// headValue returns a scale of a row and group, kind 0, or a least value, 1.
func (p *Packed) headValue(r, g, kind int) float32 {
	head, lane := p.Panel(r / layout.PanelRows)[p.SpanAt(g):], r%layout.PanelRows
	at := kind * p.Span * layout.ScaleBytes
	if p.Scheme.Super {
		at = kind * layout.ScaleBytes
		sub := head[p.Format.SubsAt()+(kind*p.Span+g%p.Span)*layout.SubBytes+lane]
		return p.Scheme.decodeScale(binary.LittleEndian.Uint16(head[at+2*lane:])) * float32(int8(sub))
	}
	return p.Scheme.decodeScale(binary.LittleEndian.Uint16(head[at+g%p.Span*layout.ScaleBytes+2*lane:]))
}

// zero returns the zero point of a row and group.
func (p *Packed) zero(r, g int) uint8 {
	if p.Scheme.Sym {
		return uint8(p.Scheme.MidCode())
	}
	return p.Panel(r / layout.PanelRows)[p.zeroAt(r, g)]
}

// NewLayout lays out a matrix without memory for it.
func NewLayout(rows, cols int, s Scheme) *Packed {
	f, width := s.Format(), s.GroupWidth(cols)
	p := &Packed{N: rows, K: cols, Scheme: s, Format: f, groups: s.Groups(cols)}
	p.Span, p.headBytes = f.Span(!s.Sym)
	p.Blocks = (cols + layout.BlockCols - 1) / layout.BlockCols
	p.PerGroup, p.Parts = (width+layout.BlockCols-1)/layout.BlockCols, 1
	if f.Group > 0 {
		p.Parts = layout.BlockCols / f.Group
	}
	p.spanBlocks = p.Span * p.PerGroup / p.Parts
	p.PanelBytes = p.blockAt(p.Blocks-1) + p.blockBytes()
	return p
}

// PackedBytes returns the memory of a quantized matrix once it is packed.
func PackedBytes(rows, cols int, s Scheme) int64 {
	n := int64(0)
	for _, p := range s.Parts(rows) {
		n += NewLayout(p.Rows, cols, p.Scheme).Bytes()
	}
	return n
}

// Pack interleaves a tensor, of rows with eight bits the first four. Rows beyond the
// last are zero with zero scales; columns beyond the last meet activations that are
// zero.
func Pack(q *QTensor, in *memory.Arena) (*Packed, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	p := NewLayout(q.Rows, q.Cols, q.Scheme.base())
	p.Memory = in.Take(int(p.Bytes()))
	for i := range p.Panels() {
		p.packPanel(q, i)
	}
	return p, nil
}

// packPanel fills a panel from its first byte to its last, which memory likes
// best.
func (p *Packed) packPanel(q *QTensor, panel int) {
	dst := p.Panel(panel)
	first := panel * layout.PanelRows
	rows := min(layout.PanelRows, p.N-first)
	rowBytes := q.RowBytes()
	spanBytes := p.Format.codes.rowBytes(p.spanBlocks * layout.BlockCols) // of a row's codes
	for g := 0; g < p.groups; g += p.Span {
		from := g / p.Span * spanBytes
		to := min(from+spanBytes, rowBytes)
		p.packHead(q, dst[p.SpanAt(g):], first, g, rows)
		codes := dst[p.SpanAt(g)+p.headBytes:]
		if rows == layout.PanelRows && p.Format.codes.packLines(codes, q.Codes[first*rowBytes+from:], rowBytes, (to-from)/4) {
			continue
		}
		for lane := range rows {
			p.Format.codes.packRow(codes[4*lane:], q.Codes[(first+lane)*rowBytes:][from:to])
		}
	}
}

// packHead fills what a span begins with, for rows from first on and groups from g on.
func (p *Packed) packHead(q *QTensor, head []byte, first, g, rows int) {
	if p.Scheme.Super {
		at := first*q.Supers() + g/p.Span
		packScales(head, q.Scales[at:], q.Supers(), rows)
		if p.Scheme.Mins {
			packScales(head[layout.ScaleBytes:], q.Mins[at:], q.Supers(), rows)
		}
		subs := head[p.Format.SubsAt():]
		for i := range p.Span {
			for lane := range rows {
				at := (first+lane)*p.groups + g + i
				subs[i*layout.SubBytes+lane] = byte(q.SubScales[at])
				if p.Scheme.Mins {
					subs[(p.Span+i)*layout.SubBytes+lane] = byte(q.SubMins[at])
				}
			}
		}
		return
	}
	after := head[p.Span*layout.ScaleBytes:]
	for i := range min(p.Span, p.groups-g) {
		packScales(head[i*layout.ScaleBytes:], q.Scales[first*p.groups+g+i:], p.groups, rows)
		if p.Scheme.Mins {
			packScales(after[i*layout.ScaleBytes:], q.Mins[first*p.groups+g+i:], p.groups, rows)
		}
		for lane := range rows {
			if !p.Scheme.Sym {
				after[i*layout.ZeroBytes+lane] = q.Zeros[(first+lane)*p.groups+g+i]
			}
		}
	}
}

// packScales stores those of rows, groups apart in src, side by side.
func packScales(dst []byte, src []uint16, groups, rows int) {
	lane := 0
	for ; lane+4 <= rows; lane += 4 {
		at := src[lane*groups : (lane+3)*groups+1]
		binary.LittleEndian.PutUint64(dst[2*lane:],
			uint64(at[0])|uint64(at[groups])<<16|uint64(at[2*groups])<<32|uint64(at[3*groups])<<48)
	}
	for ; lane < rows; lane++ {
		binary.LittleEndian.PutUint16(dst[2*lane:], src[lane*groups])
	}
}

// Row writes the dequantized values of row r.
func (p *Packed) Row(dst []float32, r int) {
	panel := p.Panel(r / layout.PanelRows)
	var values [layout.BlockCols]float32
	for b := range p.Blocks {
		lines := panel[p.blockAt(b)+4*(r%layout.PanelRows):]
		n := layout.BlockCols / p.Parts
		for part := range p.Parts {
			group := p.GroupOf(b, part)
			scale, zero := p.Scale(r, group), p.zero(r, group)
			for j := part * n; j < (part+1)*n; j++ {
				values[j] = float32(float32(p.Scheme.Value(p.Format.codes.packed(lines, j), zero)) * scale)
			}
			if p.Scheme.Mins {
				least := p.Least(r, group)
				for j := part * n; j < (part+1)*n; j++ {
					values[j] += least
				}
			}
		}
		copy(dst[b*layout.BlockCols:p.K], values[:])
	}
}
