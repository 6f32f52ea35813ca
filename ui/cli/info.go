package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/store"
	"nibble/quant/plan"
	"nibble/ui/job"
	"nibble/ui/term"
)

// infoResult is what 'nibble info' says.
type infoResult struct {
	Name      string       `json:"name"`
	Arch      string       `json:"arch"`
	Family    string       `json:"family"`
	Params    int64        `json:"params"`
	Weights   bool         `json:"weights"` // false: the directory holds a config alone
	DType     string       `json:"dtype"`
	SizeBytes int64        `json:"size_bytes"`
	BPW       float64      `json:"bpw"`
	Vocab     int          `json:"vocab"`
	Ctx       int          `json:"ctx"`
	Hidden    int          `json:"hidden"`
	Layers    int          `json:"layers"`
	Heads     int          `json:"heads"`
	KVHeads   int          `json:"kv_heads"`
	HeadDim   int          `json:"head_dim"`
	FFN       int          `json:"ffn"`
	KVBytes   int64        `json:"kv_bytes_per_token"` // in F16
	Experts   int          `json:"experts,omitempty"`
	TopK      int          `json:"experts_per_token,omitempty"`
	MoE       int          `json:"layers_with_experts,omitempty"`
	Attention int          `json:"layers_with_attention"`
	Windowed  int          `json:"layers_with_window,omitempty"`
	Window    int          `json:"window,omitempty"`
	Tied      bool         `json:"tied_embeddings"`
	Quantized bool         `json:"quantized"`
	Tokenizer string       `json:"tokenizer"`
	Template  bool         `json:"chat_template"`
	Types     []infoType   `json:"types"`
	Exports   []plan.Size  `json:"exports"` // about what it would weigh
	Notes     []string     `json:"notes,omitempty"`
	Tensors   []infoTensor `json:"tensors"`
}

// infoType is what some tensors are stored as: a type of floats or blocks, or the
// scheme of quantized matrices.
type infoType struct {
	Type    string  `json:"type"`
	Tensors int     `json:"tensors"`
	Params  int64   `json:"params"`
	Bytes   int64   `json:"bytes"`
	Bits    float64 `json:"bits"` // of a parameter
}

type infoTensor struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Bytes int64  `json:"bytes"`
}

func (a *app) infoCmd() *cobra.Command {
	var tensors bool
	cmd := &cobra.Command{
		Use: "info MODEL", Short: "what a model is: architecture, size, tokenizer, tensors", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.describe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			a.report.result(r, func(w io.Writer) { r.text(w, tensors) })
			return nil
		},
	}
	cmd.Flags().BoolVar(&tensors, "tensors", false, "list every tensor")
	return cmd
}

// describe tells of a model, or of a config that has no weights beside it.
func (a *app) describe(ctx context.Context, ref string) (infoResult, error) {
	ck, err := store.Look(ctx, ref, a.downloads(ref))
	if errors.Is(err, model.ErrNoWeights) {
		name, c, err := model.ReadConfig(ref)
		return describeConfig(name, c), err
	} else if err != nil {
		return infoResult{}, err
	}
	defer ck.Close()
	return describeCheckpoint(ck), nil
}

// describeConfig tells what a config.json says.
func describeConfig(name string, c model.Config) infoResult {
	if c.Model == nil {
		return infoResult{}
	}
	w, n := c.Widths(), c.Census()
	return infoResult{Name: name, Arch: c.Arch, Family: c.Family, Exports: plan.Weigh(c, func(model.Module) (kernels.Scheme, bool) { return kernels.Scheme{}, false }), Params: c.Params(), DType: c.DType, Vocab: c.Vocab, Ctx: c.Positions, Hidden: c.Hidden, Layers: c.Layers(),
		Heads: w.Heads, KVHeads: w.KVHeads, HeadDim: w.HeadDim, FFN: w.Inner, KVBytes: c.CacheBytes(2), Tied: c.Tied,
		Experts: n.Experts, TopK: n.TopK, MoE: n.MoE, Attention: n.Attention, Windowed: n.Windowed, Window: n.Window, Tokenizer: "none"}
}

func describeCheckpoint(ck *model.Checkpoint) infoResult {
	r := describeConfig(ck.Name, ck.Config)
	r.Weights, r.DType, r.SizeBytes = true, ck.DType(), ck.Bytes()
	r.BPW = 8 * float64(ck.Bytes()) / float64(ck.Params())
	r.Quantized, r.Template, r.Tokenizer = ck.Quantized, ck.Template != nil, ck.TokenizerSummary()
	for _, n := range job.Notes(ck) {
		r.Notes = append(r.Notes, term.Shorten(n))
	}
	r.Types, r.Exports = typesOf(ck), plan.Weigh(ck.Config, ck.Scheme)
	for _, name := range ck.Names() {
		dtype, shape, bytes := ck.Stored(name)
		r.Tensors = append(r.Tensors, infoTensor{name, dtype, shape, bytes})
	}
	return r
}

// typesOf adds up what a model's tensors are stored as, the type with most bytes
// first.
func typesOf(ck *model.Checkpoint) (types []infoType) {
	add := func(name string, params, bytes int64) {
		i := slices.IndexFunc(types, func(t infoType) bool { return t.Type == name })
		if i < 0 {
			i = len(types)
			types = append(types, infoType{Type: name})
		}
		t := &types[i]
		t.Tensors, t.Params, t.Bytes = t.Tensors+1, t.Params+params, t.Bytes+bytes
	}
	packed := map[string]bool{}
	for _, m := range ck.Config.Modules() {
		parts := ck.Parts(m)
		if s, ok := ck.Scheme(m); ok && len(parts) > 0 {
			bytes := int64(0)
			for _, name := range parts {
				_, _, n := ck.Stored(name)
				packed[name], bytes = true, bytes+n
			}
			add(s.String(), int64(m.Rows)*int64(m.Cols), bytes)
		}
	}
	for _, name := range ck.Names() {
		if packed[name] {
			continue
		}
		dtype, shape, bytes := ck.Stored(name)
		params := int64(1)
		for _, n := range shape {
			params *= int64(n)
		}
		add(dtype, params, bytes)
	}
	for i := range types {
		types[i].Bits = 8 * float64(types[i].Bytes) / float64(max(1, types[i].Params))
	}
	slices.SortStableFunc(types, func(a, b infoType) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return types
}

// some says which layers attend, and how far, where not all are alike.
func (r infoResult) some() string {
	out := ""
	if r.Attention < r.Layers {
		out += fmt.Sprintf(", in %d of the layers", r.Attention)
	}
	if r.Windowed > 0 {
		out += fmt.Sprintf(", a window of %d in %d", r.Window, r.Windowed)
	}
	return out
}

// exportsText says what the model would weigh, a line a format.
func (r infoResult) exportsText(line func(label, format string, args ...any)) {
	label := "would weigh"
	for i := 0; i < len(r.Exports); {
		format, sizes := r.Exports[i].Format, []string{}
		for ; i < len(r.Exports) && r.Exports[i].Format == format; i++ {
			sizes = append(sizes, fmt.Sprintf("%s %s", r.Exports[i].Type, term.Bytes(r.Exports[i].SizeBytes)))
		}
		line(label, "%s: %s", format, strings.Join(sizes, ", "))
		label = ""
	}
}

func (r infoResult) text(w io.Writer, tensors bool) {
	yes := map[bool]string{true: "yes", false: "no"}
	line := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%-14s %s\n", label, term.CleanLine(fmt.Sprintf(format, args...)))
	}
	line("model", "%s", r.Name)
	line("architecture", "%s", r.Arch)
	line("parameters", "%s (%d)", term.Count(r.Params), r.Params)
	if r.Weights {
		line("stored as", "%s, %s, %.3f bits per weight", r.DType, term.Bytes(r.SizeBytes), r.BPW)
		for _, t := range r.Types {
			line("", "%-11s %9s, %s weights of %.4g bits (tensors: %d)", t.Type, term.Bytes(t.Bytes), term.Count(t.Params), t.Bits, t.Tensors)
		}
		line("quantized", "%s", yes[r.Quantized])
	} else {
		line("weights", "none: this is what config.json says")
	}
	line("layers", "%d, hidden %d, feed-forward %d", r.Layers, r.Hidden, r.FFN)
	if r.MoE > 0 {
		line("experts", "%d in %d layers, %d for each token", r.Experts, r.MoE, r.TopK)
	}
	line("attention", "%d heads of %d, %d key-value heads%s", r.Heads, r.HeadDim, r.KVHeads, r.some())
	line("KV cache", "%s for each token in F16", term.Bytes(r.KVBytes))
	line("vocabulary", "%d, embeddings tied: %s", r.Vocab, yes[r.Tied])
	line("context", "%d tokens", r.Ctx)
	if !r.Weights {
		r.exportsText(line)
		return
	}
	line("tokenizer", "%s", r.Tokenizer)
	line("chat template", "%s", yes[r.Template])
	r.exportsText(line)
	for _, n := range r.Notes {
		line("note", "%s", n)
	}
	if !tensors {
		line("tensors", "%d (--tensors lists them)", len(r.Tensors))
		return
	}
	fmt.Fprintln(w)
	for _, t := range r.Tensors {
		fmt.Fprintf(w, "%-50s %-5s %-16s %10s\n", term.CleanLine(t.Name), term.CleanLine(t.DType), strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Shape), " ", " x "), "[]"), term.Bytes(t.Bytes))
	}
}
