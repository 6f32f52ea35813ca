package workbench

import (
	"context"
	"math"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
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
		a.s.model.modules = llama(c.layers).Modules()
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
		s.tune.explained.Choices = append(s.tune.explained.Choices, tune.Choice{Matrix: m.Name, KLD: kld})
	}
	return trial
}

// Until there is a trial the page tells what is measured and what the matrices lose
// so far, the worst first.
func TestScreeningShown(t *testing.T) {
	a, _ := testApp("screening")
	b := newBackend(context.Background(), Options{})
	listen := b.tuneListener()
	name := a.s.model.modules[20].Name
	shown := func(events ...tune.Event) string {
		for _, e := range events {
			listen(e)
		}
		for _, c := range b.mail.drain() {
			c(a.s)
		}
		a.at = onTune
		a.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
		return ansi.Strip(a.View())
	}
	if view := shown(tune.Screening{Matrix: name, Specs: 22, Done: 310, Total: 484}); !strings.Contains(view, "layers.2.mlp.up_proj: what its outputs lose, by each spec") || !strings.Contains(view, "310 of 484 specs") {
		t.Errorf("before the scores of a matrix:\n%s", view)
	}
	view := shown(tune.Score{Matrix: name, Matrices: []string{name}, Spec: "w4 channel sym rtn", KLD: 0.5, Done: 311, Total: 484}, tune.Score{Matrix: name, Matrices: []string{name}, Spec: "w8 g32 sym rtn", KLD: 0.25, Done: 312, Total: 484})
	_, list, _ := strings.Cut(view, "KL divergence ")
	if rows := strings.Split(list, "\n"); !strings.HasPrefix(rows[1], " layer 2 up           2  0.25000  0.50000 ██") || !strings.Contains(view, "what the model loses with w8 g32 sym rtn") || !strings.Contains(view, "312 of 484") {
		t.Errorf("with its scores:\n%s", view)
	}
	if view := shown(tune.TrialStarted{Trial: tune.Trial{ID: 1, SizeBytes: 1000, State: tune.Running}}); strings.Contains(view, "screening, before") || !strings.Contains(view, "running") {
		t.Errorf("in the first trial:\n%s", view)
	}
}
