package workbench

import (
	"fmt"
	"nibble/model/hub"
	"nibble/model/store"
	rt "nibble/runtime"

	"context"
	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	"nibble/ui/job"
	"nibble/ui/term"
)

// downloads shows the download of a model.
func (b *backend) downloads(eta *term.ETA) hub.Listener {
	return func(e hub.Event) {
		switch e := e.(type) {
		case hub.Progress:
			b.progress(eta, float64(e.Done)/float64(max(1, e.Total)), fmt.Sprintf("downloading %s of %s", term.Bytes(e.Done), term.Bytes(e.Total)))
		case hub.Retrying:
			b.mail.fact(func(s *state) { s.say(term.CleanLine(e.Why) + "; trying again in " + term.Seconds(e.Seconds)) })
		}
	}
}

func (b *backend) load() { b.start("loading", b.doLoad) }

func (b *backend) doLoad(ctx context.Context) error {
	ck, err := store.Open(ctx, b.o.Model, b.downloads(newETA()))
	if err != nil {
		return err
	}
	b.ck = ck
	threads := b.o.Threads
	eng, err := kernels.New(kernels.Options{Threads: threads})
	if err != nil {
		return err
	}
	b.eng = eng
	b.live.Store(eng)
	if b.base, err = rt.Load(ctx, eng, ck); err != nil {
		return err
	}
	m := modelState{ref: b.o.Model, loaded: true, config: ck.Config, name: term.CleanLine(ck.Name), params: ck.Params(), bytes: ck.Bytes(),
		dtype: ck.DType(), tokenizer: "none", template: ck.Template != nil, quantized: ck.Quantized, modules: ck.Config.Modules()}
	m.stored = storage(ck)
	if ck.Quantized {
		m.report, _ = quant.ReadReport(ck.Path) // which others' models do not have
	}
	if ck.Tokenizer != nil {
		m.tokenizer = ck.Tokenizer.Kind()
	}
	for _, n := range job.Notes(ck) {
		m.notes = append(m.notes, term.CleanLine(n))
	}
	b.mail.fact(func(s *state) {
		s.model = m
		s.kernel.cpu, s.kernel.isa, s.kernel.threads, s.kernel.kernels = kernels.ThisCPU(), eng.ISA(), eng.Threads(), eng.Kernels()
		s.say("ready: t tunes a recipe, z quantizes with one")
	})
	if ck.Quantized {
		return b.selectFor(ctx, b.base, false)
	}
	// The kernels page has something to show before anything is quantized: the
	// shapes of this model at the default recipe.
	return b.selectShapes(ctx, b.plannedShapes(), false)
}

// storage tells how a checkpoint holds the matrices, by name.
func storage(ck *model.Checkpoint) map[string]string {
	out := map[string]string{}
	for _, m := range ck.Config.Modules() {
		if scheme, ok := ck.Scheme(m); ok {
			out[m.Name] = scheme.String()
		} else {
			out[m.Name], _, _ = ck.Stored(m.Name + ".weight")
		}
	}
	return out
}

// plannedShapes lists the products the model would run under the default recipe.
func (b *backend) plannedShapes() []kernels.Shape {
	r := quant.DefaultRecipe().Fitted(b.ck.Config)
	return rt.Shapes(b.ck.Config.Modules(), b.eng.Threads(), func(m model.Module) (kernels.Scheme, bool) {
		return r.For(m).Scheme(), !r.For(m).Kept()
	})
}
