package kernels

import (
	"encoding/binary"

	"nibble/kernels/layout"
)

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

// packed is a quantized matrix ready for the kernels.
type packed struct {
	n, k       int
	scheme     Scheme
	codes      codeLayout
	blocks     int // blocks of 32 columns in a row
	perGroup   int // blocks in a full group, 1 if blocks have several
	parts      int // groups in a block, 1 if groups have several
	groups     int
	span       int // groups in a span
	spanBlocks int
	headBytes  int // scales and what else a span begins with
	panelBytes int
	mem        *memory
}

func (p *packed) panels() int     { return (p.n + layout.PanelRows - 1) / layout.PanelRows }
func (p *packed) blockBytes() int { return p.codes.blockBytes() }
func (p *packed) bytes() int64    { return int64(p.panels()) * int64(p.panelBytes) }

// panel is one panel's bytes.
func (p *packed) panel(i int) []byte { return p.mem.bytes[i*p.panelBytes:][:p.panelBytes] }

// blockAt is the place of a block's codes in its panel.
func (p *packed) blockAt(b int) int {
	return (b/p.spanBlocks+1)*p.headBytes + b*p.blockBytes()
}

// groupOf is the group of a part of a block.
func (p *packed) groupOf(block, part int) int { return block*p.parts/p.perGroup + part }

// zeroAt is the place of a row's zero point in its panel.
func (p *packed) zeroAt(r, g int) int {
	return p.spanAt(g) + p.span*layout.ScaleBytes + g%p.span*layout.ZeroBytes + r%layout.PanelRows
}

// spanAt is where the span of a group begins.
func (p *packed) spanAt(g int) int {
	return g / p.span * (p.headBytes + p.spanBlocks*p.blockBytes())
}

// scale returns the scale of a row and group.
func (p *packed) scale(r, g int) float32 { return p.headValue(r, g, 0) }

// least returns the least value of a row and group.
func (p *packed) least(r, g int) float32 { return p.headValue(r, g, 1) }

// headValue returns a scale of a row and group, kind 0, or a least value, 1.
func (p *packed) headValue(r, g, kind int) float32 {
	head, lane := p.panel(r / layout.PanelRows)[p.spanAt(g):], r%layout.PanelRows
	at := kind * p.span * layout.ScaleBytes
	if p.scheme.Super {
		at = kind * layout.ScaleBytes
		sub := head[p.scheme.Format().SubsAt()+(kind*p.span+g%p.span)*layout.SubBytes+lane]
		return p.scheme.decodeScale(binary.LittleEndian.Uint16(head[at+2*lane:])) * float32(int8(sub))
	}
	return p.scheme.decodeScale(binary.LittleEndian.Uint16(head[at+g%p.span*layout.ScaleBytes+2*lane:]))
}

// zero returns the zero point of a row and group.
func (p *packed) zero(r, g int) uint8 {
	if p.scheme.Sym {
		return uint8(p.scheme.MidCode())
	}
	return p.panel(r / layout.PanelRows)[p.zeroAt(r, g)]
}

// newLayout lays out a matrix without memory for it.
func newLayout(rows, cols int, s Scheme) *packed {
	f, width := s.Format(), s.GroupWidth(cols)
	p := &packed{n: rows, k: cols, scheme: s, codes: f.codes, groups: s.Groups(cols)}
	p.span, p.headBytes = f.Span(!s.Sym)
	p.blocks = (cols + layout.BlockCols - 1) / layout.BlockCols
	p.perGroup, p.parts = (width+layout.BlockCols-1)/layout.BlockCols, 1
	if f.Group > 0 {
		p.parts = layout.BlockCols / f.Group
	}
	p.spanBlocks = p.span * p.perGroup / p.parts
	p.panelBytes = p.blockAt(p.blocks-1) + p.blockBytes()
	return p
}

// PackedBytes returns the memory of a quantized matrix once it is packed.
func PackedBytes(rows, cols int, s Scheme) int64 {
	n := int64(0)
	for _, p := range s.Parts(rows) {
		n += newLayout(p.Rows, cols, p.Scheme).bytes()
	}
	return n
}

// pack interleaves a tensor, of rows with eight bits the first four. Rows beyond the
// last are zero with zero scales; columns beyond the last meet activations that are
// zero.
func pack(q *QTensor, in *Arena) (*packed, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	p := newLayout(q.Rows, q.Cols, q.Scheme.base())
	p.mem = in.memory(int(p.bytes()))
	for i := range p.panels() {
		p.packPanel(q, i)
	}
	return p, nil
}

// packPanel fills a panel from its first byte to its last, which memory likes
// best.
func (p *packed) packPanel(q *QTensor, panel int) {
	dst := p.panel(panel)
	first := panel * layout.PanelRows
	rows := min(layout.PanelRows, p.n-first)
	rowBytes := q.RowBytes()
	spanBytes := p.codes.rowBytes(p.spanBlocks * layout.BlockCols) // of a row's codes
	for g := 0; g < p.groups; g += p.span {
		from := g / p.span * spanBytes
		to := min(from+spanBytes, rowBytes)
		p.packHead(q, dst[p.spanAt(g):], first, g, rows)
		codes := dst[p.spanAt(g)+p.headBytes:]
		if rows == layout.PanelRows && p.codes.packLines(codes, q.Codes[first*rowBytes+from:], rowBytes, (to-from)/4) {
			continue
		}
		for lane := range rows {
			p.codes.packRow(codes[4*lane:], q.Codes[(first+lane)*rowBytes:][from:to])
		}
	}
}

// packHead fills what a span begins with, for rows from first on and groups from g on.
func (p *packed) packHead(q *QTensor, head []byte, first, g, rows int) {
	if p.scheme.Super {
		at := first*q.Supers() + g/p.span
		packScales(head, q.Scales[at:], q.Supers(), rows)
		if p.scheme.Mins {
			packScales(head[layout.ScaleBytes:], q.Mins[at:], q.Supers(), rows)
		}
		subs := head[p.scheme.Format().SubsAt():]
		for i := range p.span {
			for lane := range rows {
				at := (first+lane)*p.groups + g + i
				subs[i*layout.SubBytes+lane] = byte(q.SubScales[at])
				if p.scheme.Mins {
					subs[(p.span+i)*layout.SubBytes+lane] = byte(q.SubMins[at])
				}
			}
		}
		return
	}
	after := head[p.span*layout.ScaleBytes:]
	for i := range min(p.span, p.groups-g) {
		packScales(head[i*layout.ScaleBytes:], q.Scales[first*p.groups+g+i:], p.groups, rows)
		if p.scheme.Mins {
			packScales(after[i*layout.ScaleBytes:], q.Mins[first*p.groups+g+i:], p.groups, rows)
		}
		for lane := range rows {
			if !p.scheme.Sym {
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

// row writes the dequantized values of row r.
func (p *packed) row(dst []float32, r int) {
	panel := p.panel(r / layout.PanelRows)
	var values [layout.BlockCols]float32
	for b := range p.blocks {
		lines := panel[p.blockAt(b)+4*(r%layout.PanelRows):]
		n := layout.BlockCols / p.parts
		for part := range p.parts {
			group := p.groupOf(b, part)
			scale, zero := p.scale(r, group), p.zero(r, group)
			for j := part * n; j < (part+1)*n; j++ {
				values[j] = float32(float32(p.scheme.Value(p.codes.packed(lines, j), zero)) * scale)
			}
			if p.scheme.Mins {
				least := p.least(r, group)
				for j := part * n; j < (part+1)*n; j++ {
					values[j] += least
				}
			}
		}
		copy(dst[b*layout.BlockCols:p.k], values[:])
	}
}
