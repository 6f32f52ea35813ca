package export

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/model/gguf"
)

// ErrRefused reports a checkpoint that the format cannot hold as asked.
var ErrRefused = errors.New("cannot be exported")

// Auto keeps every matrix in the type that holds it exactly.
const Auto = "auto"

// Rounded is Auto, with the minimums of Q4_1 rounded to F16 where they must be.
const Rounded = "rounded"

// typeNames are the values of Options.Type, besides Auto and Rounded.
var typeNames = map[string]gguf.Type{"f32": gguf.F32, "f16": gguf.F16, "q8_0": gguf.Q8_0, "q4_0": gguf.Q4_0, "q4_1": gguf.Q4_1}

// Types lists the values of Options.Type.
func Types() []string { return []string{Auto, Rounded, "f32", "f16", "q8_0", "q4_0", "q4_1"} }

// Plan is everything about an export that is known before any work.
type Plan struct {
	SizeBytes int64    `json:"size_bytes"` // of the file, exact
	BPW       float64  `json:"bpw"`        // bits of all tensors over all parameters
	Types     []Share  `json:"types"`      // what the matrices are stored as
	Notes     []string `json:"notes"`

	layout  *gguf.Layout
	tensors []*tensor // in the layout's order
	work    int64     // bytes of all rows, in float32
}

// Share says how many matrices have a type.
type Share struct {
	Type     string `json:"type"`
	Matrices int    `json:"matrices"`
	Params   int64  `json:"params"`
}

// NewPlan works out the file and refuses what GGUF cannot hold. It reads the
// scales and zero points of quantized matrices and no other weights.
func NewPlan(ck *model.Checkpoint, typ string) (*Plan, error) {
	p, err := newPlan(ck, typ)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ck.Ref, ErrRefused, err)
	}
	return p, nil
}

func newPlan(ck *model.Checkpoint, typ string) (*Plan, error) {
	if !slices.Contains(Types(), typ) {
		return nil, fmt.Errorf("there is no type %q", typ)
	}
	file, err := ck.Config.GGUF(ck.Config.Raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", model.ErrUnsupported, err)
	}
	p := &Plan{Notes: []string{}}
	if p.tensors, err = place(ck, file.Sources); err != nil {
		return nil, err
	}
	layout, err := p.types(ck, typ)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(file.Factors)) {
		values := file.Factors[name]
		p.tensors = append(p.tensors, &tensor{name: name, values: values, rows: 1, dims: []uint64{uint64(len(values))}})
		layout = append(layout, gguf.Tensor{Name: name, Type: gguf.F32, Dims: []uint64{uint64(len(values))}})
	}
	form, _, _ := strings.Cut(file.Keys[0].Name, ".")
	kvs := []gguf.KV{{Key: "general.architecture", Value: form}, {Key: "general.name", Value: ck.Name},
		{Key: "general.file_type", Value: p.fileType()}, {Key: "general.quantization_version", Value: uint32(2)}}
	for _, k := range file.Keys {
		kvs = append(kvs, gguf.KV{Key: k.Name, Value: k.Value})
	}
	if err := readsAs(ck, kvs, layout, file.Factors); err != nil {
		return nil, err
	}
	vocab, notes, err := vocabulary(ck)
	if err != nil {
		return nil, err
	}
	p.Notes = append(p.Notes, notes...)
	p.Notes = append(p.Notes, ignored(ck, form)...)
	if p.layout, err = gguf.NewLayout(append(kvs, vocab...), layout); err != nil {
		return nil, err
	}
	bytes := int64(0)
	for _, t := range p.layout.Tensors {
		bytes += t.Size
		p.work += 4 * int64(t.Rows()) * int64(t.Cols())
	}
	p.SizeBytes, p.BPW = p.layout.Size, 8*float64(bytes)/float64(ck.Params())
	return p, nil
}

// readsAs makes sure that a reader of the keys and tensors computes what the checkpoint
// does: what GGUF has no key for is found here.
func readsAs(ck *model.Checkpoint, kvs []gguf.KV, tensors []gguf.Tensor, factors map[string][]float32) error {
	shapes, values := map[string][]int{}, map[string]any{}
	for _, t := range tensors {
		shape := make([]int, len(t.Dims))
		for i, n := range t.Dims {
			shape[len(shape)-1-i] = int(n)
		}
		shapes[t.Name] = shape
	}
	for _, kv := range kvs {
		values[kv.Key] = kv.Value
	}
	g := &arch.GGUF{Values: values, Count: len(tensors), Shape: func(name string) []int { return shapes[name] },
		Floats: func(name string) []float32 { return factors[name] }}
	config, err := g.Config()
	if err != nil {
		return err
	}
	back, err := model.ParseConfig(config, nil)
	if err != nil {
		return fmt.Errorf("%w: what GGUF says of it is no such model: %w", gguf.ErrLayout, err)
	}
	if at := ck.Config.Differs(back.Model); at != "" {
		return fmt.Errorf("%w: the keys of GGUF do not say all that this %s computes (%s differs)", gguf.ErrLayout, ck.Config.Family, strings.TrimPrefix(at, "."))
	}
	return nil
}

// ignored tells what llama.cpp does not do, though the file says it.
func ignored(ck *model.Checkpoint, form string) []string {
	if !slices.Contains([]string{"llama", "phi3", "starcoder2", "qwen2", "qwen3"}, form) {
		return nil
	}
	for i := range ck.Config.Blocks {
		for op := range ck.Config.Blocks[i].Ops() {
			if a, ok := op.(*arch.Attention); ok && a.Window > 0 && a.Window < ck.Config.Positions {
				return []string{fmt.Sprintf("llama.cpp lets tokens of this family see more than the window of %d: what it computes is this model up to so many tokens", a.Window)}
			}
		}
	}
	return nil
}

// types chooses the types of the tensors.
func (p *Plan) types(ck *model.Checkpoint, typ string) ([]gguf.Tensor, error) {
	asked, given := typeNames[typ]
	found := !given || asked.Block() == 1 // floats can be had from everything
	chosen := map[string]gguf.Type{}      // of modules
	for _, m := range ck.Config.Modules() {
		w, err := ck.Weight(m)
		if err != nil {
			return nil, err
		}
		t, err := matrixType(m, w, typ)
		if err == nil {
			err = checkRange(ck, m, w, t)
		}
		if err != nil {
			return nil, err
		}
		found = found || t == asked
		chosen[m.Name] = t
	}
	if !found {
		return nil, fmt.Errorf("none of its matrices has codes for %s, and export does not quantize: run 'nibble quantize' first, or choose --type auto, f16 or f32", asked)
	}
	var out []gguf.Tensor
	for _, t := range p.tensors {
		is, n := t.typ(chosen), int64(1)
		for _, d := range t.dims {
			n *= int64(d)
		}
		if t.pieces[0].module != nil {
			p.count(is.String(), n)
		}
		out = append(out, gguf.Tensor{Name: t.name, Type: is, Dims: t.dims})
	}
	return out, nil
}

// typ is the type of a tensor, whose pieces' matrices have chosen theirs: that of all,
// or F32, which holds any, where they differ or lie across blocks. What is no matrix to
// quantize is F32, as llama.cpp wants it.
func (t *tensor) typ(chosen map[string]gguf.Type) gguf.Type {
	if t.pieces[0].module == nil {
		return gguf.F32
	}
	is := chosen[t.pieces[0].module.Name]
	for _, p := range t.pieces {
		if chosen[p.module.Name] != is || p.part.Transposed && is.Block() > 1 {
			return gguf.F32
		}
		for _, span := range p.columns {
			if span.First%is.Block() != 0 || span.Count%is.Block() != 0 {
				return gguf.F32
			}
		}
	}
	return is
}

func (p *Plan) count(t string, params int64) {
	i := slices.IndexFunc(p.Types, func(s Share) bool { return s.Type == t })
	if i < 0 {
		i = len(p.Types)
		p.Types = append(p.Types, Share{Type: t})
	}
	p.Types[i].Matrices++
	p.Types[i].Params += params
}

// fileType is llama.cpp's number of the type that most weights have.
func (p *Plan) fileType() uint32 {
	most := slices.MaxFunc(p.Types, func(a, b Share) int { return int(a.Params>>10 - b.Params>>10) })
	// fileTypes are llama.cpp's numbers for what most of a file is (LLAMA_FTYPE_* in
	// llama.h).
	fileTypes := map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.Q4_0: 2, gguf.Q4_1: 3, gguf.Q8_0: 7, gguf.Q5_0: 8, gguf.Q5_1: 9, gguf.Q4_K: 15, gguf.Q5_K: 17, gguf.Q6_K: 18,
		gguf.IQ4_NL: 25, gguf.IQ4_XS: 30, gguf.BF16: 32, gguf.MXFP4: 38}
	for t, n := range fileTypes {
		if t.String() == most.Type {
			return n
		}
	}
	return 0
}

// matrixType chooses the type of a matrix, or says why the one asked for does
// not do. A block type that is asked for concerns the matrices of 4 bits, q8_0
// those of 8 as well.
func matrixType(m model.Module, w model.Weight, typ string) (gguf.Type, error) {
	want, given := typeNames[typ]
	if w.Q == nil {
		if given && want.Block() == 1 {
			return want, nil
		}
		return map[kernels.DType]gguf.Type{kernels.F32: gguf.F32, kernels.F16: gguf.F16, kernels.BF16: gguf.BF16}[w.Float.DType], nil
	}
	_, is := gguf.OwnType(w.Q.Scheme)
	switch s := w.Q.Scheme; {
	case given && want.Block() == 1:
		return want, nil
	case !given, is, s.Bits == 8, s.Top > 0: // no other type of blocks holds the last three, whatever is asked for
		want = gguf.UsualType(s)
	}
	if err := gguf.CheckScheme(w.Q.Scheme, w.Q.Cols, want); err != nil {
		return 0, fmt.Errorf("%s: %w; keep this matrix as stored in the recipe, or choose --type f32", m.Name, err)
	}
	if want == gguf.Q4_1 && !is && typ == Auto {
		if n := inexactMins(w.Q); n > 0 {
			return 0, fmt.Errorf("%s: the minimums of %d of its %d groups have no exact F16 value, so that Q4_1 would move their weights by up to 0.8 %% of a step: --type rounded accepts that and reports the difference, --type q8_0 is exact and larger",
				m.Name, n, len(w.Q.Scales))
		}
	}
	return want, nil
}

// inexactMins counts the groups that Q4_1 does not hold exactly.
func inexactMins(q *kernels.QTensor) int {
	n := 0
	for i, s := range q.Scales {
		zero := uint8(q.Scheme.MidCode())
		if q.Zeros != nil {
			zero = q.Zeros[i]
		}
		if _, exact := gguf.ExactMin(zero, s); !exact {
			n++
		}
	}
	return n
}
