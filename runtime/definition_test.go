package runtime

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/model/modeltest"
)

// variant is a model that has one thing the others have not.
type variant struct {
	name   string
	model  func(c *modeltest.Config)   // changes modeltest.Small
	config func(config map[string]any) // changes how config.json says so
}

func variants() []variant {
	llama3 := modeltest.Scaling{Type: "llama3", Factor: 8, Low: 1, High: 4, Original: 24}
	// newer moves what a config says of the rotation to where newer ones say it.
	newer := func(j map[string]any) {
		parameters, ok := j["rope_scaling"].(map[string]any)
		if !ok {
			parameters = map[string]any{"rope_type": "default"}
		}
		parameters["rope_theta"] = j["rope_theta"]
		j["rope_parameters"] = parameters
		delete(j, "rope_scaling")
		delete(j, "rope_theta")
	}
	return []variant{
		{"grouped queries, heads apart from the stream", func(*modeltest.Config) {}, nil},
		{"head_dim left out", func(c *modeltest.Config) { c.HeadDim = 8 }, func(j map[string]any) { delete(j, "head_dim") }},
		{"head_dim null", func(c *modeltest.Config) { c.HeadDim = 8 }, func(j map[string]any) { j["head_dim"] = nil }},
		{"num_key_value_heads left out", func(c *modeltest.Config) { c.KVHeads = c.Heads }, func(j map[string]any) { delete(j, "num_key_value_heads") }},
		{"tied embeddings", func(c *modeltest.Config) { c.Tied = true }, nil},
		{"biases of the attention", func(c *modeltest.Config) { c.AttentionBias = true }, nil},
		{"biases of the feed-forward layer", func(c *modeltest.Config) { c.MLPBias = true }, nil},
		{"another epsilon", func(c *modeltest.Config) { c.Eps = 0.05 }, nil},
		{"rms_norm_eps left out", func(c *modeltest.Config) { c.Eps = 1e-6 }, func(j map[string]any) { delete(j, "rms_norm_eps") }},
		{"another theta", func(c *modeltest.Config) { c.Theta = 37 }, nil},
		{"rope_theta left out", func(c *modeltest.Config) { c.Theta = 10000 }, func(j map[string]any) { delete(j, "rope_theta") }},
		{"theta in rope_parameters", func(c *modeltest.Config) { c.Theta = 37 }, newer},
		{"linear scaling", func(c *modeltest.Config) { c.Scaling = modeltest.Scaling{Type: "linear", Factor: 3} }, nil},
		{"linear scaling, type for rope_type", func(c *modeltest.Config) { c.Scaling = modeltest.Scaling{Type: "linear", Factor: 3} }, func(j map[string]any) {
			j["rope_scaling"] = map[string]any{"type": "linear", "factor": 3}
		}},
		{"linear scaling in rope_parameters", func(c *modeltest.Config) {
			c.Theta, c.Scaling = 37, modeltest.Scaling{Type: "linear", Factor: 3}
		}, newer},
		{"llama3 scaling", func(c *modeltest.Config) { c.Scaling = llama3 }, nil},
		{"llama3 scaling in rope_parameters", func(c *modeltest.Config) { c.Theta, c.Scaling = 37, llama3 }, newer},
		{"F16", func(c *modeltest.Config) { c.DType = "F16" }, nil},
		{"BF16", func(c *modeltest.Config) { c.DType = "BF16" }, nil},
		{"one layer, one head", func(c *modeltest.Config) { c.Layers, c.Heads, c.KVHeads = 1, 1, 1 }, nil},
		{"all at once", func(c *modeltest.Config) {
			*c = modeltest.Config{Vocab: 33, Hidden: 40, Layers: 3, Heads: 4, KVHeads: 1, HeadDim: 14, Inner: 100, Eps: 1e-3, Theta: 5000, Scaling: llama3,
				Tied: true, AttentionBias: true, MLPBias: true, DType: "BF16"}
		}, newer},
	}
}

// exact bounds a difference in float32, in deviations of the right values.
const exact = 1e-4

// forEach runs f on every variant with a text and what the definition makes of it.
func forEach(t *testing.T, f func(t *testing.T, m *Model, text []int32, want *modeltest.Pass)) {
	for i, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			c := modeltest.Small()
			v.model(&c)
			tiny := modeltest.New(uint64(i), c)
			text := c.Text(40)
			f(t, load(t, tiny.Write(t, v.config), kernels.Options{Threads: 2}), text, tiny.Forward(text))
		})
	}
}

// near compares rows, which lie one after the other in got.
func near(t *testing.T, what string, got []float32, want [][]float64, limit float64) {
	t.Helper()
	if len(want) == 0 || len(got) != len(want)*len(want[0]) {
		t.Fatalf("%s: %d values for %d rows", what, len(got), len(want))
	}
	for i, row := range want {
		if d := modeltest.Distance(got[i*len(row):(i+1)*len(row)], row); !(d < limit) {
			t.Errorf("%s: row %d is off by %.2g deviations", what, i, d)
			return
		}
	}
}

// rowsOf is x, which must have the size that is said of it.
func rowsOf(t *testing.T, x []float32, rows, cols int) []float32 {
	t.Helper()
	if len(x) != rows*cols {
		t.Fatalf("%d values for %d rows of %d", len(x), rows, cols)
	}
	return x
}

// logits are those after every position.
func logits(m *Model, hidden []float32) []float32 {
	n := len(hidden) / m.Config.Hidden
	out := make([]float32, n*m.Config.Vocab)
	m.Logits(m.Engine.NewActs(), out, hidden, n)
	return out
}

// However a text comes into a session, what it makes of it is the definition's.
func TestSessionIsAsDefined(t *testing.T) {
	forEach(t, func(t *testing.T, m *Model, text []int32, want *modeltest.Pass) {
		ctx := context.Background()
		forward := func(s *Session, ids []int32) []float32 {
			t.Helper()
			hidden, err := s.Forward(ctx, ids)
			if err != nil {
				t.Fatal(err)
			}
			return slices.Clone(hidden)
		}
		s := m.NewExactSession(0)
		near(t, "at once", logits(m, forward(s, text)), want.Logits, exact)
		s.Truncate(17)
		near(t, "after a common beginning", logits(m, forward(s, text[17:])), want.Logits[17:], exact)
		s.Truncate(0)
		forward(s, text[20:])
		s.Truncate(0)
		near(t, "after another text", logits(m, forward(s, text)), want.Logits, exact)

		var pieces, tokens []float32
		s = m.NewExactSession(0)
		for _, piece := range [][]int32{text[:1], text[1:14], text[14:15], text[15:]} {
			pieces = append(pieces, forward(s, piece)...)
		}
		near(t, "in pieces", logits(m, pieces), want.Logits, exact)
		s = m.NewExactSession(0)
		for i := range text {
			tokens = append(tokens, forward(s, text[i:i+1])...)
		}
		near(t, "token by token", logits(m, tokens), want.Logits, exact)
		near(t, "with a cache in F16", logits(m, forward(m.NewSession(0), text)), want.Logits, 2e-2)
	})
}

// What calibration sees enter a matrix is what enters it.
func TestTapsAreAsDefined(t *testing.T) {
	forEach(t, func(t *testing.T, m *Model, text []int32, want *modeltest.Pass) {
		s, seen := m.NewExactSession(0), make(map[string]int)
		s.SetTap(func(module string, x []float32, rows, cols int) {
			seen[module]++
			near(t, module, rowsOf(t, x, rows, cols), want.Inputs[module], exact)
		})
		if _, err := s.Forward(context.Background(), text); err != nil {
			t.Fatal(err)
		}
		for _, mod := range m.Config.Modules() {
			if once := mod.Layer >= 0; once != (seen[mod.Name] == 1) {
				t.Errorf("%s was tapped %d times", mod.Name, seen[mod.Name])
			}
		}
	})
}

// Layer by layer is the definition's as well: states and inputs of several texts.
func TestStackIsAsDefined(t *testing.T) {
	entrance := []string{"self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
	forEach(t, func(t *testing.T, m *Model, text []int32, want *modeltest.Pass) {
		ctx := context.Background()
		const short = 5 // of another text, with the same beginning
		stack, err := m.NewStack([][]int32{text, text[:short]})
		if err != nil {
			t.Fatal(err)
		}
		reads := map[string]string{}
		for _, mod := range m.Config.Modules() {
			reads[mod.Name] = mod.Linear.Input
		}
		input := func(module string) {
			t.Helper()
			texts := 0
			if err := stack.Input(ctx, m, reads[module], func(x []float32, rows, cols int) error {
				near(t, fmt.Sprintf("what enters %s, text %d", module, texts), rowsOf(t, x, rows, cols), want.Inputs[module][:rows], exact)
				texts++
				return nil
			}); err != nil || texts != 2 {
				t.Fatalf("%s: %d texts, %v", module, texts, err)
			}
		}
		states := func() {
			t.Helper()
			now := want.States[stack.Layer()]
			near(t, fmt.Sprint("states of layer ", stack.Layer()), stack.States()[0], now, exact)
			near(t, fmt.Sprint("the other text's states of layer ", stack.Layer()), stack.States()[1], now[:short], exact)
		}
		for l := range m.Config.Layers() {
			states()
			for _, module := range entrance {
				input(fmt.Sprintf("model.layers.%d.%s", l, module))
			}
			if err := stack.Advance(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		states()
		input(m.Config.Head.Path)
	})
}

// A text of more than one chunk, in a cache that has to grow.
func TestLongTextIsAsDefined(t *testing.T) {
	c := modeltest.Small()
	c.Scaling = modeltest.Scaling{Type: "linear", Factor: 4}
	tiny := modeltest.New(9, c)
	m, text := load(t, tiny.Write(t, nil), kernels.Options{Threads: 2}), c.Text(chunkTokens+20)
	s := m.NewExactSession(0)
	var hidden []float32
	for _, piece := range [][]int32{text[:3], text[3:]} {
		h, err := s.Forward(context.Background(), piece)
		if err != nil {
			t.Fatal(err)
		}
		hidden = append(hidden, h...)
	}
	near(t, "the logits", logits(m, hidden), tiny.Forward(text).Logits, exact)
}
