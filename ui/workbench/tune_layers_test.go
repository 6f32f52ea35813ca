package workbench

import (
	"math"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"nibble/quant"
	"nibble/tune"
)

// The strip holds any number of layers, each in its place, and tells what is not
// known from what does no harm.
func TestStrip(t *testing.T) {
	for _, c := range []struct {
		layers, w int
		want      []string // of the lines after the title
	}{
		{3, 80, []string{" layer   embed 0     1     2     head", " bits    16.0  4.00  8.00  4.00  16.0", " damage  ????? ····· ▅▅▅▅▅ █████ ?????"}},
		{10, 22, []string{" layer   embed 5 7 9", " bits    F4848484848F", " damage  ?·▁▂▃▄▅▆▇██?"}},
		{22, 21, []string{" layer   embed 11 17", " bits    96666666666F", " damage  ·▁▂▃▄▄▅▆▇██▅"}},
	} {
		a, _ := testApp("loaded")
		config := a.s.model.config
		config.Layers = c.layers
		a.s.model.modules = config.Modules()
		trial := stripTrial(a.s)
		p := newTunePage(a)
		lines := p.strip(&trial, c.w)
		for i, l := range lines[1:] {
			if got := strings.TrimRight(ansi.Strip(l), " "); got != c.want[i] {
				t.Errorf("%d layers in %d columns: %q, want %q", c.layers, c.w, got, c.want[i])
			}
		}
	}
}

// stripTrial stores the layers by turns in 4 and 8 bits; the damage of a layer is
// its number.
func stripTrial(s *state) tune.Trial {
	trial := tune.Trial{ID: 1, Recipe: quant.DefaultRecipe()}
	trial.Recipe.Default = quant.Spec{Bits: 4, Group: 32, Sym: true, Method: quant.RTN}
	for _, m := range s.model.modules {
		if spec := trial.Recipe.Default; m.Layer%2 == 1 {
			spec.Bits = 8
			trial.Recipe.Rules = append(trial.Recipe.Rules, quant.Rule{Match: m.Name, Spec: spec})
		}
	}
	s.tune = tuneState{started: true, explained: tune.Explained{Trial: 1}}
	for _, m := range s.model.modules {
		kld := float64(m.Layer) / 7
		if m.Layer < 0 {
			kld = math.NaN()
		}
		s.tune.explained.Choices = append(s.tune.explained.Choices, tune.Choice{Module: m.Name, KLD: kld})
	}
	return trial
}
