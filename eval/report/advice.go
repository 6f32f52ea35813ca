package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
)

// Advice is a change of the recipe with what it costs and gives, both computed
// for this model: sizes exactly, the KL divergence by quantizing and measuring. KLD
// and Loss are 0 where that would have taken too long.
type Advice struct {
	Text      string  `json:"text"`
	Recipe    string  `json:"recipe"` // ready for --recipe
	SizeBytes int64   `json:"size_bytes"`
	BPW       float64 `json:"bpw"`
	BPWChange float64 `json:"bpw_change"`
	KLD       float64 `json:"kld"` // with it, on the windows of the damage
	KLDBefore float64 `json:"kld_before"`
	Loss      float64 `json:"loss"` // of perplexity, if that follows the KL divergence
}

// better is how matrices are stored that cause too much: with 8 bits rounding is
// all the method that is needed.
var better = quant.Spec{Bits: 8, Group: 128, Sym: true, Method: quant.RTN}

type adviser struct {
	o       Options
	recipe  *quant.Recipe // of the model, nil if it is not known
	running *rt.Model     // what advice improves: the model, or that with a better method
	damage  *eval.Damage
	windows []int
	over    map[string]*kernels.Linear // matrices that were stored better so far
	better  string                     // the method of running, if the model has another
}

// candidate is a matrix that could be stored better.
type candidate struct {
	model.Module
	kld   float64 // that it causes
	bytes int64   // that it would take more
}

// verdict is what is expected of a model of a divergence. Where one model was
// measured as it is, perplexity and divergence shrink together, and the standard
// error with the root of them.
func (a *adviser) verdict(kld float64) string {
	r, e := kld/a.damage.KLD, a.o.Result
	return eval.Evidence{Loss: a.loss() * r, LossSE: e.PPLRatioSE * math.Sqrt(r), Tokens: e.Tokens, Windows: e.Windows, WindowsInText: e.WindowsInText}.Judge(a.o.Goal).Word
}

// within reports whether the goal is expected to be reached for sure.
func (a *adviser) within(kld float64) bool { return a.verdict(kld) == eval.Reached }

func (a *adviser) loss() float64 { return a.o.Result.PPLRatio - 1 }

// advise says what would bring the model to its goal, or what it can save: a
// better method first, which costs no bits, then more bits.
func (a *adviser) advise(ctx context.Context, l eval.Listener) ([]Advice, error) {
	if a.recipe == nil || !a.o.Result.Compared() || a.damage.Sum <= 0 {
		return nil, nil
	}
	if a.within(a.damage.KLD) || a.loss() <= 0 {
		return a.save(ctx, a.loss())
	}
	var out []Advice
	adv, err := a.method(ctx)
	if err != nil {
		return nil, err
	}
	if adv != nil {
		out = append(out, *adv)
		if adv.KLD > 0 && a.within(adv.KLD) {
			return out, nil
		}
	}
	if a.better == "" && changesOthers(*a.recipe) {
		return out, nil // its matrices fit norms that it changed: those of the base model do not
	}
	all, err := a.candidates()
	if err != nil || len(all) == 0 {
		return out, err
	}
	bits, err := a.bits(ctx, all, l)
	return append(out, bits), err
}

// most bounds the steps by which the number of matrices is found.
const most = 6

// bits finds how few of the candidates, the first of them, need more bits. All of
// them may not suffice.
func (a *adviser) bits(ctx context.Context, all []candidate, l eval.Listener) (Advice, error) {
	steps := eval.NewSteps(l, "advice", most)
	var out Advice
	few, many := 0, len(all) // too few; enough, as far as that is possible
	n := len(choose(all, a.damage, 1-a.o.Goal/a.loss()))
	for i := range most {
		adv, err := a.try(ctx, all[:n])
		if err != nil {
			return out, err
		}
		steps.Add(1)
		switch {
		case a.within(adv.KLD):
			many, out = n, adv
		case n == len(all):
			steps.Add(most - 1 - i)
			return adv, nil
		default:
			few = n
		}
		if many-few <= 1 && out.Recipe != "" {
			steps.Add(most - 1 - i)
			break
		}
		n = (few + many + 1) / 2
		if i == most-2 && out.Recipe == "" {
			n = many
		}
	}
	return out, nil
}

// candidates are the matrices at 4 bits, those first that cause the most for
// every byte that more bits would take.
func (a *adviser) candidates() ([]candidate, error) {
	kld := a.alone()
	schemes := quant.Schemes(a.o.Base.Config, *a.recipe)
	now, err := model.PlanLayout(a.o.Base, schemes)
	if err != nil {
		return nil, err
	}
	more := maps.Clone(schemes)
	for name := range more {
		more[name] = better.Scheme()
	}
	then, err := model.PlanLayout(a.o.Base, more)
	if err != nil {
		return nil, err
	}
	var out []candidate
	for _, mod := range a.o.Base.Config.Modules() {
		if s, ok := schemes[mod.Name]; ok && s.Bits == 4 && kld[mod.Name] > 0 {
			out = append(out, candidate{mod, kld[mod.Name], max(1, then.ModuleBytes(mod.Name)-now.ModuleBytes(mod.Name))})
		}
	}
	slices.SortStableFunc(out, func(x, y candidate) int {
		return cmp.Compare(y.kld/float64(y.bytes), x.kld/float64(x.bytes))
	})
	return out, nil
}

// alone is what each matrix causes that can be exchanged alone.
func (a *adviser) alone() map[string]float64 {
	kld := map[string]float64{}
	for _, p := range a.damage.Parts {
		if p.Layer < 0 {
			kld[p.Name] = p.KLD
		}
		for _, m := range p.Matrices {
			kld[m.Module] = m.KLD
		}
	}
	return kld
}

// choose takes candidates until they cause the share of the damage that must go.
func choose(all []candidate, d *eval.Damage, share float64) []candidate {
	sum := 0.0
	for i, c := range all {
		if sum += c.kld; sum >= share*d.Sum {
			return all[:i+1]
		}
	}
	return all
}

// try stores the chosen matrices with more bits and measures what that gives.
func (a *adviser) try(ctx context.Context, chosen []candidate) (Advice, error) {
	modules, share := make([]model.Module, len(chosen)), 0.0
	for i, c := range chosen {
		modules[i], share = c.Module, share+c.kld/a.damage.Sum
	}
	adv, err := a.measure(ctx, modules)
	if err != nil {
		return adv, err
	}
	adv.Text = fmt.Sprintf("%s cause %.0f %% of the damage; giving them 8 bits%s would cost %.2f bpw and bring the KL divergence from %.5f to %.5f (measured on %d windows), a loss of about %+.2f %%: %s",
		places(modules), 100*share, a.also(), adv.BPWChange, adv.KLDBefore, adv.KLD, a.damage.Windows, 100*adv.Loss, a.verdict(adv.KLD))
	return adv, nil
}

// also names the method that more bits come on top of.
func (a *adviser) also() string {
	if a.better == "" {
		return ""
	}
	return " and all others " + a.better
}

// measure works out what the model is with matrices at 8 bits.
func (a *adviser) measure(ctx context.Context, modules []model.Module) (Advice, error) {
	over := map[string]*kernels.Linear{}
	specs := map[string]quant.Spec{}
	for _, mod := range a.o.Base.Config.Modules() {
		specs[mod.Name] = a.recipe.For(mod)
	}
	for _, mod := range modules {
		l, err := a.store(ctx, mod)
		if err != nil {
			return Advice{}, err
		}
		over[mod.Name] = l
		specs[mod.Name] = better
	}
	r := quant.Compact(a.o.Base.Config, specs)
	was, err := quant.NewPlan(a.o.Base, *a.recipe)
	if err != nil {
		return Advice{}, err
	}
	plan, err := quant.NewPlan(a.o.Base, r)
	if err != nil {
		return Advice{}, err
	}
	kld, err := a.divergence(ctx, a.running.With(over))
	if err != nil {
		return Advice{}, err
	}
	return Advice{Recipe: r.String(), SizeBytes: plan.SizeBytes, BPW: plan.BPW, BPWChange: plan.BPW - was.BPW, KLD: kld, KLDBefore: a.damage.KLD,
		Loss: (a.o.Result.PPLRatio - 1) * kld / a.damage.KLD}, nil
}

// divergence measures a model on the windows of the damage.
func (a *adviser) divergence(ctx context.Context, m *rt.Model) (float64, error) {
	stack, err := a.o.Reference.Stack(m, a.windows)
	if err != nil {
		return 0, err
	}
	return a.o.Reference.Divergence(ctx, m, stack, a.windows)
}

// store stores a matrix with more bits. Each round of advice takes those of the
// one before and some more, so they are kept.
func (a *adviser) store(ctx context.Context, mod model.Module) (*kernels.Linear, error) {
	if l, ok := a.over[mod.Name]; ok {
		return l, nil
	}
	q, _, err := quant.One(ctx, a.o.Running.Engine, a.o.Base, mod, better)
	if err != nil {
		return nil, err
	}
	a.o.Base.ReleaseWeight(mod)
	l, err := kernels.NewQuantLinear(q)
	if err != nil {
		return nil, err
	}
	a.over[mod.Name] = l
	return l, nil
}

// save says what a model that is within its goal stores larger than it needs.
func (a *adviser) save(ctx context.Context, loss float64) ([]Advice, error) {
	var kept []model.Module
	alone := a.alone()
	for _, mod := range a.o.Base.Config.Modules() {
		if _, ok := alone[mod.Name]; ok && a.recipe.For(mod).Kept() {
			kept = append(kept, mod)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	adv, err := a.measure(ctx, kept)
	if err != nil || adv.BPWChange >= 0 || loss > 0 && !a.within(adv.KLD) {
		return nil, err
	}
	adv.Text = fmt.Sprintf("the goal leaves room: %s are stored as floats; at 8 bits the model would take %.2f bpw less, the KL divergence going from %.5f to %.5f (measured on %d windows)",
		places(kept), -adv.BPWChange, adv.KLDBefore, adv.KLD, a.damage.Windows)
	return []Advice{adv}, nil
}

// places names matrices, those of a layer together: "down_proj and v_proj of
// layer 0, embed_tokens". Many are counted.
func places(modules []model.Module) string {
	var names []string
	byLayer := map[int][]string{}
	var layers []int
	for _, m := range modules {
		name := m.Name[strings.LastIndex(m.Name, ".")+1:]
		if m.Layer < 0 {
			names = append(names, name)
			continue
		}
		if byLayer[m.Layer] == nil {
			layers = append(layers, m.Layer)
		}
		byLayer[m.Layer] = append(byLayer[m.Layer], name)
	}
	slices.Sort(layers)
	const most = 6 // groups that are named
	for i, l := range layers {
		if i == most {
			names = append(names, fmt.Sprintf("matrices of %d layers more", len(layers)-most))
			break
		}
		names = append(names, fmt.Sprintf("%s of layer %d", eval.Enumerate(byLayer[l]), l))
	}
	return strings.Join(names, ", ")
}

// knownRecipe is the recipe of a model, checked against what its matrices are
// stored as, or nil and why it is not known.
func knownRecipe(o Options) (*quant.Recipe, string) {
	if !o.Running.Quantized() || o.Base.Quantized {
		return nil, ""
	}
	if o.Quantized != nil {
		r := o.Quantized.Recipe
		err := errors.Join(r.Validate(), r.CheckFor(o.Base.Config))
		if err == nil && stores(r, o) {
			return &r, ""
		}
		return nil, "the model's report.json tells of another recipe than its matrices are stored by: no advice is given"
	}
	return nil, "how the model was quantized is not recorded (report.json): no advice is given"
}

// stores reports whether a recipe gives the matrices that the model has, in words
// that are safe to paste into a shell.
func stores(r quant.Recipe, o Options) bool {
	for _, rule := range r.Rules {
		if strings.Trim(rule.Match, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._*?-[]") != "" {
			return false
		}
	}
	for _, mod := range o.Base.Config.Modules() {
		s, l := r.For(mod), o.Running.Linear(mod.Name)
		if l == nil || l.Quantized() == s.Kept() || !s.Kept() && l.Format() != s.Scheme().String() {
			return false
		}
	}
	return true
}
