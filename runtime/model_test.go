package runtime

import (
	"context"
	"errors"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/modeltest"
)

// floatLinear is a tensor ready to be multiplied by.
func floatLinear(t *testing.T, x modeltest.Tensor) *kernels.Linear {
	t.Helper()
	m := kernels.NewMatrix(x.Rows, x.Cols)
	for i, v := range x.Data {
		m.Data[i] = float32(v)
	}
	l, err := kernels.NewMatrixLinear(m)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A model with some parts replaced is the model that has these parts, and the
// one it was made of stays what it is.
func TestReplacedParts(t *testing.T) {
	ctx := context.Background()
	for _, tied := range []bool{false, true} {
		c := modeltest.Small()
		c.Tied, c.AttentionBias = tied, true
		tiny, other := modeltest.New(1, c), modeltest.New(2, c)
		before := tiny.Forward(c.Text(9)).Logits
		m := load(t, tiny.Write(t, nil), kernels.Options{Threads: 1})
		is := func(what string, m *Model, want [][]float64) {
			t.Helper()
			hidden, err := m.NewExactSession(0).Forward(ctx, c.Text(9))
			if err != nil {
				t.Fatal(err)
			}
			near(t, what, logits(m, hidden), want, exact)
		}
		matrices, vectors := map[string]*kernels.Linear{}, map[string][]float32{}
		for _, name := range []string{"model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"} {
			tiny.Tensors[name] = other.Tensors[name]
			module := name[:len(name)-len(".weight")]
			matrices[module] = floatLinear(t, tiny.Tensors[name])
		}
		changed := m.With(matrices)
		is("other matrices", changed, tiny.Forward(c.Text(9)).Logits)
		if changed.Linear("model.layers.1.mlp.up_proj") != matrices["model.layers.1.mlp.up_proj"] || changed.Linear("model.layers.1.mlp.down_proj") != m.Linear("model.layers.1.mlp.down_proj") {
			t.Error("not the matrices that were given")
		}
		for _, name := range []string{"model.norm.weight", "model.layers.0.input_layernorm.weight", "model.layers.1.self_attn.o_proj.bias"} {
			tiny.Tensors[name] = other.Tensors[name]
			for _, v := range tiny.Tensors[name].Data {
				vectors[name] = append(vectors[name], float32(v))
			}
		}
		changed = changed.WithVectors(vectors)
		is("other vectors as well", changed, tiny.Forward(c.Text(9)).Logits)
		if !slices.Equal(changed.Vector("model.norm.weight"), vectors["model.norm.weight"]) || !slices.Equal(changed.Bias("model.layers.1.self_attn.o_proj"), vectors["model.layers.1.self_attn.o_proj.bias"]) {
			t.Error("not the vectors that were given")
		}
		is("the model itself", m, before)
		if slices.Equal(m.Vector("model.norm.weight"), vectors["model.norm.weight"]) || slices.Equal(m.Bias("model.layers.1.self_attn.o_proj"), vectors["model.layers.1.self_attn.o_proj.bias"]) {
			t.Error("the model itself was given other vectors")
		}
		if m.Hash() == "" || m.With(nil).Hash() != "" || m.WithVectors(vectors).Hash() != "" || m.WithVectors(nil) != m {
			t.Error("a hash is the checkpoint's, and nothing else's")
		}
	}
}

// Sizes count what is read: a head that is the embedding once.
func TestModelBytes(t *testing.T) {
	for _, tied := range []bool{false, true} {
		c := modeltest.Small()
		c.Tied = tied
		m := load(t, modeltest.New(1, c).Write(t, nil), kernels.Options{Threads: 1})
		q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
		layers := 4 * c.Layers * (2*q*c.Hidden + 2*kv*c.Hidden + 3*c.Inner*c.Hidden)
		table := 4 * c.Vocab * c.Hidden
		whole, token := layers+2*table, layers+table
		if tied {
			whole = token
		}
		if m.Bytes() != int64(whole) || m.TokenBytes() != int64(token) || m.Quantized() {
			t.Errorf("tied %v: %d bytes, %d a token, want %d and %d", tied, m.Bytes(), m.TokenBytes(), whole, token)
		}
		s := m.NewExactSession(0)
		empty := s.Bytes()
		if _, err := s.Forward(context.Background(), c.Text(3)); err != nil {
			t.Fatal(err)
		}
		if n := int64(2 * 4 * c.Layers * kv * 3); s.Bytes() < n || empty >= n {
			t.Errorf("a cache of %d bytes, %d when empty; 3 tokens take %d", s.Bytes(), empty, n)
		}
		stack, err := m.NewStack([][]int32{c.Text(3), c.Text(4)})
		if err != nil || stack.Bytes() != int64(4*7*c.Hidden) {
			t.Errorf("the states of 7 tokens take %d bytes, %v", stack.Bytes(), err)
		}
	}
}

// The shapes to be measured are those of the quantized matrices, each once at
// every batch size.
func TestShapes(t *testing.T) {
	c, err := model.ParseConfig([]byte(`{"model_type": "llama", "vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 3,
		"num_attention_heads": 2, "intermediate_size": 96}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	w4, w8 := kernels.Scheme{Bits: 4, Group: 32, Sym: true}, kernels.Scheme{Bits: 8, Group: 32, Sym: true}
	shapes := Shapes(c.Modules(), 5, func(m model.Module) (kernels.Scheme, bool) {
		if m.Kind == "up" {
			return w8, true
		}
		return w4, m.Kind == "q" || m.Kind == "k" || m.Kind == "down"
	})
	var want []kernels.Shape
	for _, s := range []kernels.Shape{{Format: w4.String(), N: 64, K: 64}, {Format: w8.String(), N: 96, K: 64}, {Format: w4.String(), N: 64, K: 96}} {
		for _, m := range kernels.MBuckets() {
			s.Op, s.M, s.Threads = "matmul", m, 5
			want = append(want, s)
		}
	}
	if !slices.Equal(shapes, want) {
		t.Errorf("%v, want %v", shapes, want)
	}
}

// A session's limit is what was asked for and no more than the model's.
func TestSessionLimit(t *testing.T) {
	m := load(t, modeltest.New(1, modeltest.Small()).Write(t, nil), kernels.Options{Threads: 1})
	for asked, want := range map[int]int{-1: 1024, 0: 1024, 1: 1, 1023: 1023, 1024: 1024, 1025: 1024} {
		if got := m.NewSession(asked).Limit(); got != want {
			t.Errorf("a session of %d tokens holds %d, want %d", asked, got, want)
		}
	}
	s := m.NewSession(5)
	if _, err := s.Forward(context.Background(), []int32{1, 2, 3, 4, 5}); err != nil || s.Len() != 5 || !slices.Equal(s.Tokens(), []int32{1, 2, 3, 4, 5}) {
		t.Errorf("%v in a session of 5: %v", s.Tokens(), err)
	}
	s.Truncate(9)
	if s.Len() != 5 {
		t.Errorf("truncating to more leaves %d tokens", s.Len())
	}
	if s.Truncate(-1); s.Len() != 0 {
		t.Errorf("truncating to less than none leaves %d tokens", s.Len())
	}
}

// A forward pass that is cancelled leaves the session as it was.
func TestForwardCancelled(t *testing.T) {
	m := load(t, modeltest.New(1, modeltest.Small()).Write(t, nil), kernels.Options{Threads: 1})
	s := m.NewSession(0)
	if _, err := s.Forward(context.Background(), []int32{1, 2}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Forward(ctx, make([]int32, 700)); err == nil || s.Len() != 2 {
		t.Errorf("%v, %d tokens", err, s.Len())
	}
	ctx, cancel = context.WithCancel(context.Background())
	s.SetTap(func(_ string, _ []float32, rows, _ int) {
		if rows < chunkTokens { // the first chunk is done
			cancel()
		}
	})
	if _, err := s.Forward(ctx, make([]int32, 700)); err == nil || s.Len() != 2 {
		t.Errorf("in the second chunk: %v, %d tokens", err, s.Len())
	}
	// Whichever product is the first to be missing.
	for _, mod := range m.Config.Modules() {
		if mod.Layer != m.Config.Layers()-1 {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		s.SetTap(func(module string, _ []float32, _, _ int) {
			if module == mod.Name {
				cancel()
			}
		})
		if _, err := s.Forward(ctx, []int32{3}); !errors.Is(err, context.Canceled) || s.Len() != 2 {
			t.Errorf("before %s: %v, %d tokens", mod.Name, err, s.Len())
		}
	}
	stack, err := m.NewStack([][]int32{{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Advance(ctx, m); err == nil {
		t.Error("a layer was passed though the context had ended")
	}
	if err := stack.Input(ctx, m, "q", func([]float32, int, int) error { return nil }); err == nil {
		t.Error("inputs were given though the context had ended")
	}
}

// Loading that is cancelled is an error, not a model without matrices.
func TestLoadCancelled(t *testing.T) {
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Load(ctx, testEngine(t), ck); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// A copy of a stack goes its own way.
func TestStackClone(t *testing.T) {
	ctx := context.Background()
	m := load(t, modeltest.New(1, modeltest.Small()).Write(t, nil), kernels.Options{Threads: 1})
	text := []int32{1, 2, 3}
	stack, err := m.NewStack([][]int32{text})
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Advance(ctx, m); err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(stack.States()[0])
	clone := stack.Clone()
	if !slices.Equal(clone.States()[0], before) || clone.Layer() != 1 || !slices.Equal(clone.Texts()[0], text) {
		t.Error("the copy is another")
	}
	if err := clone.Advance(ctx, m); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(stack.States()[0], before) || stack.Layer() != 1 || slices.Equal(clone.States()[0], before) || clone.Layer() != 2 {
		t.Error("the copy and the original go the same way")
	}
}

// What stops the one who is given inputs stops the stack.
func TestStackInputStops(t *testing.T) {
	ctx, stop := context.Background(), errors.New("stop")
	m := load(t, modeltest.New(1, modeltest.Small()).Write(t, nil), kernels.Options{Threads: 1})
	stack, err := m.NewStack([][]int32{make([]int32, m.Config.Positions), {1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, mod := range m.Config.Modules() {
		if mod.Layer != 0 {
			continue
		}
		texts := 0
		err := stack.Input(ctx, m, mod.Linear.Input, func([]float32, int, int) error { texts++; return stop })
		if !errors.Is(err, stop) || texts != 1 {
			t.Errorf("%s: %v after %d texts", mod.Name, err, texts)
		}
	}
}

// The tokens that end a text are the checkpoint's; the tokenizer's where it names none.
func TestEOS(t *testing.T) {
	m := load(t, "demo", kernels.Options{Threads: 1})
	if m.Name != "demo" || !slices.Equal(m.EOS, []int32{1023, 1021}) {
		t.Errorf("%s ends texts with %v", m.Name, m.EOS)
	}
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	ck.Generation.EOS = nil
	own, ok := ck.Tokenizer.EOS()
	if m, err = Load(context.Background(), m.Engine, ck); err != nil || !ok || !slices.Equal(m.EOS, []int32{own}) {
		t.Errorf("the tokenizer's end is %d, the model has %v, %v", own, m.EOS, err)
	}
}
