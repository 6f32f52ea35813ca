package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/model/chat"
	"nibble/model/tokenizer"
	"nibble/runtime/graph"
)

// Model is a loaded checkpoint, its matrices prepared for the kernels. Float
// matrices stay mapped from the checkpoint, which must outlive the Model.
type Model struct {
	Name     string
	Config   model.Config
	Tok      *tokenizer.Tokenizer // nil if the checkpoint has none
	Template *chat.Template       // nil if the checkpoint has none
	EOS      []int32              // any of them ends a text
	Engine   *kernels.Engine

	linears map[string]*kernels.Linear // by path
	graph   *graph.Graph
	shared  *weights
	check   func(ctx context.Context) error // looks for weights that are not finite
	hash    func() string                   // nil if the weights are not a checkpoint's
	guard   func(func() error) error        // the checkpoint's, which also variants read
}

// Guard runs f, which computes with the model, and reports why the checkpoint's
// files could not be read or that they are not what they were: see
// [model.Checkpoint.Guard].
func (m *Model) Guard(f func() error) error { return m.guard(f) }

// Hash returns the hash of the checkpoint the model runs, which reads all
// weights once; it is empty for a model with matrices of its own, see With.
func (m *Model) Hash() string {
	if m.hash == nil {
		return ""
	}
	return m.hash()
}

// ErrBroken reports a model whose output is not finite.
var ErrBroken = errors.New("the model's output is not finite")

// Diagnose says why a model's output is not finite: an error that names the
// first tensor with such weights ([model.ErrNotFinite]), or ErrBroken alone if
// there is none. It reads all weights.
func (m *Model) Diagnose(ctx context.Context) error {
	if err := m.check(ctx); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w, though its weights are: it overflows", m.Name, ErrBroken)
}

// weights are the parts that every variant of a model shares.
type weights struct {
	vectors map[string][]float32 // all but biases of matrices, by tensor
	biases  map[string][]float32 // by matrix
	ropes   *graph.Ropes
}

// Load prepares a checkpoint. Quantized matrices are repacked; float ones are
// used where they are mapped.
func Load(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint) (*Model, error) {
	return loadWith(ctx, eng, ck, prepare)
}

// LoadFloat is Load with every quantized matrix as the float32 values that its
// codes stand for, four bytes each, so that activations stay floats as well. It
// serves comparisons with other programs.
func LoadFloat(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint) (*Model, error) {
	return loadWith(ctx, eng, ck, prepareFloat)
}

// preparer makes one matrix ready for the kernels.
type preparer func(ck *model.Checkpoint, mod model.Module, arena *kernels.Arena) (*kernels.Linear, error)

func loadWith(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, prepare preparer) (m *Model, err error) {
	err = ck.Guard(func() error {
		m, err = prepareAll(ctx, eng, ck, prepare)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func prepareAll(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, prepare preparer) (*Model, error) {
	m := &Model{Name: ck.Name, Config: ck.Config, Tok: ck.Tokenizer, Template: ck.Template, Engine: eng, hash: ck.Hash, guard: ck.Guard,
		linears: make(map[string]*kernels.Linear),
		shared:  &weights{vectors: make(map[string][]float32), biases: make(map[string][]float32), ropes: new(graph.Ropes)}}
	m.check = func(ctx context.Context) error {
		for _, name := range ck.Names() {
			if err := ck.CheckFinite(ctx, name); err != nil && !errors.Is(err, model.ErrUnsupported) { // codes are not floats
				return err
			}
		}
		return nil
	}
	for _, id := range ck.Generation.EOS {
		m.EOS = append(m.EOS, int32(id))
	}
	if ck.Tokenizer != nil && len(m.EOS) == 0 {
		if id, ok := ck.Tokenizer.EOS(); ok {
			m.EOS = append(m.EOS, id)
		}
	}
	if err := m.loadVectors(ck); err != nil {
		return nil, err
	}
	// The largest first: what is in memory twice at the end, when all else is there,
	// is small.
	modules := ck.Config.Modules()
	slices.SortStableFunc(modules, func(a, b model.Module) int { return cmp.Compare(b.Rows*b.Cols, a.Rows*a.Cols) })
	linears, errs := make([]*kernels.Linear, len(modules)), make([]error, len(modules))
	packed := int64(0)
	for _, mod := range modules {
		if s, ok := ck.Scheme(mod); ok {
			packed += kernels.PackedBytes(mod.Rows, mod.Cols, s)
		}
	}
	arena := kernels.NewArena(packed)
	eng.For(len(modules), func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			if errs[i] = ctx.Err(); errs[i] == nil {
				linears[i], errs[i] = prepare(ck, modules[i], arena)
			}
		}
	})
	for i, mod := range modules {
		if errs[i] != nil {
			return nil, errs[i]
		}
		m.linears[mod.Name] = linears[i]
	}
	m.compile()
	return m, nil
}

// loadVectors reads everything but the matrices that may be quantized.
func (m *Model) loadVectors(ck *model.Checkpoint) error {
	floats := func(name string) ([]float32, error) {
		t, err := ck.Tensor(name)
		if err != nil {
			return nil, err
		}
		return t.Floats(), nil
	}
	for _, v := range ck.Config.Vectors() {
		names := v.Parts
		if names == nil {
			names = []string{v.Tensor}
		}
		var all []float32
		for _, name := range names {
			x, err := floats(name)
			if err != nil {
				return err
			}
			all = append(all, x...)
		}
		m.shared.vectors[v.Tensor] = all
	}
	for _, l := range ck.Config.Linears() {
		if l.Bias != nil {
			x, err := floats(l.Path + ".bias")
			if err != nil {
				return err
			}
			m.shared.biases[l.Path] = x
		}
		if l.Keep {
			t, err := ck.Tensor(l.Path + ".weight")
			if err != nil {
				return err
			}
			if m.linears[l.Path], err = kernels.NewFloatLinear(l.Rows, l.Cols, t.DType, t.Data); err != nil {
				return fmt.Errorf("%s: %s: %w", ck.Ref, l.Path, err)
			}
		}
	}
	return nil
}

// prepare takes a matrix as it is stored. The codes of a quantized one are in
// memory twice only as long as that takes.
func prepare(ck *model.Checkpoint, mod model.Module, arena *kernels.Arena) (l *kernels.Linear, err error) {
	w, err := ck.Weight(mod)
	if err != nil {
		return nil, err
	}
	if w.Q != nil {
		l, err = kernels.NewQuantLinearIn(arena, w.Q)
		ck.ReleaseWeight(mod)
	} else {
		l, err = kernels.NewFloatLinear(mod.Rows, mod.Cols, w.Float.DType, w.Float.Data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", ck.Ref, mod.Name, err)
	}
	return l, nil
}

// prepareFloat takes a quantized matrix as the floats that it stands for.
func prepareFloat(ck *model.Checkpoint, mod model.Module, arena *kernels.Arena) (*kernels.Linear, error) {
	w, err := ck.Weight(mod)
	if err != nil || w.Q == nil {
		return prepare(ck, mod, arena)
	}
	values := kernels.NewMatrix(mod.Rows, mod.Cols)
	for r := range mod.Rows {
		w.Q.DequantRow(values.Row(r), r)
	}
	ck.ReleaseWeight(mod)
	return kernels.NewMatrixLinear(values)
}

// With returns a model that differs in the given matrices and shares all else:
// a trial costs what its own matrices cost. Replacing a tied embedding replaces
// the output head with it.
func (m *Model) With(over map[string]*kernels.Linear) *Model {
	v := *m
	v.hash = nil
	v.linears = maps.Clone(m.linears)
	maps.Copy(v.linears, over)
	v.compile()
	return &v
}

// WithVectors returns a model that differs in the given norms and biases, by
// tensor ("model.norm.weight"), and shares all else.
func (m *Model) WithVectors(over map[string][]float32) *Model {
	if len(over) == 0 {
		return m
	}
	v := *m
	v.hash = nil
	v.shared = &weights{vectors: maps.Clone(m.shared.vectors), biases: maps.Clone(m.shared.biases), ropes: m.shared.ropes}
	for name, x := range over {
		if _, ok := v.shared.vectors[name]; ok {
			v.shared.vectors[name] = x
		} else {
			v.shared.biases[strings.TrimSuffix(name, ".bias")] = x
		}
	}
	v.compile()
	return &v
}

// Linear returns the matrix of a module, nil if there is none.
func (m *Model) Linear(module string) *kernels.Linear { return m.linears[module] }

// Vector returns a tensor that is no matrix, such as a normalization's weights.
// It must not be changed.
func (m *Model) Vector(tensor string) []float32 { return m.shared.vectors[tensor] }

// Bias returns a module's bias, nil if there is none. It must not be changed.
func (m *Model) Bias(module string) []float32 { return m.shared.biases[module] }

// Parts are the model's for another graph of its description: see [graph.Compile].
func (m *Model) Parts() graph.Parts {
	return graph.Parts{
		Weight: func(l *arch.Linear) (graph.Weight, error) { return graph.Weight{Packed: m.linears[l.Path]}, nil },
		Bias:   m.Bias, Vector: m.Vector, Ropes: m.shared.ropes,
	}
}

// compile resolves the names of the description.
func (m *Model) compile() {
	parts, d := m.Parts(), m.Config.Model
	if old := m.graph; old != nil && old.Head.Packed == m.linears[d.Head.Path] { // of the model that this one was made of
		parts.Units = old.Head.Units
	}
	var err error
	if m.graph, err = graph.Compile(m.Engine, d, parts); err != nil {
		panic(err) // all parts are there
	}
}

// Bytes returns the size of the matrices as the kernels read them.
func (m *Model) Bytes() int64 {
	n := int64(0)
	for _, l := range m.linears {
		n += l.Bytes()
	}
	return n
}

// TokenBytes returns the size of the weights that one decoded token reads: all
// but an embedding that is not the head as well, of which it reads a row.
func (m *Model) TokenBytes() int64 {
	n := m.Bytes()
	if e := m.linears[m.Config.Embed.Path]; m.graph.Head.Packed != e {
		n -= e.Bytes()
	}
	return n
}

// Quantized reports whether any matrix is INT4 or INT8.
func (m *Model) Quantized() bool {
	for _, l := range m.linears {
		if l.Quantized() {
			return true
		}
	}
	return false
}

// Shapes lists the quantized products the model runs, for the selector.
func (m *Model) Shapes() []kernels.Shape {
	return Shapes(m.Config.Modules(), m.Engine.Threads(), func(mod model.Module) (kernels.Scheme, bool) {
		return m.linears[mod.Name].Scheme()
	})
}

// Shapes lists the products of modules that are quantized by a scheme: every
// distinct matrix at every batch size it meets.
func Shapes(modules []model.Module, threads int, scheme func(model.Module) (s kernels.Scheme, quantized bool)) []kernels.Shape {
	seen := make(map[kernels.Shape]bool)
	var shapes []kernels.Shape
	for _, mod := range modules {
		all, ok := scheme(mod)
		if !ok {
			continue
		}
		for _, p := range all.Parts(mod.Rows) {
			for _, b := range kernels.MBuckets() {
				s := kernels.Shape{Op: "matmul", Format: p.Scheme.String(), N: p.Rows, K: mod.Cols, M: b, Threads: threads}
				if !seen[s] {
					seen[s] = true
					shapes = append(shapes, s)
				}
			}
		}
	}
	return shapes
}
