package workbench

import (
	"errors"
	"fmt"
	"nibble/model/hub"
	"nibble/model/store"
	rt "nibble/runtime"
	"nibble/tune"

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

func (b *backend) load() {
	b.start("loading", func(ctx context.Context) error { return b.doLoad(ctx, b.o.Model) })
}

// switchTo opens another model in place of the one that is open.
func (b *backend) switchTo(ref string) {
	b.start("loading", func(ctx context.Context) error {
		b.o.Base = "" // which was that of the first
		return b.doLoad(ctx, ref)
	})
}

// listModels looks for models on this machine, beside what runs.
func (b *backend) listModels() {
	b.jobs.aside(func(ctx context.Context) {
		list, err := store.List(ctx, append(job.WrittenDirs(b.o.RunsDir), store.Dir{Path: "."})...)
		b.mail.fact(func(s *state) {
			if s.models.list, s.models.known = list, true; err != nil {
				s.fail(err)
			}
		})
	})
}

// doLoad opens a model; one that was open stays so if that fails. Of a model that nibble
// quantized, or beside which a base was named, the float model is opened as well: what
// was asked for is the INT4 model then.
func (b *backend) doLoad(ctx context.Context, ref string) error {
	ck, err := store.Open(ctx, ref, b.downloads(newETA()))
	if err != nil {
		return err
	}
	if b.eng == nil {
		if b.eng, err = kernels.New(kernels.Options{Threads: b.o.Threads}); err != nil {
			ck.Close()
			return err
		}
		b.live.Store(b.eng)
	}
	var int4 *model.Checkpoint
	note := ""
	if ck.Quantized || b.o.Base != "" {
		var base *model.Checkpoint
		if base, note = b.findBase(ctx, ck); base != nil {
			ck, int4 = base, ck
		}
	}
	m, err := rt.Load(ctx, b.eng, ck)
	if err != nil {
		ck.Close()
		if int4 != nil {
			int4.Close()
		}
		return err
	}
	b.forget()
	b.ck, b.base = ck, m
	b.show(note)
	switch {
	case int4 != nil:
		return b.loadBeside(ctx, int4)
	case ck.Quantized:
		return b.selectFor(ctx, m, false)
	}
	// The kernels page has something to show before anything is quantized: the
	// shapes of this model at the default recipe.
	return b.selectShapes(ctx, b.plannedShapes(), false)
}

// forget closes what is open, and what is known of it.
func (b *backend) forget() {
	if b.ref != nil {
		b.ref.Close()
	}
	b.keepOpen(nil)
	if b.ck != nil {
		b.ck.Close()
	}
	b.ref, b.ck, b.base, b.int4, b.made, b.talks, b.decoded, b.tuned, b.tuneOn = nil, nil, nil, nil, quant.Report{}, nil, nil, tune.Result{}, nil
}

// show puts the opened model on the screen, with a note unless that is "".
func (b *backend) show(note string) {
	ck, eng := b.ck, b.eng
	m := modelState{ref: ck.Ref, loaded: true, config: ck.Config, name: term.CleanLine(ck.Name), params: ck.Params(), bytes: ck.Bytes(),
		dtype: ck.DType(), tokenizer: "none", template: ck.Template != nil, quantized: ck.Quantized, modules: ck.Config.Modules()}
	m.stored = storage(ck)
	if ck.Quantized {
		m.report, _ = quant.ReadReport(ck.Path) // which others' models do not have
	}
	if ck.Tokenizer != nil {
		m.tokenizer = ck.Tokenizer.Kind()
	}
	if note != "" {
		m.notes = append(m.notes, term.CleanLine(note))
	}
	for _, n := range job.Notes(ck) {
		m.notes = append(m.notes, term.CleanLine(n))
	}
	b.mail.fact(func(s *state) {
		s.model, s.plan, s.eval, s.tune, s.compare = m, planState{}, evalState{}, tuneState{}, compareState{}
		s.kernel.choices, s.kernel.curve, s.kernel.decode, s.chat.used, s.chat.limit = nil, nil, nil, 0, 0
		s.kernel.cpu, s.kernel.isa, s.kernel.threads, s.kernel.kernels = kernels.ThisCPU(), eng.ISA(), eng.Threads(), eng.Kernels()
		s.say("ready: t tunes a recipe, z quantizes with one")
	})
}

// findBase opens the float model that a quantized one was made from: the one that was
// named, or that its report names if it is there and still the same. Otherwise a note
// tells what is missing.
func (b *backend) findBase(ctx context.Context, ck *model.Checkpoint) (*model.Checkpoint, string) {
	ref, made, err := b.o.Base, quant.Report{}, error(nil)
	if ref == "" {
		if made, err = quant.ReadReport(ck.Path); err != nil || made.Source == "" {
			return nil, "the float model that this one was made from is not known: nibble --base MODEL opens both, to compare them"
		}
		ref = made.Source
	}
	missing := fmt.Sprintf("the float model that this one was made from, %s, is not open beside it", ref)
	if !store.Known(ref) {
		return nil, missing + ": it is not there; nibble --base MODEL names it"
	}
	base, err := store.Open(ctx, ref, b.downloads(newETA()))
	if err != nil {
		return nil, missing + ": " + err.Error()
	}
	problem := job.Comparable(ck, base)
	if problem == nil && b.o.Base == "" {
		problem = base.Guard(func() error {
			if base.Hash() != made.SourceSHA256 {
				return errors.New("it has changed since")
			}
			return nil
		})
	}
	if problem != nil {
		base.Close()
		return nil, missing + ": " + problem.Error()
	}
	return base, ""
}

// loadBeside makes a checkpoint the INT4 model of the float one that is open.
func (b *backend) loadBeside(ctx context.Context, ck *model.Checkpoint) error {
	report, err := quant.ReadReport(ck.Path)
	if err != nil { // which others' models do not have
		report = quant.Report{SizeBytes: ck.Bytes(), BPW: 8 * float64(ck.Bytes()) / float64(ck.Params())}
	}
	m, err := rt.Load(ctx, b.eng, ck)
	if err == nil {
		err = b.adopt(ctx, m, report, "opened with the model it was made from: ")
	}
	if err != nil {
		ck.Close()
		return err
	}
	b.keepOpen(ck)
	if report.Version == 0 {
		name := ck.DType()
		b.mail.fact(func(s *state) { s.model.recipe = name })
	}
	return nil
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
