package arch

import (
	"fmt"
	"math"
)

// decoder is what nearly all families share: the dimensions of a stack of equal
// blocks, and the names of their parts. A family sets what differs and builds its
// blocks from it.
type decoder struct {
	c *Config

	body   string // before every name: "model."
	layer  string // of a block: "layers"
	hidden int
	layers int
	heads  int
	kv     int
	dim    int // of a head
	inner  int
	eps    float32
	act    Activation
	norm   func(name string, width int) *Norm // by the name of its weights, without ".weight"

	qkvBias, oBias, mlpBias bool
	model                   *Model
}

// decoder reads the dimensions in their usual spellings. tied is the class's
// default of tie_word_embeddings.
func (c *Config) decoder(tied bool) *decoder {
	d := &decoder{c: c, layer: "layers"}
	d.body = c.Prefix("embed_tokens.weight", "model.", "model.language_model.", "language_model.model.", "")
	d.hidden = c.Dim("hidden_size", "n_embd", "d_model")
	d.layers = c.bounded(maxLayers, "num_hidden_layers", "n_layer", "n_layers")
	d.heads = c.Dim("num_attention_heads", "n_head", "n_heads")
	d.kv = c.DimOr(d.heads, "num_key_value_heads")
	d.dim = c.DimOr(max(d.hidden/d.heads, 1), "head_dim")
	d.inner = c.DimOr(4*d.hidden, "intermediate_size", "n_inner", "ffn_dim")
	d.eps = float32(c.Float(1e-6, "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"))
	d.act = c.Activation(SiLU, "hidden_activation", "hidden_act", "activation_function")
	d.norm = d.rms(0)
	d.qkvBias = c.Bool(false, "attention_bias")
	d.oBias = d.qkvBias
	d.mlpBias = c.Bool(false, "mlp_bias")
	if d.heads%d.kv != 0 {
		c.fail(fmt.Errorf("%w: %d attention heads are no multiple of %d key-value heads", ErrConfig, d.heads, d.kv))
	}
	if d.heads > maxDim/d.dim {
		c.fail(fmt.Errorf("%w: %d heads of %d are too many", ErrConfig, d.heads, d.dim))
	}
	if !(d.eps >= 0 && d.eps <= 1) {
		c.fail(fmt.Errorf("%w: the norms' epsilon %g is not between 0 and 1", ErrConfig, d.eps))
	}
	d.model = &Model{
		Vocab: c.bounded(maxVocab, "vocab_size"), Hidden: d.hidden,
		Positions: c.bounded(maxPositions, "max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"),
		Tied:      c.Bool(tied, "tie_word_embeddings"),
	}
	return d
}

// rms makes RMSNorms that add offset to their weights.
func (d *decoder) rms(offset float32) func(string, int) *Norm {
	return func(name string, width int) *Norm {
		return &Norm{Kind: RMSNorm, Weight: vector(name+".weight", width), Width: width, Eps: d.eps, Offset: offset}
	}
}

// layerNorm makes LayerNorms, with biases or without.
func (d *decoder) layerNorm(bias bool) func(string, int) *Norm {
	return func(name string, width int) *Norm {
		n := &Norm{Kind: LayerNorm, Weight: vector(name+".weight", width), Width: width, Eps: d.eps}
		if bias {
			n.Bias = vector(name+".bias", width)
		}
		return n
	}
}

// in is the full name of a part of a block.
func (d *decoder) in(layer int, name string) string {
	return fmt.Sprintf("%s%s.%d.%s", d.body, d.layer, layer, name)
}

// blockNorm is a norm of a block, as wide as the stream.
func (d *decoder) blockNorm(layer int, name string) *Norm { return d.norm(d.in(layer, name), d.hidden) }

// matrix is one that is stored as a tensor of its own.
func matrix(path string, role Role, layer, rows, cols int, bias bool) *Linear {
	l := &Linear{Path: path, Role: role, Layer: layer, Expert: -1, Rows: rows, Cols: cols, View: whole(path + ".weight")}
	if bias {
		l.Bias = vector(path+".bias", rows)
	}
	return l
}

// linear is a matrix of a block.
func (d *decoder) linear(layer int, name string, role Role, rows, cols int, bias bool) *Linear {
	return matrix(d.in(layer, name), role, layer, rows, cols, bias)
}

// attention is the usual one, named self_attn.
func (d *decoder) attention(layer int) *Attention {
	q, kv := d.heads*d.dim, d.kv*d.dim
	return &Attention{
		Q:     d.linear(layer, "self_attn.q_proj", RoleQ, q, d.hidden, d.qkvBias),
		K:     d.linear(layer, "self_attn.k_proj", RoleK, kv, d.hidden, d.qkvBias),
		V:     d.linear(layer, "self_attn.v_proj", RoleV, kv, d.hidden, d.qkvBias),
		O:     d.linear(layer, "self_attn.o_proj", RoleO, d.hidden, q, d.oBias),
		Heads: d.heads, KVHeads: d.kv, HeadDim: d.dim,
		Scale: float32(1 / math.Sqrt(float64(d.dim))), KVFrom: -1,
	}
}

// fused replaces an attention's projections by one matrix.
func (d *decoder) fused(a *Attention, layer int, name string, order FusedOrder, bias bool) {
	a.Q, a.K, a.V = nil, nil, nil
	a.Fused = d.linear(layer, name, RoleQKV, (a.Heads+2*a.KVHeads)*a.HeadDim, d.hidden, bias)
	a.Order = order
}

// headNorms gives queries and keys a norm for each head.
func (d *decoder) headNorms(a *Attention, layer int, q, k string) {
	a.QNorm, a.KNorm = d.norm(d.in(layer, q), a.HeadDim), d.norm(d.in(layer, k), a.HeadDim)
}

// mlp is the usual gated one under a name such as "mlp".
func (d *decoder) mlp(layer int, name string, inner int) *MLP {
	return d.gated(layer, name, "gate_proj", "up_proj", "down_proj", inner)
}

// gated is an MLP with a gate whose matrices have names of their own.
func (d *decoder) gated(layer int, name, gate, up, down string, inner int) *MLP {
	return &MLP{
		Gate:  d.linear(layer, name+"."+gate, RoleGate, inner, d.hidden, d.mlpBias),
		Up:    d.linear(layer, name+"."+up, RoleUp, inner, d.hidden, d.mlpBias),
		Down:  d.linear(layer, name+"."+down, RoleDown, d.hidden, inner, d.mlpBias),
		Inner: inner, Act: d.act,
	}
}

// with is the decoder with another width between the matrices of an MLP.
func (d *decoder) with(inner int) *decoder {
	other := *d
	other.inner = inner
	return &other
}

// plain is an MLP without a gate.
func (d *decoder) plain(layer int, up, down string, bias bool) *MLP {
	return &MLP{
		Up:    d.linear(layer, up, RoleUp, d.inner, d.hidden, bias),
		Down:  d.linear(layer, down, RoleDown, d.hidden, d.inner, bias),
		Inner: d.inner, Act: d.act,
	}
}

// block is the usual one: attention and MLP, each after a norm.
func (d *decoder) block(layer int, attention, mlp Op) Block {
	return Block{Layer: layer, Steps: []Step{
		one(d.blockNorm(layer, "input_layernorm"), attention, nil),
		one(d.blockNorm(layer, "post_attention_layernorm"), mlp, nil),
	}}
}

// finish adds the blocks, made layer by layer, and the ends of the model under
// their usual names.
func (d *decoder) finish(block func(layer int) Block) *Model {
	return d.finishNamed("embed_tokens", "norm", "lm_head", block)
}

// finishNamed is finish with other names of the embedding, the last norm and the
// head.
func (d *decoder) finishNamed(embed, norm, head string, block func(layer int) Block) *Model {
	m := d.model
	if d.c.err != nil {
		return m
	}
	m.Embed = Embedding{Linear: *matrix(d.body+embed, RoleEmbed, -1, m.Vocab, d.hidden, false), Scale: 1}
	for l := range d.layers {
		if m.Blocks = append(m.Blocks, block(l)); d.c.err != nil {
			break
		}
	}
	m.Norm = d.norm(d.body+norm, d.hidden)
	m.HeadPath = d.c.Prefix(head+".weight", "", "language_model.") + head
	if !m.Tied && !d.c.holds(m.HeadPath) && d.c.holds(m.Embed.Path) {
		m.Tied, m.HeadMissing = true, true
	}
	if m.Tied {
		m.Head.Linear = m.Embed.Linear
	} else {
		m.Head.Linear = *matrix(m.HeadPath, RoleHead, -1, m.Vocab, d.hidden, false)
	}
	m.Head.Scale = 1
	return m
}
