package model

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unsafe"

	"nibble/kernels"
)

// quantConfig is config.json's quantization_config in the compressed-tensors
// form (https://github.com/vllm-project/compressed-tensors): groups of modules
// that share a scheme.
type quantConfig []quantGroup

type quantGroup struct {
	targets []string         // module names
	regexps []*regexp.Regexp // "re:..." targets, matched from the start of the name
	linear  bool             // the class name "Linear": every matrix but embeddings
	scheme  kernels.Scheme
}

type rawQuantConfig struct {
	Method string                   `json:"quant_method"`
	Format string                   `json:"format"`
	Groups map[string]rawQuantGroup `json:"config_groups"`
	Ignore []string                 `json:"ignore"`
	Status string                   `json:"quantization_status,omitempty"`
}

type rawQuantGroup struct {
	Targets []string    `json:"targets"`
	Weights *rawWeights `json:"weights"`
	Format  string      `json:"format,omitempty"`
	Input   *struct{}   `json:"input_activations"`
	Output  *struct{}   `json:"output_activations"`
}

type rawWeights struct {
	Bits     int    `json:"num_bits"`
	Type     string `json:"type"`
	Sym      bool   `json:"symmetric"`
	Strategy string `json:"strategy"`
	Group    *int   `json:"group_size"`
	Dynamic  bool   `json:"dynamic"`
	ActOrder any    `json:"actorder"`
}

func parseQuantConfig(data json.RawMessage) (quantConfig, error) {
	if isNull(data) {
		return nil, nil
	}
	var raw rawQuantConfig
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if raw.Method != "compressed-tensors" || (raw.Format != "pack-quantized" && raw.Format != "mixed-precision") {
		return nil, fmt.Errorf("%w: method %q, format %q (compressed-tensors pack-quantized is supported)", ErrUnsupported, raw.Method, raw.Format)
	}
	var qc quantConfig
	for name, g := range raw.Groups {
		group, err := parseQuantGroup(g)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		qc = append(qc, group)
	}
	return qc, nil
}

func parseQuantGroup(g rawQuantGroup) (quantGroup, error) {
	w := g.Weights
	if w == nil || w.Type != "int" || w.Dynamic || g.Input != nil || g.Output != nil {
		return quantGroup{}, fmt.Errorf("%w: only integer weights with float activations are", ErrUnsupported)
	}
	if s, isString := w.ActOrder.(string); isString && s != "static" && s != "weight" {
		return quantGroup{}, fmt.Errorf("%w: activation ordering %q needs a group index", ErrUnsupported, s)
	}
	out := quantGroup{scheme: kernels.Scheme{Bits: w.Bits, Sym: w.Sym}}
	switch {
	case w.Strategy == "channel":
	case w.Strategy == "group" && w.Group != nil && *w.Group > 0:
		out.scheme.Group = *w.Group
	default:
		return quantGroup{}, fmt.Errorf("%w: strategy %q (group and channel are supported)", ErrUnsupported, w.Strategy)
	}
	if err := out.scheme.Validate(); err != nil {
		return quantGroup{}, fmt.Errorf("%w: %v", ErrUnsupported, err)
	}
	for _, t := range g.Targets {
		expr, isRegexp := strings.CutPrefix(t, "re:")
		switch {
		case isRegexp:
			re, err := regexp.Compile("^(?:" + expr + ")")
			if err != nil {
				return quantGroup{}, fmt.Errorf("%w: target %q: %v", ErrCorrupt, t, err)
			}
			out.regexps = append(out.regexps, re)
		case t == "Linear":
			out.linear = true
		default:
			out.targets = append(out.targets, t)
		}
	}
	return out, nil
}

// find returns the scheme of a module, by the most specific kind of target.
func (qc quantConfig) find(module string) (kernels.Scheme, bool) {
	for _, g := range qc {
		if slices.Contains(g.targets, module) {
			return g.scheme, true
		}
	}
	for _, g := range qc {
		for _, re := range g.regexps {
			if re.MatchString(module) {
				return g.scheme, true
			}
		}
	}
	for _, g := range qc {
		if g.linear && module != EmbedModule {
			return g.scheme, true
		}
	}
	return kernels.Scheme{}, false
}

// quantWeight reads a packed matrix. Codes stay in the mapped file; scales and
// zero points are small and are converted.
func (c *Checkpoint) quantWeight(m Module) (*kernels.QTensor, error) {
	scheme, ok := c.schemes.find(m.Name)
	if !ok {
		return nil, fmt.Errorf("tensor %s.weight_packed: %w: quantization_config does not mention it", m.Name, ErrCorrupt)
	}
	if _, ok := c.tensors[m.Name+".weight_g_idx"]; ok {
		return nil, fmt.Errorf("tensor %s.weight_g_idx: %w: group indices of activation ordering", m.Name, ErrUnsupported)
	}
	q := &kernels.QTensor{Rows: m.Rows, Cols: m.Cols, Scheme: scheme}
	groups, per := q.Groups(), 32/scheme.Bits
	packed, err := c.ints(m.Name+".weight_packed", m.Rows, (m.Cols+per-1)/per)
	if err != nil {
		return nil, err
	}
	q.Codes = packed
	if q.Scales, err = c.scales(m.Name+".weight_scale", m.Rows, groups); err != nil {
		return nil, err
	}
	if !scheme.Sym {
		zeros, err := c.ints(m.Name+".weight_zero_point", (m.Rows+per-1)/per, groups)
		if err != nil {
			return nil, err
		}
		q.Zeros = unpackZeros(zeros, m.Rows, groups, scheme.Bits)
	}
	if q.Scheme.Top, err = c.topShare(m, scheme); err != nil {
		return nil, err
	}
	if n := q.Scheme.TopCount(m.Rows); n > 0 {
		if q.TopCodes, err = c.ints(m.Name+topPacked, n, (m.Cols+per-1)/per); err != nil {
			return nil, err
		}
		q.TopRows = unpackRows(c.tensors[m.Name+topRows].data)
	}
	if err := q.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", m.Name, ErrCorrupt, err)
	}
	return q, nil
}

// Rows that have eight bits are stored beside the four bits of all rows, which
// other readers of the format see: their further codes, packed alike, and which
// rows they are.
const (
	topPacked = ".weight_top_packed" // I32 [rows with eight bits, as of weight_packed]
	topRows   = ".weight_top_rows"   // I32 [rows with eight bits], ascending
)

// topShare returns the Top of a matrix's scheme, from how many rows are stored with
// eight bits.
func (c *Checkpoint) topShare(m Module, s kernels.Scheme) (int, error) {
	t, ok := c.tensors[m.Name+topRows]
	if !ok {
		return 0, nil
	}
	if t.dtype == "I32" && len(t.shape) == 1 && t.shape[0] > 0 {
		for s.Top = 1; s.Validate() == nil; s.Top++ {
			if s.TopCount(m.Rows) == t.shape[0] {
				return s.Top, nil
			}
		}
	}
	return 0, fmt.Errorf("tensor %s: %w: %s %v are no whole per cent of the %d rows, or their codes do not have 4 bits", m.Name+topRows, ErrCorrupt, t.dtype, t.shape, m.Rows)
}

func unpackRows(data []byte) []int32 {
	var rows []int32
	for ; len(data) >= 4; data = data[4:] {
		rows = append(rows, int32(binary.LittleEndian.Uint32(data)))
	}
	return rows
}

// ints returns the bytes of an I32 matrix.
func (c *Checkpoint) ints(name string, rows, cols int) ([]byte, error) {
	t, ok := c.tensors[name]
	if !ok {
		return nil, fmt.Errorf("tensor %s: %w", name, ErrNotFound)
	}
	if t.dtype != "I32" || !slices.Equal(t.shape, []int{rows, cols}) {
		return nil, fmt.Errorf("tensor %s: %w: it is %s %v, not I32 [%d %d]", name, ErrCorrupt, t.dtype, t.shape, rows, cols)
	}
	return t.data, nil
}

// scales returns a float matrix as F16 bits. Scales of another type must have
// exact F16 values, because the kernels hold F16.
func (c *Checkpoint) scales(name string, rows, groups int) ([]uint16, error) {
	t, err := c.Tensor(name)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(t.Shape, []int{rows, groups}) {
		return nil, fmt.Errorf("tensor %s: %w: it is %v, not [%d %d]", name, ErrCorrupt, t.Shape, rows, groups)
	}
	if t.DType == kernels.F16 && uintptr(unsafe.Pointer(unsafe.SliceData(t.Data)))%2 == 0 {
		return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(t.Data))), rows*groups), nil // as it is mapped
	}
	out := make([]uint16, rows*groups)
	for i, v := range t.Floats() {
		out[i] = kernels.F32ToF16(v)
		if kernels.F16ToF32(out[i]) != v {
			return nil, fmt.Errorf("tensor %s: %w: scale %g has no exact F16 value", name, ErrUnsupported, v)
		}
	}
	return out, nil
}

// unpackZeros spreads zero points, which compressed-tensors packs along the
// rows: row r is field r%per of word [r/per][group].
func unpackZeros(data []byte, rows, groups, bits int) []uint8 {
	per, out := 32/bits, make([]uint8, rows*groups)
	for r := range rows {
		for g := range groups {
			word := binary.LittleEndian.Uint32(data[4*(r/per*groups+g):])
			out[r*groups+g] = uint8(word >> (bits * (r % per)) & (1<<bits - 1))
		}
	}
	return out
}

func packZeros(zeros []uint8, rows, groups, bits int) []byte {
	per := 32 / bits
	out := make([]byte, (rows+per-1)/per*groups*4)
	for r := range rows {
		for g := range groups {
			at := out[4*(r/per*groups+g):]
			word := binary.LittleEndian.Uint32(at) | uint32(zeros[r*groups+g])<<(bits*(r%per))
			binary.LittleEndian.PutUint32(at, word)
		}
	}
	return out
}

// newQuantConfig describes schemes for config.json: one group for each scheme,
// its modules named by regular expressions, the rest of the matrices ignored.
func newQuantConfig(modules []Module, schemes map[string]kernels.Scheme) rawQuantConfig {
	raw := rawQuantConfig{Method: "compressed-tensors", Format: "pack-quantized",
		Status: "compressed", Groups: make(map[string]rawQuantGroup), Ignore: []string{}}
	var order []kernels.Scheme
	targets := make(map[kernels.Scheme][]string)
	for _, m := range modules {
		s, ok := schemes[m.Name]
		if !ok {
			raw.Ignore = append(raw.Ignore, m.Name)
			continue
		}
		if len(targets[s]) == 0 {
			order = append(order, s)
		}
		targets[s] = append(targets[s], "re:"+regexp.QuoteMeta(m.Name)+"$")
	}
	for i, s := range order {
		w := &rawWeights{Bits: s.Bits, Type: "int", Sym: s.Sym, Strategy: "channel"}
		if s.Group > 0 {
			w.Strategy, w.Group = "group", &s.Group
		}
		raw.Groups[fmt.Sprintf("group_%d", i)] = rawQuantGroup{Targets: targets[s], Weights: w, Format: "pack-quantized"}
	}
	return raw
}
