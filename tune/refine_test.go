package tune

import (
	"context"
	"slices"
	"testing"

	"nibble/quant"
)

// onlyOffered reports every spec of the trials that was not offered.
func onlyOffered(t *testing.T, o Options, res Result) {
	t.Helper()
	for _, x := range res.Trials {
		for _, m := range o.Source.Config.Modules() {
			if spec := x.Recipe.For(m); !slices.Contains(o.Space, spec) {
				t.Errorf("trial %d: %s: %s was not offered", x.ID, m.Name, spec)
			}
		}
	}
}

// A method that trains layers refines what the search finds: the best is refined,
// and loses less than the same bits did before.
func TestRefined(t *testing.T) {
	o := demoOptions(t, 2)
	o.Space, _ = ParseSpace("w4 g32/channel sym gptq/autoround-light, w8 g32 sym rtn, keep")
	o.MaxBPW = 4.4
	res, err := Run(context.Background(), o, logTrials(t))
	if err != nil {
		t.Fatal(err)
	}
	onlyOffered(t, o, res)
	var before Trial
	for _, x := range res.Trials {
		if x.Phase == "tuned" {
			before = x
		}
		if x.BPW > o.MaxBPW {
			t.Errorf("trial %d: %g bits per weight, %g are allowed", x.ID, x.BPW, o.MaxBPW)
		}
	}
	if res.Best.Phase != "refined" || !(res.Best.KLD < before.KLD) || res.Best.SizeBytes > before.SizeBytes {
		t.Errorf("best %s, divergence %g in %d bytes; before %g in %d", res.Best.Phase, res.Best.KLD, res.Best.SizeBytes, before.KLD, before.SizeBytes)
	}
	if len(res.Choices) != len(o.Source.Config.Modules()) {
		t.Errorf("%d choices are explained", len(res.Choices))
	}
}

// Where such a method alone is offered, it is all that is tried.
func TestAlwaysRefined(t *testing.T) {
	o := demoOptions(t, 2)
	o.Space, _ = ParseSpace("w4 g32/channel sym autoround-light, w8 g32 sym rtn")
	o.Goal, o.MaxTrials = 0.02, 3
	res, err := Run(context.Background(), o, logTrials(t))
	if err != nil {
		t.Fatal(err)
	}
	onlyOffered(t, o, res)
	if len(res.Choices) != len(o.Source.Config.Modules()) {
		t.Errorf("%d choices are explained", len(res.Choices))
	}
}

// Of several such methods the strongest offered for a scheme refines it.
func TestRefiners(t *testing.T) {
	s := &search{}
	s.Space, _ = ParseSpace("w4 g32 sym autoround-light/autoround/gptq, w4 g64 sym awq, w8 g32 sym rtn, keep")
	s.split()
	for spec, want := range map[string]string{"w4 g32 sym gptq": "w4 g32 sym autoround", "w4 g64 sym gptq": "w4 g64 sym awq", "w8 g32 sym rtn": "w8 g32 sym rtn", "keep": "keep"} {
		r, err := quant.ParseRecipe(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.refined(r.Default); got.String() != want {
			t.Errorf("%s is refined to %s, want %s", spec, got, want)
		}
	}
	if !s.always || len(s.screened) != 4 {
		t.Errorf("always %v, %d are screened", s.always, len(s.screened))
	}
}
