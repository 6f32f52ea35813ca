package arch

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// small is what the configs of the tests share.
var small = map[string]any{"vocab_size": 80, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 6,
	"num_key_value_heads": 2, "max_position_embeddings": 128}

// config makes a small one of a family, with values of its own; null takes a key
// away.
func config(t *testing.T, family, own string) []byte {
	t.Helper()
	values := maps.Clone(small)
	values["model_type"] = family
	if own != "" {
		if err := json.Unmarshal([]byte("{"+own+"}"), &values); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// read describes such a config.
func read(t *testing.T, family, own string) *Model {
	t.Helper()
	m, err := Read(config(t, family, own), nil)
	if err != nil {
		t.Fatalf("%s: %v", family, err)
	}
	return m
}

// sketch is a line on each step of a block, and sketchEnds one on what is before and
// after the blocks.
func sketch(m *Model, layer int) string {
	b := m.Blocks[layer]
	var lines []string
	cut := func(name string) string {
		for _, p := range []string{fmt.Sprintf("layers.%d.", layer), fmt.Sprintf(".h.%d.", layer), fmt.Sprintf("blocks.%d.", layer)} {
			if _, after, ok := strings.Cut(name, p); ok {
				return after
			}
		}
		return name
	}
	for _, s := range b.Steps {
		var parts []string
		for _, br := range s.Branches {
			parts = append(parts, sketchNorm(br.Pre, cut, "", " > ")+sketchOp(br.Do, cut)+sketchNorm(br.Post, cut, " > ", ""))
		}
		line := sketchNorm(s.Before, cut, "", " >> ") + strings.Join(parts, " & ") + sketchNorm(s.Norm, cut, " > ", "") + sketchNorm(s.After, cut, " >> ", "")
		if s.Scale != 1 {
			line += fmt.Sprintf(" x%.3g", s.Scale)
		}
		lines = append(lines, line)
	}
	if b.Parallel {
		lines = append(lines, "parallel")
	}
	if b.Scale != "" {
		lines = append(lines, "x "+cut(b.Scale))
	}
	return strings.Join(lines, "\n")
}

func sketchNorm(n *Norm, cut func(string) string, before, after string) string {
	if n == nil {
		return ""
	}
	s := map[NormKind]string{RMSNorm: "rms", LayerNorm: "ln"}[n.Kind]
	if n.Offset != 0 {
		s += "+1"
	}
	if n.Bias != nil {
		s += "b"
	}
	if n.Weight != nil {
		s += " " + strings.TrimSuffix(cut(n.Weight.Tensor), ".weight")
		if n.Weight.Parts != nil {
			s += fmt.Sprintf(" from %s to %s", cut(n.Weight.Parts[0]), cut(n.Weight.Parts[len(n.Weight.Parts)-1]))
		}
		if n.Weight.Len != n.Width {
			s += fmt.Sprintf(" in %d", n.Weight.Len/n.Width)
		}
	}
	return before + s + after
}

func sketchOp(op Op, cut func(string) string) string {
	var names, more []string
	op.parts(visitor{
		linear: func(l *Linear, _ string) {
			if l.Expert > 0 {
				return
			}
			name := strings.TrimSuffix(cut(l.Path), "_proj")
			if l.Bias != nil {
				name += "+b"
			}
			if i := strings.LastIndex(name, "."); len(names) > 0 && i > 0 && strings.HasPrefix(names[0], name[:i+1]) {
				name = name[i+1:]
			}
			names = append(names, name)
		},
		vector: func(*Vector) {},
	})
	add := func(is bool, format string, args ...any) {
		if is {
			more = append(more, fmt.Sprintf(format, args...))
		}
	}
	switch op := op.(type) {
	case *Attention:
		add(true, "%d/%d of %d", op.Heads, op.KVHeads, op.HeadDim)
		add(op.Scale != float32(1/sqrt(op.HeadDim)), "scale %.3g", op.Scale)
		add(op.Rope != nil, "%s", sketchRope(op.Rope))
		add(op.Window > 0, "window %d", op.Window)
		add(op.QNorm != nil, "%s", sketchNorm(op.QNorm, cut, "", ""))
		add(op.VNorm != nil, "v normed")
		add(op.NormAfterRope, "after rope")
		add(op.ValuesFromKeys, "v = k")
		add(op.Clip > 0, "clip %g", op.Clip)
		add(op.Clip > 0 && op.ClipAfterNorm, "after norm")
		add(op.Slopes != nil, "slopes %.3g", op.Slopes)
		add(op.SoftCap > 0, "cap %g", op.SoftCap)
		add(op.Sinks != nil, "sinks")
		add(op.Gated, "gated")
		add(op.Temperature != nil, "%v", op.Temperature)
		add(op.KVFrom >= 0, "keys of %d", op.KVFrom)
		add(op.Fused != nil, "%s", map[FusedOrder]string{QThenKThenV: "qkv", GroupByKV: "grouped"}[op.Order])
	case *LatentAttention:
		add(true, "%d of %d+%d, %d", op.Heads, op.NopeDim, op.RopeDim, op.ValueDim)
		add(true, "scale %.3g", op.Scale)
		add(true, "%s", sketchRope(op.Rope))
	case *MLP:
		add(true, "%s %d", op.Act, op.Inner)
	case *MoE:
		r := op.Routing
		add(true, "%d of %d x %s %d", op.TopK, len(op.Experts), op.Experts[0].Act, op.Experts[0].Inner)
		add(true, "%s", r.Score)
		add(r.Renormalize, "renormalized")
		add(r.Factor != 1, "x%g", r.Factor)
		add(r.Correction != nil, "corrected")
		add(r.ExpertScale != nil, "scaled")
		add(r.Groups > 1, "%d of %d groups by %d", r.TopGroups, r.Groups, r.GroupBest)
		add(r.Jitter != 0, "jitter %g", r.Jitter)
		add(op.RouterNorm != nil, "router normed")
		add(op.Experts[0].Limit != 0, "limit %g", op.Experts[0].Limit)
	case *PerLayerInput:
		add(true, "%s %d", op.Act, op.Width)
	case *DeltaRule:
		add(true, "%d/%d of %d/%d, kernel %d", op.KeyHeads, op.ValueHeads, op.KeyDim, op.ValueDim, op.Kernel)
		add(op.Grouped, "grouped")
	case *ShortConv:
		add(true, "kernel %d", op.Kernel)
		add(op.Bias != nil, "bias")
	case *SSM:
		add(true, "%d of %d, state %d in %d, kernel %d", op.Heads, op.HeadDim, op.State, op.Groups, op.Kernel)
		add(true, "%s", sketchNorm(op.Norm, cut, "", ""))
		add(op.DtMax > 0, "dt %.2g to %.2g", op.DtMin, op.DtMax)
	}
	return strings.Join(names, " ") + ": " + strings.Join(more, ", ")
}

func sketchRope(r *Rope) string {
	if r == nil {
		return "nope"
	}
	turning := 0
	for _, f := range r.Frequencies {
		if f != 0 {
			turning += 2
		}
	}
	s := fmt.Sprintf("%d turn @%.6g", turning, r.Base)
	if r.Adjacent {
		s += " adjacent"
	}
	if r.Magnitude != 1 {
		s += fmt.Sprintf(" x%.3g", r.Magnitude)
	}
	return s
}

func sqrt(n int) float64 {
	x := float64(n)
	for range 60 {
		x = (x + float64(n)/x) / 2
	}
	return x
}

// sketchEnds tells of the embedding, the last norm and the head.
func sketchEnds(m *Model) string {
	same := func(s string) string { return s }
	s := m.Embed.Path
	add := func(is bool, format string, args ...any) {
		if is {
			s += fmt.Sprintf(format, args...)
		}
	}
	add(m.Embed.Scale != 1, " x%.3g", m.Embed.Scale)
	add(m.Embed.Project != nil, " %d", m.Embed.Cols)
	add(m.Embed.Positions != nil, " + positions")
	add(m.Embed.Norm != nil, "%s", sketchNorm(m.Embed.Norm, same, " > ", ""))
	add(m.Embed.PerLayer != nil, " + inputs of layers")
	add(true, " ... %s", sketchNorm(m.Norm, same, "", " "))
	add(m.Norm != nil, "eps %g > ", eps(m.Norm))
	add(m.Tied, "tied")
	add(!m.Tied, "%s", m.Head.Path)
	add(m.Head.Bias != nil, "+b")
	add(m.Head.Scale != 1, " x%.3g", m.Head.Scale)
	add(m.Head.SoftCap != 0, " cap %g", m.Head.SoftCap)
	add(m.Head.Normalize, " normalized")
	return s
}

func eps(n *Norm) float32 {
	if n == nil {
		return 0
	}
	return n.Eps
}

// Every family's config means what it is to mean. What these configs describe gives
// the logits that transformers gives.
func TestFamilies(t *testing.T) {
	for _, c := range sketches {
		m := read(t, c.family, c.config)
		got := "\n" + sketchEnds(m) + "\n"
		last := ""
		for i := range m.Blocks { // those that are like the one before are left out
			if s := sketch(m, i); s != last {
				got += fmt.Sprintf("%d: %s\n", i, s)
				last = s
			}
		}
		if got != c.want {
			t.Errorf("%s with %s is%swant%s", c.family, c.config, got, c.want)
		}
	}
}

// Every family that is registered has a sketch or is one that has, in another
// layout.
func TestEveryFamilyIsSketched(t *testing.T) {
	seen := map[string]bool{"RefinedWeb": true, "RefinedWebModel": true, "stablelm_epoch": true, "granitemoe": true, "granitemoeshared": true,
		"lfm2": true, "qwen2_vl": true, "qwen2_5_vl": true, "qwen3_vl": true, "qwen3_vl_moe": true, "qwen3_5_moe": true, "ministral": true,
		"yi": true, "kimi_k2": true, "glm4v_moe": true}
	for _, c := range sketches {
		seen[strings.TrimSuffix(c.family, "_text")] = true
	}
	for _, f := range Families() {
		if !seen[f] {
			t.Errorf("no sketch of %s", f)
		}
		if unsupported[f] != "" {
			t.Errorf("%s is registered, and said to be unsupported", f)
		}
	}
}
