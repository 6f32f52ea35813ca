package export

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/output"
)

// Formats lists the values of Options.Format: GGUF, a file, and the layouts of Hugging
// Face directories.
func Formats() []string { return []string{"gguf", "compressed-tensors", "gptq", "awq"} }

// FloatTypes lists the values of Options.Type in directories, for the matrices that a
// layout has no codes for, such as the embedding.
func FloatTypes() []string { return []string{Auto, "f16", "bf16", "f32"} }

var floatTypes = map[string]kernels.DType{Auto: kernels.F16, "f16": kernels.F16, "bf16": kernels.BF16, "f32": kernels.F32}

// directory is the plan of a directory.
type directory struct {
	*Plan
	layout *model.Layout
}

// planDirectory chooses the layout of codes that the checkpoint has, and refuses what it
// has no place for.
func planDirectory(ck *model.Checkpoint, format, typ string) (d directory, err error) {
	as, ok := floatTypes[typ]
	if !ok {
		return d, fmt.Errorf("%s: %w: there is no type %q in such directories (%s are)", ck.Ref, ErrRefused, typ, strings.Join(FloatTypes(), ", "))
	}
	d.Plan = &Plan{Notes: []string{}}
	floats := map[string]kernels.DType{}
	codes, group, version := 0, 0, 1
	for _, m := range ck.Config.Modules() {
		s, ok := ck.Scheme(m)
		switch {
		case !ok:
			d.count(stored(ck, m), int64(m.Rows)*int64(m.Cols))
			continue
		case m.Layer < 0: // readers want floats here
			floats[m.Name] = as
			d.count(as.String(), int64(m.Rows)*int64(m.Cols))
			d.Notes = append(d.Notes, fmt.Sprintf("%s, which is %s, becomes %s: what reads this layout has no codes there", m.Name, s, as))
			continue
		}
		codes++
		if !s.Sym {
			version = 2
		}
		if width := s.GroupWidth(m.Cols); group == 0 || width < group {
			group = width
		}
		d.count(s.String(), int64(m.Rows)*int64(m.Cols))
	}
	if codes == 0 {
		return d, fmt.Errorf("%s: %w: none of its layers has codes, and export does not quantize: run 'nibble quantize' first", ck.Ref, ErrRefused)
	}
	for group > 128 && group%128 == 0 { // which every reader has
		group /= 2
	}
	p := map[string]model.Packing{"compressed-tensors": model.CompressedTensors(), "gptq": model.GPTQ(version), "awq": model.AWQ(max(group, 1))}[format]
	if d.layout, err = model.PlanExport(ck, p, floats); err != nil {
		return d, fmt.Errorf("%s: %w: %w", ck.Ref, ErrRefused, err)
	}
	d.SizeBytes, d.BPW = d.layout.Size, 8*float64(d.layout.TensorBytes())/float64(ck.Params())
	return d, nil
}

// stored is the type in which a matrix of floats is written.
func stored(ck *model.Checkpoint, m model.Module) string {
	dtype, _, _ := ck.Stored(m.Name + ".weight")
	return dtype
}

// runDirectory writes opts.Out as a directory, which takes its name when it is read back and
// compared.
func runDirectory(ctx context.Context, opts Options, listener Listener) (Result, error) {
	start := time.Now()
	d, err := planDirectory(opts.Source, opts.Format, opts.Type)
	if err != nil {
		return Result{}, err
	}
	at := opts.Claim
	if at == nil {
		if at, err = output.Take(opts.Out, output.Directory); err != nil {
			return Result{}, err
		}
		defer at.Release()
	}
	if err := at.Room(d.SizeBytes + opts.Source.CopiedBytes()); err != nil {
		return Result{}, err
	}
	res := Result{Path: opts.Out, Plan: d.Plan}
	err = opts.Source.Guard(func() error {
		w, err := model.CreateAs(at, opts.Source, d.layout)
		if err != nil {
			return err
		}
		defer w.Abort()
		w.Verify = func(dir string) error { return sameValues(ctx, opts.Source, dir, &res, listener) }
		return w.Commit()
	})
	if err != nil {
		return Result{}, err
	}
	res.Exact = res.MaxAbsDiff == 0
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// sameValues opens what was written and holds every value against the source's.
func sameValues(ctx context.Context, src *model.Checkpoint, dir string, res *Result, listener Listener) error {
	back, err := model.Open(dir)
	if err != nil {
		return fmt.Errorf("reading it back: %w", err)
	}
	defer back.Close()
	res.Tensors = len(back.Names())
	modules, total, done := src.Config.Modules(), 4*src.Params(), int64(0)
	for _, m := range modules {
		if err := ctx.Err(); err != nil {
			return err
		}
		want, err := rowsOf(src, m)
		if err != nil {
			return err
		}
		got, err := rowsOf(back, m)
		if err != nil {
			return err
		}
		a, b := make([]float32, m.Cols), make([]float32, m.Cols)
		for r := range m.Rows {
			want(a, r)
			got(b, r)
			res.differ(m.Name, a, b)
		}
		src.ReleaseWeight(m)
		if done += 4 * int64(m.Rows) * int64(m.Cols); listener != nil {
			listener(Progress{"checking", m.Name, done, total})
		}
	}
	for _, d := range src.Config.Floats() {
		a, err := src.Tensor(d.Name)
		if err != nil {
			return err
		}
		b, err := back.Tensor(d.Name)
		if err != nil {
			return err
		}
		if !slices.Equal(a.Shape, b.Shape) {
			return fmt.Errorf("%s: %w: %v instead of %v", d.Name, model.ErrCorrupt, b.Shape, a.Shape)
		}
		res.differ(d.Name, a.Floats(), b.Floats())
	}
	return nil
}

// rowsOf returns what writes a row of a matrix.
func rowsOf(ck *model.Checkpoint, m model.Module) (func(dst []float32, r int), error) {
	w, err := ck.Weight(m)
	if err != nil {
		return nil, err
	}
	if w.Q != nil {
		return w.Q.DequantRow, nil
	}
	return func(dst []float32, r int) {
		kernels.DecodeFloats(dst, w.Float.Data[r*m.Cols*w.Float.DType.Size():], w.Float.DType)
	}, nil
}

// differ keeps the largest difference.
func (r *Result) differ(name string, want, got []float32) {
	for i, v := range want {
		if d := math.Abs(float64(v) - float64(got[i])); d > r.MaxAbsDiff || math.IsNaN(d) {
			r.MaxAbsDiff, r.WorstName = d, name
		}
	}
}
