package kernels

import "encoding/binary"

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
// costs a third of the memory bandwidth; see RATIONALE.md.
const (
	panelRows = 16
	blockCols = 32
	lineBytes = 64

	scaleBytes = 2 * panelRows // of a group
	zeroBytes  = panelRows
	symSpan    = 2 // groups
	asymSpan   = 4
)

// packed is a quantized matrix ready for the kernels.
type packed struct {
	n, k       int
	scheme     Scheme
	blocks     int // blocks of 32 columns in a row
	perGroup   int // blocks in a full group
	groups     int
	span       int // groups in a span
	headBytes  int // scales and zero points of a span
	panelBytes int
	mem        *memory
}

func (p *packed) panels() int     { return (p.n + panelRows - 1) / panelRows }
func (p *packed) blockBytes() int { return p.scheme.Bits * lineBytes }
func (p *packed) bytes() int64    { return int64(p.panels()) * int64(p.panelBytes) }

// panel is one panel's bytes.
func (p *packed) panel(i int) []byte { return p.mem.bytes[i*p.panelBytes:][:p.panelBytes] }

// blockAt is the place of a block's codes in its panel.
func (p *packed) blockAt(b int) int {
	return (b/(p.span*p.perGroup)+1)*p.headBytes + b*p.blockBytes()
}

// scaleAt is the place of a row's scale in its panel; zeroAt of its zero point.
func (p *packed) scaleAt(r, g int) int {
	return p.spanAt(g) + g%p.span*scaleBytes + 2*(r%panelRows)
}

func (p *packed) zeroAt(r, g int) int {
	return p.spanAt(g) + p.span*scaleBytes + g%p.span*zeroBytes + r%panelRows
}

// spanAt is where the span of a group begins.
func (p *packed) spanAt(g int) int {
	return g / p.span * (p.headBytes + p.span*p.perGroup*p.blockBytes())
}

// scale returns the scale of a row and group.
func (p *packed) scale(r, g int) float32 {
	return p.scheme.decodeScale(binary.LittleEndian.Uint16(p.panel(r / panelRows)[p.scaleAt(r, g):]))
}

// zero returns the zero point of a row and group.
func (p *packed) zero(r, g int) uint8 {
	if p.scheme.Sym {
		return uint8(p.scheme.MidCode())
	}
	return p.panel(r / panelRows)[p.zeroAt(r, g)]
}

// newLayout lays out a matrix without memory for it.
func newLayout(rows, cols int, s Scheme) *packed {
	p := &packed{n: rows, k: cols, scheme: s, groups: s.Groups(cols), span: symSpan, headBytes: symSpan * scaleBytes}
	if !s.Sym {
		p.span, p.headBytes = asymSpan, asymSpan*(scaleBytes+zeroBytes)
	}
	p.blocks = (cols + blockCols - 1) / blockCols
	p.perGroup = (s.GroupWidth(cols) + blockCols - 1) / blockCols
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
	first := panel * panelRows
	rows := min(panelRows, p.n-first)
	rowBytes := q.RowBytes()
	spanBytes := p.span * p.perGroup * blockCols * q.Scheme.Bits / 8 // of a row's codes
	for g := 0; g < p.groups; g += p.span {
		from := g / p.span * spanBytes
		to := min(from+spanBytes, rowBytes)
		scales := dst[p.spanAt(g):]
		zeros := scales[p.span*scaleBytes:]
		codes := scales[p.headBytes:]
		for i := range min(p.span, p.groups-g) {
			packScales(scales[i*scaleBytes:], q.Scales[first*p.groups+g+i:], p.groups, rows)
			if !q.Scheme.Sym {
				for lane := range rows {
					zeros[i*zeroBytes+lane] = q.Zeros[(first+lane)*p.groups+g+i]
				}
			}
		}
		if rows == panelRows && archPackLines(codes, q.Codes[first*rowBytes+from:], rowBytes, (to-from)/4, q.Scheme.Bits) {
			continue
		}
		for lane := range rows {
			row := q.Codes[(first+lane)*rowBytes:][from:to]
			if q.Scheme.Bits == 4 {
				packRow4(codes[4*lane:], row)
			} else {
				packRow8(codes[4*lane:], row)
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

// packRow8 spreads a stretch of a row, which is padded to four bytes, over the
// lines of its panel.
func packRow8(dst, row []byte) {
	for i := 0; i+4 <= len(row); i += 4 {
		binary.LittleEndian.PutUint32(dst[i/4*lineBytes:], binary.LittleEndian.Uint32(row[i:]))
	}
}

// packRow4 does the same for nibbles: of every eight, the first four become the
// low nibbles of a line and the others the high ones. That is the perfect
// shuffle of a word's halves (Warren, "Hacker's Delight", section 7-2), for two
// words at a time.
func packRow4(dst, row []byte) {
	i := 0
	for ; i+8 <= len(row); i += 8 {
		x := shuffleNibbles(binary.LittleEndian.Uint64(row[i:]))
		line := dst[i/4*lineBytes:]
		binary.LittleEndian.PutUint32(line, uint32(x))
		binary.LittleEndian.PutUint32(line[lineBytes:], uint32(x>>32))
	}
	if i+4 <= len(row) {
		x := shuffleNibbles(uint64(binary.LittleEndian.Uint32(row[i:])))
		binary.LittleEndian.PutUint32(dst[i/4*lineBytes:], uint32(x))
	}
}

func shuffleNibbles(x uint64) uint64 {
	t := (x ^ x>>8) & 0x0000ff000000ff00
	x ^= t ^ t<<8
	t = (x ^ x>>4) & 0x00f000f000f000f0
	return x ^ t ^ t<<4
}

// row writes the dequantized values of row r.
func (p *packed) row(dst []float32, r int) {
	panel := p.panel(r / panelRows)
	var values [blockCols]float32
	for b := range p.blocks {
		lines := panel[p.blockAt(b)+4*(r%panelRows):]
		group := b / p.perGroup
		scale, zero := p.scale(r, group), p.zero(r, group)
		for j := range values {
			var code byte
			if p.scheme.Bits == 8 {
				code = lines[j/4*lineBytes+j%4]
			} else {
				code = lines[j/8*lineBytes+j%4] >> (j % 8 / 4 * 4) & 15
			}
			values[j] = float32(p.scheme.Value(code, zero)) * scale
		}
		copy(dst[b*blockCols:p.k], values[:])
	}
}
