package export

import (
	"errors"
	"fmt"
	"slices"

	"nibble/kernels"
	"nibble/model"
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
	sources []source
	work    int64 // bytes of all rows, in float32
}

// Share says how many matrices have a type.
type Share struct {
	Type     string `json:"type"`
	Matrices int    `json:"matrices"`
	Params   int64  `json:"params"`
}

// source is where a tensor's rows come from: a quantized matrix, values held
// here, or the float tensor of the checkpoint that has the name.
type source struct {
	name    string // in the checkpoint
	q       *model.Module
	values  []float32
	headDim int // rows are reordered within heads of this many rows; 0: not
}

// NewPlan works out the file and refuses what GGUF cannot hold. It reads the
// scales and zero points of quantized matrices and no other weights.
func NewPlan(ck *model.Checkpoint, typ string) (*Plan, error) {
	if !slices.Contains(Types(), typ) {
		return nil, fmt.Errorf("%s: %w: there is no type %q", ck.Ref, ErrRefused, typ)
	}
	p := &Plan{Notes: []string{}}
	as, err := llamaOf(ck.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ck.Ref, ErrRefused, err)
	}
	tensors, err := p.tensors(ck, as, typ)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ck.Ref, ErrRefused, err)
	}
	kvs := []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: "general.name", Value: ck.Name},
		{Key: "general.file_type", Value: p.fileType()}, {Key: "general.quantization_version", Value: uint32(2)}}
	kvs = append(kvs, as.hyperparameters(ck.Config)...)
	vocab, notes, err := vocabulary(ck)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ck.Ref, ErrRefused, err)
	}
	p.Notes = append(p.Notes, notes...)
	if p.layout, err = gguf.NewLayout(append(kvs, vocab...), tensors); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ck.Ref, ErrRefused, err)
	}
	bytes := int64(0)
	for _, t := range p.layout.Tensors {
		bytes += t.Size
		p.work += 4 * int64(t.Rows()) * int64(t.Cols())
	}
	p.SizeBytes, p.BPW = p.layout.Size, 8*float64(bytes)/float64(ck.Params())
	return p, nil
}

// tensors lists the file's tensors, fills in p.sources to match and counts types.
func (p *Plan) tensors(ck *model.Checkpoint, as llama, typ string) ([]gguf.Tensor, error) {
	var out []gguf.Tensor
	add := func(name string, t gguf.Type, s source, dims ...uint64) {
		out, p.sources = append(out, gguf.Tensor{Name: name, Type: t, Dims: dims}), append(p.sources, s)
	}
	asked, given := typeNames[typ]
	found := !given || asked.Block() == 1 // floats can be had from everything
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
		p.count(t, int64(m.Rows)*int64(m.Cols))
		s := source{name: m.Name + ".weight"}
		if w.Q != nil {
			s.q = &m
		}
		if m.Kind == "q" || m.Kind == "k" {
			s.headDim = as.attention.HeadDim
		}
		add(moduleName(m)+".weight", t, s, uint64(m.Cols), uint64(m.Rows))
		if m.Linear.Bias != nil {
			values, err := bias(ck, m.Name+".bias", s.headDim)
			if err != nil {
				return nil, err
			}
			add(moduleName(m)+".bias", gguf.F32, source{name: m.Name + ".bias", values: values}, uint64(m.Rows))
		}
	}
	if !found {
		return nil, fmt.Errorf("none of its matrices has codes for %s, and export does not quantize: run 'nibble quantize' first, or choose --type auto, f16 or f32", asked)
	}
	for _, v := range ck.Config.Vectors() {
		values, err := vector(ck, v.Tensor)
		if err != nil {
			return nil, err
		}
		add(normName(v.Tensor), gguf.F32, source{name: v.Tensor, values: values}, uint64(len(values)))
	}
	if f := as.ropeFactors(); f != nil {
		add("rope_freqs.weight", gguf.F32, source{name: "rope_scaling", values: f}, uint64(len(f)))
	}
	return out, nil
}

// bias decodes a bias, whose elements go with the rows of its matrix.
func bias(ck *model.Checkpoint, name string, headDim int) ([]float32, error) {
	values, err := vector(ck, name)
	if err != nil || headDim == 0 {
		return values, err
	}
	ordered := make([]float32, len(values))
	for i := range ordered {
		ordered[i] = values[pairedRow(i, headDim)]
	}
	return ordered, nil
}

// vector decodes a small float tensor.
func vector(ck *model.Checkpoint, name string) ([]float32, error) {
	t, err := ck.Tensor(name)
	if err != nil {
		return nil, err
	}
	return t.Floats(), nil
}

func (p *Plan) count(t gguf.Type, params int64) {
	i := slices.IndexFunc(p.Types, func(s Share) bool { return s.Type == t.String() })
	if i < 0 {
		i = len(p.Types)
		p.Types = append(p.Types, Share{Type: t.String()})
	}
	p.Types[i].Matrices++
	p.Types[i].Params += params
}

// fileType is llama.cpp's number of the type that most weights have.
func (p *Plan) fileType() uint32 {
	most := slices.MaxFunc(p.Types, func(a, b Share) int { return int(a.Params>>10 - b.Params>>10) })
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
	switch s := w.Q.Scheme; {
	case given && want.Block() == 1:
		return want, nil
	case s.Bits == 8 || s.Top > 0: // no 4-bit type holds it, whatever is asked for
		want = gguf.Q8_0
	case given:
	case s.Sym:
		want = gguf.Q4_0
	default:
		want = gguf.Q4_1
	}
	if err := gguf.CheckScheme(w.Q.Scheme, w.Q.Cols, want); err != nil {
		return 0, fmt.Errorf("%s: %w; keep this matrix as stored in the recipe, or choose --type f32", m.Name, err)
	}
	if want == gguf.Q4_1 && typ == Auto {
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
