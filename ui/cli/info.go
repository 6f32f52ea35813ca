package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"nibble/model"
	"nibble/model/store"
	"nibble/ui/job"
	"nibble/ui/term"
)

// infoResult is what 'nibble info' says.
type infoResult struct {
	Name      string       `json:"name"`
	Arch      string       `json:"arch"`
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
	Notes     []string     `json:"notes,omitempty"`
	Tensors   []infoTensor `json:"tensors"`
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
	return infoResult{Name: name, Arch: c.Arch, Params: c.Params(), DType: c.DType, Vocab: c.Vocab, Ctx: c.Positions, Hidden: c.Hidden, Layers: c.Layers(),
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
	for _, name := range ck.Names() {
		dtype, shape, bytes := ck.Stored(name)
		r.Tensors = append(r.Tensors, infoTensor{name, dtype, shape, bytes})
	}
	return r
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
		return
	}
	line("tokenizer", "%s", r.Tokenizer)
	line("chat template", "%s", yes[r.Template])
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
