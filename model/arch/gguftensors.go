package arch

import "fmt"

// Stored is where a GGUF file has a tensor of a description, which may lie in
// another order there, in several tensors, or in others' together.
type Stored struct {
	Parts   []Part // rows, one part after the other
	Columns []Span // the order in which stored columns are the tensor's; nil: as they are
	Change  Change // from the stored values to the tensor's
}

// Part are rows of a stored tensor.
type Part struct {
	View
	Rows   int
	Paired int // within heads of so many rows, rows i and i + Paired/2 lie side by side; 0: not
}

// Row returns the stored row of row r of the part.
func (p Part) Row(r int) int {
	if p.Paired > 0 {
		i, half := r%p.Paired, p.Paired/2
		r += 2*(i%half) + i/half - i
	}
	return p.First + r*max(p.Step, 1)
}

// Span are columns that follow each other.
type Span struct{ First, Count int }

// Change is what a file does to values.
type Change int

// The changes.
const (
	Unchanged      Change = iota
	OneAdded              // of weights of norms to which the family adds 1
	MinusExponents        // -exp(x)
)

// ggufSources maps names of tensors of a description to where they are.
type ggufSources map[string]Stored

// Tensors says where the file has each tensor of the model that its config
// describes, matrices by their path and ".weight" or ".bias".
func (g *GGUF) Tensors(m *Model) map[string]Stored {
	f, err := g.form()
	if err != nil {
		return nil
	}
	w := &ggufNames{g: g, form: f, all: ggufSources{}}
	w.model(m)
	if f.tensors != nil {
		f.tensors(w, m)
	}
	return w.all
}

// ggufNames goes through a description and gives its parts their names in GGUF
// files.
type ggufNames struct {
	g     *GGUF
	form  ggufForm
	block string // "blk.0." inside a block
	all   ggufSources
}

// name is the name of a part where the model's form has it, without ".weight".
func (w *ggufNames) name(usual string) string {
	if own, ok := w.form.names[usual]; ok && (w.g.has(w.block+own+".weight") || w.g.has(w.block+own)) {
		return w.block + own
	}
	return w.block + usual
}

// has reports whether the file holds a matrix.
func (w *ggufNames) has(usual string) bool { return w.g.has(w.name(usual) + ".weight") }

// put says where a tensor is, once.
func (w *ggufNames) put(name string, s Stored) {
	if _, done := w.all[name]; !done {
		w.all[name] = s
	}
}

// rows are n rows of a tensor from the first on.
func (w *ggufNames) rows(usual string, first, n int) Part {
	return Part{View: View{Tensor: w.name(usual), Expert: -1, First: first}, Rows: n}
}

// linear is a matrix, with its bias, that is made of parts.
func (w *ggufNames) linear(l *Linear, parts ...Part) {
	if l == nil {
		return
	}
	with := func(suffix string) Stored {
		var s Stored
		for _, p := range parts {
			p.Tensor += suffix
			s.Parts = append(s.Parts, p)
		}
		return s
	}
	w.put(l.Path+".weight", with(".weight"))
	if l.Bias != nil {
		w.put(l.Path+".bias", with(".bias"))
	}
}

// matrix is one that is stored whole.
func (w *ggufNames) matrix(l *Linear, usual string) {
	if l != nil {
		w.linear(l, w.rows(usual, 0, l.Rows))
	}
}

// vector is a tensor that is stored whole under a name with its suffix.
func (w *ggufNames) vector(v *Vector, name string, change Change) {
	if v != nil {
		rows := v.Len
		if len(v.Dims) > 1 {
			rows = v.Dims[0]
		}
		w.put(v.Tensor, Stored{Parts: []Part{{View: whole(name), Rows: rows}}, Change: change})
	}
}

func (w *ggufNames) norm(n *Norm, usual string) {
	if n == nil {
		return
	}
	change := Unchanged
	if n.Offset == 1 {
		change = OneAdded
	}
	w.vector(n.Weight, w.name(usual)+".weight", change)
	w.vector(n.Bias, w.name(usual)+".bias", Unchanged)
}

func (w *ggufNames) model(m *Model) {
	w.matrix(&m.Embed.Linear, "token_embd")
	if p := m.Embed.Positions; p != nil {
		w.vector(table(p.Tensor, p.Rows, m.Hidden), "position_embd.weight", Unchanged)
	}
	w.norm(m.Embed.Norm, "token_embd_norm")
	if p := m.Embed.PerLayer; p != nil {
		w.matrix(&p.Table, "per_layer_token_embd")
		w.matrix(&p.Projection, "per_layer_model_proj")
		w.norm(p.Norm, "per_layer_proj_norm")
	}
	for i := range m.Blocks {
		b := &m.Blocks[i]
		w.block = fmt.Sprintf("blk.%d.", b.Layer)
		for s := range b.Steps {
			w.step(&b.Steps[s])
		}
		if b.Scale != "" {
			w.vector(vector(b.Scale, 1), w.name("layer_output_scale")+".weight", Unchanged)
		}
	}
	w.block = ""
	w.norm(m.Norm, "output_norm")
	if !m.Tied {
		w.matrix(&m.Head.Linear, "output")
	}
	w.vector(m.Head.Bias, "output.bias", Unchanged)
}

// step names the norms by what they stand before and after.
func (w *ggufNames) step(s *Step) {
	for i, b := range s.Branches {
		pre, post := "attn_norm", "post_attention_norm"
		switch b.Do.(type) {
		case *MLP, *MoE:
			pre, post = "ffn_norm", "post_ffw_norm"
			if len(s.Branches) > 1 { // Gemma 4: the MLP, then experts
				pre = []string{"ffn_norm", "pre_ffw_norm_2"}[i]
				post = []string{"post_ffw_norm_1", "post_ffw_norm_2"}[i]
			}
		case *PerLayerInput:
			post = "post_norm"
		}
		w.norm(b.Pre, pre)
		w.norm(b.Post, post)
		w.op(b.Do)
	}
	w.norm(s.Norm, "post_ffw_norm")
}

func (w *ggufNames) op(op Op) {
	switch o := op.(type) {
	case *Attention:
		w.attention(o)
	case *LatentAttention:
		w.matrix(o.Q, "attn_q")
		w.matrix(o.QA, "attn_q_a")
		w.norm(o.QANorm, "attn_q_a_norm")
		w.matrix(o.QB, "attn_q_b")
		w.matrix(o.KVA, "attn_kv_a_mqa")
		w.norm(o.KVANorm, "attn_kv_a_norm")
		w.latentKeys(o)
		w.matrix(o.O, "attn_output")
	case *MLP:
		w.mlp(o, "")
	case *MoE:
		w.experts(o)
	case *DeltaRule:
		w.deltaRule(o)
	case *ShortConv:
		w.matrix(o.In, "shortconv.in_proj")
		w.matrix(o.Out, "shortconv.out_proj")
		w.vector(o.Conv, w.name("shortconv.conv")+".weight", Unchanged)
		w.vector(o.Bias, w.name("shortconv.conv")+".bias", Unchanged)
	case *SSM:
		w.matrix(o.In, "ssm_in")
		w.matrix(o.Out, "ssm_out")
		w.vector(o.Conv, w.name("ssm_conv1d")+".weight", Unchanged)
		w.vector(o.ConvBias, w.name("ssm_conv1d")+".bias", Unchanged)
		w.vector(o.ALog, w.name("ssm_a"), MinusExponents)
		w.vector(o.D, w.name("ssm_d"), Unchanged)
		w.vector(o.DtBias, w.name("ssm_dt")+".bias", Unchanged)
		w.norm(o.Norm, "ssm_norm")
	case *PerLayerInput:
		w.matrix(o.Gate, "inp_gate")
		w.matrix(o.Out, "proj")
	}
}

// attention finds queries, keys and values each for itself or in one tensor, whose
// order is always all queries, all keys, all values.
func (w *ggufNames) attention(a *Attention) {
	w.matrix(a.O, "attn_output")
	w.norm(a.QNorm, "attn_q_norm")
	w.norm(a.KNorm, "attn_k_norm")
	w.vector(a.Sinks, w.name("attn_sinks")+".weight", Unchanged)
	q, kv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	if a.Q != nil {
		q = a.Q.Rows
	}
	queries, keys, values := w.rows("attn_q", 0, q), w.rows("attn_k", 0, kv), w.rows("attn_v", 0, kv)
	if w.has("attn_qkv") {
		queries, keys, values = w.rows("attn_qkv", 0, q), w.rows("attn_qkv", q, kv), w.rows("attn_qkv", q+kv, kv)
	}
	if w.form.paired {
		queries.Paired, keys.Paired = a.HeadDim, a.HeadDim
	}
	w.linear(a.Q, queries)
	w.linear(a.K, keys)
	w.linear(a.V, values)
	if a.Fused != nil && a.Order == QThenKThenV {
		w.linear(a.Fused, queries, keys, values)
	} else if a.Fused != nil {
		w.linear(a.Fused, w.grouped(a.KVHeads, queries, keys, values)...)
	}
}

// stored reports whether the file has the rows of a part: there is no use in cutting
// up others, of which a header can ask for any number.
func (w *ggufNames) stored(p Part) bool {
	shape := w.g.Shape(p.Tensor + ".weight")
	return len(shape) == 2 && p.First+p.Rows <= shape[0]
}

// grouped cuts parts into n pieces each, and takes the first of all, the second of
// all and so on.
func (w *ggufNames) grouped(n int, parts ...Part) []Part {
	var all []Part
	for _, p := range parts {
		if !w.stored(p) {
			return parts
		}
	}
	for i := range n {
		for _, p := range parts {
			p.Rows /= n
			p.First += i * p.Rows
			all = append(all, p)
		}
	}
	return all
}

// latentKeys finds keys and values of latent attention together or, as newer files
// have them, each in a stack of heads, keys on their side.
func (w *ggufNames) latentKeys(a *LatentAttention) {
	if stack := w.g.Shape(w.name("attn_k_b") + ".weight"); len(stack) != 3 || stack[0] != a.Heads {
		w.matrix(a.KVB, "attn_kv_b")
		return
	}
	var parts []Part
	for h := range a.Heads {
		parts = append(parts, Part{View: View{Tensor: w.name("attn_k_b"), Expert: h, Transposed: true}, Rows: a.NopeDim},
			Part{View: View{Tensor: w.name("attn_v_b"), Expert: h}, Rows: a.ValueDim})
	}
	w.linear(a.KVB, parts...)
}

// mlp has names that end in what it is for, such as "_shexp".
func (w *ggufNames) mlp(m *MLP, end string) {
	w.matrix(m.Gate, "ffn_gate"+end)
	w.matrix(m.Up, "ffn_up"+end)
	w.matrix(m.Down, "ffn_down"+end)
	if gate := "ffn_gate" + end; m.GateUp != nil && w.has(gate) {
		w.linear(m.GateUp, w.rows(gate, 0, m.Inner), w.rows("ffn_up"+end, 0, m.Inner))
	} else {
		w.matrix(m.GateUp, "ffn_up"+end)
	}
}

// experts lie in stacks, gate and up each for itself or together.
func (w *ggufNames) experts(m *MoE) {
	w.matrix(m.Router, "ffn_gate_inp")
	w.vector(m.RouterScale, w.name("ffn_gate_inp")+".scale", Unchanged)
	w.vector(m.Routing.ExpertScale, w.name("ffn_down_exps")+".scale", Unchanged)
	w.vector(m.Routing.Correction, w.name("exp_probs_b")+".bias", Unchanged)
	gate, up, second := "ffn_gate_exps", "ffn_up_exps", 0
	together := w.has("ffn_gate_up_exps")
	if together {
		gate, up = "ffn_gate_up_exps", "ffn_gate_up_exps"
	}
	for e := range m.Experts {
		x := &m.Experts[e]
		if together {
			second = x.Inner
		}
		of := func(usual string, first, rows int) Part {
			p := w.rows(usual, first, rows)
			p.Expert = e
			return p
		}
		w.linear(x.Gate, of(gate, 0, x.Inner))
		w.linear(x.Up, of(up, second, x.Inner))
		w.linear(x.Down, of("ffn_down_exps", 0, x.Down.Rows))
	}
	if m.Shared != nil {
		w.mlp(m.Shared, "_shexp")
	}
	w.matrix(m.SharedGate, "ffn_gate_inp_shexp")
}

// deltaRule has queries, keys and values in one tensor, all gates in another, even
// where the family has them together for each key head.
func (w *ggufNames) deltaRule(d *DeltaRule) {
	keys, values := d.KeyHeads*d.KeyDim, d.ValueHeads*d.ValueDim
	switch {
	case !d.Grouped:
		w.matrix(d.In, "attn_qkv")
		w.matrix(d.Z, "attn_gate")
		w.matrix(d.B, "ssm_beta")
		w.matrix(d.A, "ssm_alpha")
	case w.has("ssm_in"):
		w.matrix(d.In, "ssm_in")
		w.matrix(d.B, "ssm_ba")
	default:
		w.linear(d.In, w.grouped(d.KeyHeads, w.rows("attn_qkv", 0, keys), w.rows("attn_qkv", keys, keys),
			w.rows("attn_qkv", 2*keys, values), w.rows("attn_gate", 0, values))...)
		w.matrix(d.B, "ssm_ba")
	}
	w.matrix(d.Out, "ssm_out")
	w.vector(d.Conv, w.name("ssm_conv1d")+".weight", Unchanged)
	w.vector(d.ALog, w.name("ssm_a"), MinusExponents)
	w.vector(d.DtBias, w.name("ssm_dt")+".bias", Unchanged)
	w.norm(d.Norm, "ssm_norm")
}
