package cli

import (
	"bytes"
	"strings"
	"testing"

	"nibble/quant"
)

// While matrices are quantized and trained, a terminal shows what is lost, before
// and after, the rate and the time left; what a layer's training gave stays.
func TestQuantizingIsShown(t *testing.T) {
	for _, x := range []struct {
		events []event
		want   []string
		not    string
	}{
		{[]event{quant.Progress{Module: "a", DoneParams: 5, Params: 10, Estimate: 61}}, []string{"quantizing", " 50 %", "1m01s left"}, "for all"},
		{[]event{quant.ModuleDone{Module: "a", Stats: quant.Stats{RelErr: 0.1, OutErr: 0.031, OutErrRTN: 0.085}, DoneParams: 5, Params: 10}}, []string{"outputs 3.1 % off, 8.5 % if rounded"}, "left"},
		{[]event{quant.ModuleDone{Module: "a", Stats: quant.Stats{RelErr: 0.1}, DoneParams: 5, Params: 10}}, []string{"10.0 % off"}, "outputs"},
		{[]event{quant.Trained{Layer: 3, Iteration: 50, Iterations: 200, Before: 0.02, Loss: 0.01, Seconds: 5, Estimate: 15}}, []string{"layer 3", " 25 %", "50 of 200, 10 a second", "loss 0.01, 0.02 at first", "15.0 s left"}, "for all"},
		{[]event{quant.Trained{Layer: -1, Iteration: 600, Iterations: 600, Before: 0.02, Loss: 0.01, Seconds: 5}}, []string{"all layers   trained: loss 0.01, 0.02 at first, in 5.0 s\n"}, "left"},
	} {
		var out bytes.Buffer
		a := newApp(nil, nil, &out)
		a.errTTY = true
		r := newReporter(a)
		for _, e := range x.events {
			r.event(e)
		}
		for _, want := range x.want {
			if !strings.Contains(out.String(), want) || strings.Contains(out.String(), x.not) {
				t.Errorf("%+v: %q, want %q and no %q", x.events, out.String(), want, x.not)
			}
		}
	}
}
