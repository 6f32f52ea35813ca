package report

import (
	"context"
	"fmt"
	"slices"

	"nibble/quant"
)

// stronger is the method that follows another; "" where there is none.
func stronger(method string) string {
	if m := quant.MethodNamed(method); m != nil {
		return m.Stronger
	}
	return "" // of a kept matrix
}

// withMethod gives the matrices at 4 bits the method that follows the weakest one
// that they have; ok is false if there is none.
func withMethod(r quant.Recipe) (out quant.Recipe, from, to string, ok bool) {
	var specs []*quant.Spec
	out = quant.Recipe{Default: r.Default, Rules: append([]quant.Rule(nil), r.Rules...)}
	specs = append(specs, &out.Default)
	for i := range out.Rules {
		specs = append(specs, &out.Rules[i].Spec)
	}
	for _, m := range quant.Methods() { // the weakest first
		for _, s := range specs {
			if s.Bits == 4 && s.Method == m.Name && !ok {
				from, to = m.Name, m.Stronger
				ok = to != ""
			}
		}
	}
	for _, s := range specs {
		if ok && s.Bits == 4 && stronger(s.Method) == to {
			s.Method = to
		}
	}
	return out, from, to, ok
}

// changesOthers reports whether a method of a recipe changes more than the codes of
// its matrices.
func changesOthers(r quant.Recipe) bool {
	specs := []quant.Spec{r.Default}
	for _, rule := range r.Rules {
		specs = append(specs, rule.Spec)
	}
	return slices.ContainsFunc(specs, func(s quant.Spec) bool { return !s.Kept() && quant.MethodNamed(s.Method).Transform != nil })
}

// patience is how many seconds a better method may take to be tried.
const patience = 20

// method advises a better method, which the bits that follow then build on; nil if
// there is none or it is no better.
func (a *adviser) method(ctx context.Context) (*Advice, error) {
	r, from, to, ok := withMethod(*a.recipe)
	if !ok {
		return nil, nil
	}
	was, err := quant.NewPlan(a.o.Base, *a.recipe)
	if err != nil {
		return nil, err
	}
	plan, err := quant.NewPlan(a.o.Base, r)
	if err != nil {
		return nil, err
	}
	adv := Advice{Recipe: r.String(), SizeBytes: plan.SizeBytes, BPW: plan.BPW, BPWChange: plan.BPW - was.BPW, KLDBefore: a.damage.KLD}
	if plan.Seconds > patience {
		adv.Text = fmt.Sprintf("%s instead of %s usually loses less at the same size; it was not tried, because it takes about %.0f s", to, from, plan.Seconds)
		return &adv, nil
	}
	m, _, err := quant.Apply(ctx, a.o.Reference.Model, a.o.Base, r, nil)
	if err != nil {
		return nil, err
	}
	if adv.KLD, err = a.divergence(ctx, m); err != nil || adv.KLD >= a.damage.KLD {
		return nil, err
	}
	adv.Loss = a.loss() * adv.KLD / a.damage.KLD
	adv.Text = fmt.Sprintf("%s instead of %s costs no bits and would bring the KL divergence from %.5f to %.5f (measured on %d windows, with the default calibration), a loss of about %+.2f %%: %s",
		to, from, adv.KLDBefore, adv.KLD, a.damage.Windows, 100*adv.Loss, a.verdict(adv.KLD))
	a.recipe, a.running, a.better = &r, m, to
	return &adv, nil
}
