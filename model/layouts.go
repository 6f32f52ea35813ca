package model

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"nibble/kernels"
	"nibble/model/gguf"
)

// layout is a way in which Hugging Face directories store a matrix in codes. One reads
// such a matrix if the files hold the tensors that mark it.
type layout struct {
	name  string
	marks []string // endings of tensors of a module, of which the files hold all
	more  []string // of others that belong to it
	read  func(c *Checkpoint, m Module) (*grid, error)
}

// layouts are tried in this order.
var layouts = []layout{
	{"GPTQ or AWQ", []string{".qweight", ".scales"}, []string{".qzeros", ".g_idx"}, (*Checkpoint).readColumns},
	{"bitsandbytes", []string{".weight", ".weight.absmax", ".weight.quant_map"},
		[]string{".weight.nested_absmax", ".weight.nested_quant_map", ".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4"}, (*Checkpoint).readBitsAndBytes},
	{"MLX", []string{".weight", ".scales"}, []string{".biases"}, (*Checkpoint).readMLX},
	{"compressed-tensors", []string{".weight_packed", ".weight_scale"}, []string{".weight_zero_point", ".weight_g_idx", ".weight_global_scale"}, (*Checkpoint).readPacked},
	{"compressed-tensors", []string{".weight", ".weight_scale"}, []string{".weight_zero_point", ".weight_g_idx"}, (*Checkpoint).readUnpacked},
	{"FP8", []string{".weight", ".weight_scale_inv"}, nil, (*Checkpoint).readUnpacked},
}

// layoutSuffixes end the names of all tensors that a module's matrix may be stored as.
var layoutSuffixes = func() []string {
	all := slices.Clone(quantSuffixes)
	for _, l := range layouts {
		all = append(append(all, l.marks...), l.more...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}()

// layoutOf finds the layout that a module's matrix is stored in, nil if it is floats.
func (c *Checkpoint) layoutOf(m Module) *layout {
	for i, l := range layouts {
		if !slices.ContainsFunc(l.marks, func(suffix string) bool { return !c.stored(m.Name + suffix) }) {
			return &layouts[i]
		}
	}
	return nil
}

// words returns an I32 or U32 matrix.
func (c *Checkpoint) words(name string) (data []byte, rows, cols int, err error) {
	t, ok := c.tensors[name]
	if !ok {
		return nil, 0, 0, fmt.Errorf("tensor %s: %w", name, ErrNotFound)
	}
	if t.dtype != "I32" && t.dtype != "U32" || len(t.shape) != 2 || len(t.data) != 4*t.shape[0]*t.shape[1] {
		return nil, 0, 0, fmt.Errorf("tensor %s: %w: it is %s %v, no matrix of 32-bit words", name, ErrCorrupt, t.dtype, t.shape)
	}
	return t.data, t.shape[0], t.shape[1], nil
}

// floatsOf returns a tensor of a shape as float32, which may be stored in a type of 8 bits
// as well.
func (c *Checkpoint) floatsOf(name string, shapes ...[]int) ([]float32, error) {
	t, ok := c.tensors[name]
	if !ok {
		return nil, fmt.Errorf("tensor %s: %w", name, ErrNotFound)
	}
	if !slices.ContainsFunc(shapes, func(s []int) bool { return slices.Equal(s, t.shape) }) {
		return nil, fmt.Errorf("tensor %s: %w: it is %v, not %v", name, ErrCorrupt, t.shape, shapes[0])
	}
	if values := floats8[t.dtype]; values != nil {
		out := make([]float32, len(t.data))
		for i, b := range t.data {
			out[i] = values[b]
		}
		return out, finite(name, out)
	}
	dt, ok := floatDType(t.dtype)
	if !ok {
		return nil, fmt.Errorf("tensor %s: %w: dtype %s", name, ErrUnsupported, t.dtype)
	}
	out := make([]float32, len(t.data)/dt.Size())
	kernels.DecodeFloats(out, t.data, dt)
	return out, finite(name, out)
}

// finite refuses scales that are not.
func finite(name string, values []float32) error {
	for _, v := range values {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return fmt.Errorf("tensor %s: %w: it holds %v", name, ErrNotFinite, v)
		}
	}
	return nil
}

// floats8 are the values of floats of 8 bits.
var floats8 = map[string]*[256]float32{"F8_E4M3": eightBits(4, 3), "F8_E5M2": eightBits(5, 2), "U8": exponents(), "F8_E8M0": exponents()}

// eightBits are floats of a sign, an exponent and a fraction (OCP 8-bit Floating Point
// Specification, 2023), of which E5M2 has infinities.
func eightBits(exponent, fraction int) *[256]float32 {
	var out [256]float32
	bias := 1<<(exponent-1) - 1
	for b := range out {
		e, f := b>>fraction&(1<<exponent-1), float64(b&(1<<fraction-1))/float64(int(1)<<fraction)
		v := math.Ldexp(1+f, e-bias)
		switch {
		case e == 0:
			v = math.Ldexp(f, 1-bias)
		case exponent == 4 && b&0x7f == 0x7f, exponent == 5 && e == 31 && f != 0:
			v = math.NaN()
		case exponent == 5 && e == 31:
			v = math.Inf(1)
		}
		if b >= 128 {
			v = -v
		}
		out[b] = float32(v)
	}
	return &out
}

// exponents are powers of two of 8 bits.
func exponents() *[256]float32 {
	var out [256]float32
	for b := range out {
		out[b] = float32(math.Ldexp(1, b-127))
	}
	out[255] = float32(math.NaN())
	return &out
}

// fp4Values are those of E2M1.
var fp4Values = func() (out [16]float32) {
	for i, v := range gguf.FP4Values {
		out[i] = float32(v)
	}
	return out
}()

// field returns number i of a stream of numbers of some bits, lowest first, in words that
// lie a stride of words apart.
func field(words []byte, at, stride, i, bits int) uint8 {
	bit := i * bits
	v := uint64(binary.LittleEndian.Uint32(words[4*(at+bit/32*stride):])) >> (bit % 32)
	if bit%32+bits > 32 {
		v |= uint64(binary.LittleEndian.Uint32(words[4*(at+(bit/32+1)*stride):])) << (32 - bit%32)
	}
	return uint8(v & (1<<bits - 1))
}

// groupWidth is how many columns share one of n scales, as the config says or as they
// divide.
func (c *Checkpoint) groupWidth(m Module, n int) (int, error) {
	said := c.schemes.columns.group
	switch {
	case n == 1:
		return m.Cols, nil
	case said > 0 && (m.Cols+said-1)/said == n:
		return said, nil
	case n > 0 && m.Cols%n == 0:
		return m.Cols / n, nil
	}
	return 0, fmt.Errorf("%s: %w: %d scales for %d columns", m.Name, ErrCorrupt, n, m.Cols)
}

// readColumns reads GPTQ's layout, words of codes along the inputs, or AWQ's.
func (c *Checkpoint) readColumns(m Module) (*grid, error) {
	if c.schemes.columns.awq {
		return c.readAWQ(m)
	}
	data, n, out, err := c.words(m.Name + ".qweight")
	if err != nil {
		return nil, err
	}
	g := &grid{rows: m.Rows, cols: m.Cols, bits: n * 32 / m.Cols}
	if out != m.Rows || !slices.Contains([]int{2, 3, 4, 8}, g.bits) || n*32 != g.bits*m.Cols {
		return nil, fmt.Errorf("tensor %s.qweight: %w: it is [%d %d], for %d x %d codes", m.Name, ErrCorrupt, n, out, m.Rows, m.Cols)
	}
	g.codes = func(dst []uint8, r int) {
		if g.bits == 4 {
			for i := range n {
				w := binary.LittleEndian.Uint32(data[4*(i*out+r):])
				for j := range 8 {
					dst[8*i+j] = uint8(w >> (4 * j) & 15)
				}
			}
			return
		}
		for i := range dst {
			dst[i] = field(data, r, out, i, g.bits)
		}
	}
	groups := 0
	if t := c.tensors[m.Name+".scales"]; len(t.shape) == 2 {
		groups = t.shape[0]
	}
	if err := c.transposedScales(g, m, groups, groups, m.Rows); err != nil {
		return nil, err
	}
	width := (m.Rows*g.bits + 31) / 32
	zeros, zr, zc, err := c.words(m.Name + ".qzeros")
	if err != nil {
		return nil, err
	}
	if zr != groups || zc != width {
		return nil, fmt.Errorf("tensor %s.qzeros: %w: it is [%d %d], not [%d %d]", m.Name, ErrCorrupt, zr, zc, groups, width)
	}
	g.zeros = make([]int16, m.Rows*groups)
	for r := range m.Rows {
		for k := range groups {
			g.zeros[r*groups+k] = int16(field(zeros, k*width, 1, r, g.bits))
		}
	}
	offset := int16(c.schemes.columns.offset)
	if c.schemes.columns.guess && !slices.ContainsFunc(g.zeros, func(z int16) bool { return z != 1<<(g.bits-1)-1 }) {
		offset = 1
	}
	for i := range g.zeros {
		g.zeros[i] += offset
	}
	return g, c.groupIndex(g, m.Name+".g_idx")
}

// transposedScales reads the scales of a layout that has them groups x outputs, in a
// tensor of rows x cols.
func (c *Checkpoint) transposedScales(g *grid, m Module, groups, rows, cols int) (err error) {
	if groups < 1 {
		return fmt.Errorf("tensor %s.scales: %w: it is no matrix", m.Name, ErrCorrupt)
	}
	if g.group, err = c.groupWidth(m, groups); err != nil {
		return err
	}
	stored, err := c.floatsOf(m.Name+".scales", []int{rows, cols})
	if err != nil {
		return err
	}
	g.scales = make([]float32, m.Rows*groups)
	for r := range m.Rows {
		for k := range groups {
			g.scales[r*groups+k] = stored[k*cols+r]
		}
	}
	return nil
}

// groupIndex takes an index of each column's group, if there is one that says anything.
func (c *Checkpoint) groupIndex(g *grid, name string) error {
	t, ok := c.tensors[name]
	if !ok {
		return nil
	}
	if t.dtype != "I32" || !slices.Equal(t.shape, []int{g.cols}) {
		return fmt.Errorf("tensor %s: %w: it is %s %v, not I32 [%d]", name, ErrCorrupt, t.dtype, t.shape, g.cols)
	}
	index, same, unset := unpackRows(t.data), true, true
	for i, k := range index {
		same, unset = same && int(k) == i/g.group, unset && k == -1
		if (k < 0 || int(k) >= g.groups()) && k != -1 {
			return fmt.Errorf("tensor %s: %w: column %d is in group %d of %d", name, ErrCorrupt, i, k, g.groups())
		}
	}
	if same || unset {
		return nil
	}
	if slices.Contains(index, -1) {
		return fmt.Errorf("tensor %s: %w: some columns are in no group", name, ErrCorrupt)
	}
	g.index = index
	return nil
}

// awqPlace is where in a word the code of each of eight outputs lies.
var awqPlace = [8]int{0, 4, 1, 5, 2, 6, 3, 7}

// readAWQ reads AWQ's layouts: GEMM has words of eight outputs, GEMV of eight inputs.
func (c *Checkpoint) readAWQ(m Module) (*grid, error) {
	data, n, width, err := c.words(m.Name + ".qweight")
	if err != nil {
		return nil, err
	}
	zeros, zr, zc, err := c.words(m.Name + ".qzeros")
	if err != nil {
		return nil, err
	}
	g := &grid{rows: m.Rows, cols: m.Cols, bits: 4}
	shape := c.tensors[m.Name+".scales"].shape
	switch {
	case n == m.Cols && width*8 == m.Rows && !c.schemes.columns.gemv:
		groups := zr
		if err := c.transposedScales(g, m, groups, groups, m.Rows); err != nil {
			return nil, err
		}
		if zc != width {
			return nil, fmt.Errorf("tensor %s.qzeros: %w: it is [%d %d], not [%d %d]", m.Name, ErrCorrupt, zr, zc, groups, width)
		}
		g.codes = func(dst []uint8, r int) {
			at, shift := r/8, 4*awqPlace[r%8]
			for i := range dst {
				dst[i] = uint8(binary.LittleEndian.Uint32(data[4*(i*width+at):]) >> shift & 15)
			}
		}
		g.zeros = make([]int16, m.Rows*groups)
		for r := range m.Rows {
			for k := range groups {
				g.zeros[r*groups+k] = int16(binary.LittleEndian.Uint32(zeros[4*(k*width+r/8):]) >> (4 * awqPlace[r%8]) & 15)
			}
		}
	case n == m.Rows && width*8 == m.Cols && c.schemes.columns.gemv && len(shape) == 2 && zr == m.Rows:
		if g.group = c.schemes.columns.group; g.group < 1 {
			g.group = m.Cols
		}
		groups := g.groups()
		if shape[1] < groups || zc*8 < groups {
			return nil, fmt.Errorf("tensor %s.scales: %w: it is %v, for %d groups", m.Name, ErrCorrupt, shape, groups)
		}
		stored, err := c.floatsOf(m.Name+".scales", []int{m.Rows, shape[1]})
		if err != nil {
			return nil, err
		}
		g.scales, g.zeros = make([]float32, m.Rows*groups), make([]int16, m.Rows*groups)
		for r := range m.Rows {
			copy(g.scales[r*groups:][:groups], stored[r*shape[1]:])
			for k := range groups {
				g.zeros[r*groups+k] = int16(field(zeros, r*zc, 1, k, 4))
			}
		}
		g.codes = func(dst []uint8, r int) {
			for i := range dst {
				dst[i] = field(data, r*width, 1, i, 4)
			}
		}
	default:
		return nil, fmt.Errorf("tensor %s.qweight: %w: it is [%d %d], for %d x %d codes", m.Name, ErrCorrupt, n, width, m.Rows, m.Cols)
	}
	return g, nil
}

// readMLX reads MLX's affine groups: code*scale + bias.
func (c *Checkpoint) readMLX(m Module) (*grid, error) {
	data, rows, width, err := c.words(m.Name + ".weight")
	if err != nil {
		return nil, err
	}
	g := &grid{rows: m.Rows, cols: m.Cols, bits: width * 32 / m.Cols}
	if rows != m.Rows || g.bits < 2 || g.bits > 8 || width*32 != g.bits*m.Cols {
		return nil, fmt.Errorf("tensor %s.weight: %w: it is [%d %d], for %d x %d codes", m.Name, ErrCorrupt, rows, width, m.Rows, m.Cols)
	}
	shape := c.tensors[m.Name+".scales"].shape
	if len(shape) != 2 {
		return nil, fmt.Errorf("tensor %s.scales: %w: it is %v", m.Name, ErrCorrupt, shape)
	}
	if !c.stored(m.Name + ".biases") {
		return nil, fmt.Errorf("%s: %w: MLX's modes other than affine, which have no biases", m.Name, ErrUnsupported)
	}
	if g.group, err = c.groupWidth(m, shape[1]); err != nil {
		return nil, err
	}
	if g.scales, err = c.floatsOf(m.Name+".scales", []int{m.Rows, g.groups()}); err != nil {
		return nil, err
	}
	if g.biases, err = c.floatsOf(m.Name+".biases", []int{m.Rows, g.groups()}); err != nil {
		return nil, err
	}
	g.codes = func(dst []uint8, r int) {
		for i := range dst {
			dst[i] = field(data, r*width, 1, i, g.bits)
		}
	}
	return g, nil
}

// readBitsAndBytes reads codes of 4 bits that stand for a table's values, the first of
// two in the high half of a byte, in blocks that each have a largest magnitude, which
// may be quantized itself.
func (c *Checkpoint) readBitsAndBytes(m Module) (*grid, error) {
	w, name := c.tensors[m.Name+".weight"], m.Name+".weight"
	state := struct {
		Block       int     `json:"blocksize"`
		Shape       []int   `json:"shape"`
		NestedBlock int     `json:"nested_blocksize"`
		Offset      float32 `json:"nested_offset"`
	}{Block: 64, NestedBlock: 256}
	for _, kind := range []string{"nf4", "fp4"} {
		if t, ok := c.tensors[name+".quant_state.bitsandbytes__"+kind]; ok {
			if err := json.Unmarshal(t.data, &state); err != nil {
				return nil, fmt.Errorf("tensor %s.quant_state: %w: %v", name, ErrCorrupt, err)
			}
		}
	}
	n := m.Rows * m.Cols
	if w.dtype != "U8" || len(w.data) != (n+1)/2 || len(state.Shape) > 0 && !slices.Equal(state.Shape, []int{m.Rows, m.Cols}) || state.Block < 1 || state.NestedBlock < 1 {
		return nil, fmt.Errorf("tensor %s: %w: it is %s %v of %v, for %d x %d codes of 4 bits", name, ErrCorrupt, w.dtype, w.shape, state.Shape, m.Rows, m.Cols)
	}
	if m.Cols%state.Block != 0 || m.Cols%2 != 0 {
		return nil, fmt.Errorf("tensor %s: %w: rows of %d are no multiple of the blocks of %d", name, ErrUnsupported, m.Cols, state.Block)
	}
	g := &grid{rows: m.Rows, cols: m.Cols, bits: 4, group: state.Block}
	var err error
	if g.table, err = c.floatsOf(name+".quant_map", []int{16}); err != nil {
		return nil, err
	}
	blocks := n / state.Block
	if t := c.tensors[name+".absmax"]; t.dtype == "U8" {
		nested := (blocks + state.NestedBlock - 1) / state.NestedBlock
		values, err := c.floatsOf(name+".nested_quant_map", []int{256})
		if err != nil {
			return nil, err
		}
		scales, err := c.floatsOf(name+".nested_absmax", []int{nested})
		if err != nil {
			return nil, err
		}
		if len(t.data) != blocks {
			return nil, fmt.Errorf("tensor %s.absmax: %w: it has %d, not %d", name, ErrCorrupt, len(t.data), blocks)
		}
		for i, b := range t.data {
			v := values[b] * scales[i/state.NestedBlock]
			g.scales = append(g.scales, v+state.Offset)
		}
	} else if g.scales, err = c.floatsOf(name+".absmax", []int{blocks}); err != nil {
		return nil, err
	}
	g.codes = func(dst []uint8, r int) {
		for i := range dst {
			dst[i] = w.data[(r*m.Cols+i)/2] >> (4 - 4*(i&1)) & 15
		}
	}
	return g, finite(name+".absmax", g.scales)
}

// readPacked reads compressed-tensors' packed integers and 4-bit floats.
func (c *Checkpoint) readPacked(m Module) (*grid, error) {
	of, ok := c.schemes.find(m)
	if !ok {
		return nil, fmt.Errorf("tensor %s.weight_packed: %w: quantization_config does not mention it", m.Name, ErrCorrupt)
	}
	g := &grid{rows: m.Rows, cols: m.Cols, bits: of.weights.Bits}
	t := c.tensors[m.Name+".weight_packed"]
	if of.weights.Type == "float" {
		if g.bits != 4 || t.dtype != "U8" || m.Cols%2 != 0 || !slices.Equal(t.shape, []int{m.Rows, m.Cols / 2}) {
			return nil, fmt.Errorf("tensor %s.weight_packed: %w: it is %s %v, for %d x %d floats of %d bits", m.Name, ErrCorrupt, t.dtype, t.shape, m.Rows, m.Cols, g.bits)
		}
		g.table = fp4Values[:]
		g.codes = func(dst []uint8, r int) {
			for i := range dst {
				dst[i] = t.data[(r*m.Cols+i)/2] >> (4 * (i & 1)) & 15
			}
		}
	} else {
		per := 32 / g.bits
		width := (m.Cols + per - 1) / per
		data, err := c.ints(m.Name+".weight_packed", m.Rows, width)
		if err != nil {
			return nil, err
		}
		g.codes = func(dst []uint8, r int) {
			for i := range dst {
				w := binary.LittleEndian.Uint32(data[4*(r*width+i/per):])
				dst[i] = uint8(w >> (i % per * g.bits) & (1<<g.bits - 1))
			}
		}
	}
	return g, c.groupScales(g, m, of)
}

// readUnpacked reads a byte for each code, an integer or a float of 8 bits.
func (c *Checkpoint) readUnpacked(m Module) (*grid, error) {
	t := c.tensors[m.Name+".weight"]
	if !slices.Equal(t.shape, []int{m.Rows, m.Cols}) || len(t.data) != m.Rows*m.Cols {
		return nil, fmt.Errorf("tensor %s.weight: %w: it is %s %v, not [%d %d] of a byte each", m.Name, ErrCorrupt, t.dtype, t.shape, m.Rows, m.Cols)
	}
	of, ok := c.schemes.find(m)
	g := &grid{rows: m.Rows, cols: m.Cols, bits: 8}
	if table := floats8[t.dtype]; table != nil && strings.HasPrefix(t.dtype, "F8_E") && t.dtype != "F8_E8M0" {
		g.table = table[:]
		g.codes = func(dst []uint8, r int) { copy(dst, t.data[r*m.Cols:]) }
	} else if t.dtype == "I8" && ok {
		g.bits = of.weights.Bits
		least, most := -1<<(g.bits-1), 1<<(g.bits-1)-1
		for i, b := range t.data {
			if v := int(int8(b)); v < least || v > most {
				return nil, fmt.Errorf("tensor %s.weight: %w: element %d is %d, which %d bits do not hold", m.Name, ErrCorrupt, i, v, g.bits)
			}
		}
		g.codes = func(dst []uint8, r int) {
			for i := range dst {
				dst[i] = t.data[r*m.Cols+i] + 1<<(g.bits-1)
			}
		}
	} else {
		return nil, fmt.Errorf("tensor %s.weight: %w: %s beside scales", m.Name, ErrUnsupported, t.dtype)
	}
	return g, c.groupScales(g, m, of)
}

// groupScales reads the scales, zero points and order of compressed-tensors, and what
// FP8 files have: one scale of all, or of blocks of rows as well.
func (c *Checkpoint) groupScales(g *grid, m Module, of quantGroup) error {
	name := m.Name + ".weight_scale"
	if !c.stored(name) {
		name += "_inv"
	}
	shape := c.tensors[name].shape
	high := 1 // rows that share a scale
	switch {
	case len(shape) == 2 && shape[0] == m.Rows && shape[1] >= 1:
		if n := shape[1]; of.weights.Group != nil && *of.weights.Group > 0 && (m.Cols+*of.weights.Group-1)/(*of.weights.Group) == n {
			g.group = *of.weights.Group
		} else if n == 1 || m.Cols%n == 0 {
			g.group = m.Cols / n
		}
	case len(shape) == 1 && shape[0] == m.Rows && m.Rows > 1:
		g.group = m.Cols
	case len(shape) == 0, len(shape) == 1 && shape[0] == 1, len(shape) == 2 && shape[0] == 1 && shape[1] == 1:
		g.group, high = m.Cols, m.Rows
	case len(shape) == 2 && shape[0] >= 1 && shape[1] >= 1: // blocks of 128 x 128
		if high = 128; (m.Rows+127)/128 == shape[0] && (m.Cols+127)/128 == shape[1] {
			g.group = 128
		}
	}
	if g.group < 1 {
		return fmt.Errorf("tensor %s: %w: it is %v, for %d x %d weights", name, ErrCorrupt, shape, m.Rows, m.Cols)
	}
	stored, err := c.floatsOf(name, shape)
	if err != nil {
		return err
	}
	global := float32(1)
	if c.stored(m.Name + ".weight_global_scale") {
		all, err := c.floatsOf(m.Name+".weight_global_scale", []int{1}, nil)
		if err != nil {
			return err
		}
		if global = all[0]; global == 0 {
			return fmt.Errorf("tensor %s.weight_global_scale: %w: it is 0", m.Name, ErrCorrupt)
		}
	}
	n := g.groups()
	g.scales = make([]float32, m.Rows*n)
	for r := range m.Rows {
		for k := range n {
			g.scales[r*n+k] = stored[r/high*n+k] / global
		}
	}
	if g.table != nil {
		return nil
	}
	zero, bits := m.Name+".weight_zero_point", kernels.Scheme{Bits: g.bits}
	if !of.weights.Sym && c.stored(zero) {
		zeros, err := c.zeros(zero, m.Rows, n, bits)
		if err != nil {
			return err
		}
		for _, z := range zeros {
			g.zeros = append(g.zeros, int16(z))
		}
	} else if of.weights.Sym {
		if err := c.checkNoZeros(zero, m.Rows, n, bits); err != nil {
			return err
		}
	}
	return c.groupIndex(g, m.Name+".weight_g_idx")
}
