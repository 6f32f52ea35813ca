package score

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"nibble/model"
	"nibble/quant"
	"nibble/tune/space"
	"nibble/tune/work"
)

// mixture is a layer with sixteen experts so large that few are measured.
func mixture(t *testing.T) model.Config {
	t.Helper()
	c, err := model.ParseConfig([]byte(`{"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 4096, "num_hidden_layers": 1, "num_attention_heads": 2,
		"num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 64, "moe_intermediate_size": 2048, "num_experts": 16, "num_experts_per_tok": 2,
		"decoder_sparse_step": 1, "mlp_only_layers": [], "vocab_size": 64, "max_position_embeddings": 64, "rms_norm_eps": 1e-6}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// classes gives each role of a model a class with two options.
func classes(c model.Config) []space.Class {
	var out []space.Class
	at := map[string]int{}
	for _, m := range c.Modules() {
		i, ok := at[m.Kind]
		if !ok {
			i = len(out)
			at[m.Kind] = i
			out = append(out, space.Class{Options: []space.Option{{Spec: quant.Spec{Bits: 4, Group: 32, Sym: true, Method: "gptq"}}, {Spec: quant.Keep}}})
		}
		out[i].Matrices = append(out[i].Matrices, m)
		for j := range out[i].Options {
			o := &out[i].Options[j]
			o.Parts = append(o.Parts, space.Part{Bytes: int64(100 * (j + 1))})
			o.Bytes += int64(100 * (j + 1))
		}
	}
	return out
}

// measured is a worker that counts what it is asked for.
type measured struct {
	work []work.Work
	fail error
}

func (w *measured) Do(_ context.Context, x work.Work, _ work.Watcher) (work.Outcome, error) {
	w.work = append(w.work, x)
	if x.Kind == work.Error {
		return work.Outcome{Value: 0.01}, w.fail
	}
	return work.Outcome{Value: 0.001 * float64(len(x.Matrices))}, w.fail
}

func screenOf(c model.Config, w work.Worker, cache *Cache, listen func(Event)) Screen {
	return Screen{Config: c, Worker: w, Cache: cache, Windows: []int{1, 2}, Checked: func() error { return nil }, Elapsed: func() time.Duration { return 0 }, Listen: listen}
}

// Some experts stand for all of their role: what they lose together is scaled up, and
// each has its part.
func TestExpertsAreSampled(t *testing.T) {
	c := mixture(t)
	all := classes(c)
	w := &measured{}
	var told []Scored
	err := screenOf(c, w, OpenCache("", strings.Repeat("a", 64)), func(e Event) {
		if s, ok := e.(Scored); ok {
			told = append(told, s)
		}
	}).Run(context.Background(), all)
	if err != nil {
		t.Fatal(err)
	}
	const sample = sampleWeights / (4096 * 2048)
	count := map[string]int{}
	for _, x := range w.work {
		role := x.Matrices[0][strings.LastIndexByte(x.Matrices[0], '.')+1:]
		count[fmt.Sprint(x.Kind, " ", role)]++
		if expert := strings.Contains(x.Matrices[0], "experts"); x.Kind == work.Divergence && expert != (len(x.Matrices) == sample) {
			t.Errorf("the divergence of %d matrices is measured together", len(x.Matrices))
		}
	}
	if count["error gate_proj"] != sample || count["divergence gate_proj"] != 1 || count["error q_proj"] != 1 || count["divergence q_proj"] != 1 {
		t.Errorf("measured: %v", count)
	}
	for _, x := range all {
		want := 0.001 * float64(len(x.Matrices)) // each matrix costs as much
		if o := x.Options[0]; math.Abs(o.KLD-want) > 1e-12 || math.Abs(o.Parts[0].KLD-0.001) > 1e-12 || x.Options[1].KLD != 0 {
			t.Errorf("%s: %+v", x.Matrices[0].Name, x.Options)
		}
	}
	i := slices.IndexFunc(told, func(s Scored) bool { return strings.HasSuffix(s.Matrix, "gate_proj and 15 more") })
	if i < 0 || len(told[i].Matrices) != 16 || told[i].Bytes != 100 || math.Abs(told[i].KLD-0.001) > 1e-12 {
		t.Errorf("told: %+v", told)
	}
}

// What is in the cache is not measured again, and what fails ends the screening.
func TestScreenUsesTheCache(t *testing.T) {
	c := mixture(t)
	dir, basis := t.TempDir(), strings.Repeat("b", 64)
	cache := OpenCache(dir, basis)
	if err := screenOf(c, &measured{}, cache, func(Event) {}).Run(context.Background(), classes(c)); err != nil {
		t.Fatal(err)
	}
	cache.Close()
	w, again := &measured{}, OpenCache(dir, basis)
	defer again.Close()
	recalled := classes(c)
	if err := screenOf(c, w, again, func(Event) {}).Run(context.Background(), recalled); err != nil || len(w.work) > 0 {
		t.Errorf("%d measurements, %v", len(w.work), err)
	}
	if recalled[0].Options[0].KLD == 0 {
		t.Error("nothing was recalled")
	}
	w.fail = errors.New("out of luck")
	if err := screenOf(c, w, OpenCache("", basis), func(Event) {}).Run(context.Background(), classes(c)); !errors.Is(err, w.fail) {
		t.Errorf("%v", err)
	}
}

// Without time nothing is measured, and every option has an estimate.
func TestScreenWithoutTime(t *testing.T) {
	c := mixture(t)
	w := &measured{}
	s := screenOf(c, w, OpenCache("", strings.Repeat("c", 64)), func(Event) {})
	s.Until, s.Elapsed = time.Second, func() time.Duration { return time.Minute }
	all := classes(c)
	if err := s.Run(context.Background(), all); err != nil || len(w.work) > 0 {
		t.Fatalf("%d measurements, %v", len(w.work), err)
	}
	for _, x := range all {
		if !(x.Options[0].KLD > 0) || x.Options[1].KLD != 0 {
			t.Errorf("%s: %+v", x.Matrices[0].Name, x.Options)
		}
	}
}
