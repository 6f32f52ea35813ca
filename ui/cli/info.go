package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"nibble/model"
	rt "nibble/runtime"
	"nibble/ui/term"
)

// infoResult is what 'nibble info' says.
type infoResult struct {
	Name      string       `json:"name"`
	Arch      string       `json:"arch"`
	Params    int64        `json:"params"`
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
		RunE: func(_ *cobra.Command, args []string) error {
			ck, err := model.Open(args[0])
			if err != nil {
				return err
			}
			defer ck.Close()
			r := describe(ck)
			a.report.result(r, func(w io.Writer) { r.text(w, tensors) })
			return nil
		},
	}
	cmd.Flags().BoolVar(&tensors, "tensors", false, "list every tensor")
	return cmd
}

func describe(ck *model.Checkpoint) infoResult {
	c := ck.Config
	w := c.Widths()
	r := infoResult{Name: ck.Name, Arch: c.Arch, Params: ck.Params(), DType: ck.DType(), SizeBytes: ck.Bytes(),
		BPW: 8 * float64(ck.Bytes()) / float64(ck.Params()), Vocab: c.Vocab, Ctx: c.Positions, Hidden: c.Hidden, Layers: c.Layers(),
		Heads: w.Heads, KVHeads: w.KVHeads, HeadDim: w.HeadDim, FFN: w.Inner, Tied: c.Tied, Quantized: ck.Quantized,
		Tokenizer: "none", Template: ck.Template != nil}
	if ck.Tokenizer != nil {
		r.Tokenizer = fmt.Sprintf("%s, %d tokens", ck.Tokenizer.Kind(), ck.Tokenizer.VocabSize())
	} else if ck.TokenizerErr != nil {
		r.Notes = append(r.Notes, ck.TokenizerErr.Error())
	}
	if ck.TemplateErr != nil {
		r.Notes = append(r.Notes, ck.TemplateErr.Error())
	}
	r.Notes = append(r.Notes, ck.Notes...)
	_, notes := rt.DefaultOptions(ck.Generation)
	r.Notes = append(r.Notes, notes...)
	for i, n := range r.Notes {
		r.Notes[i] = term.Shorten(n)
	}
	for _, name := range ck.Names() {
		dtype, shape, bytes := ck.Stored(name)
		r.Tensors = append(r.Tensors, infoTensor{name, dtype, shape, bytes})
	}
	return r
}

func (r infoResult) text(w io.Writer, tensors bool) {
	yes := map[bool]string{true: "yes", false: "no"}
	line := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%-14s %s\n", label, term.CleanLine(fmt.Sprintf(format, args...)))
	}
	line("model", "%s", r.Name)
	line("architecture", "%s", r.Arch)
	line("parameters", "%s (%d)", term.Count(r.Params), r.Params)
	line("stored as", "%s, %s, %.3f bits per weight", r.DType, term.Bytes(r.SizeBytes), r.BPW)
	line("quantized", "%s", yes[r.Quantized])
	line("layers", "%d, hidden %d, feed-forward %d", r.Layers, r.Hidden, r.FFN)
	line("attention", "%d heads of %d, %d key-value heads", r.Heads, r.HeadDim, r.KVHeads)
	line("vocabulary", "%d, embeddings tied: %s", r.Vocab, yes[r.Tied])
	line("context", "%d tokens", r.Ctx)
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
