package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"nibble/model"
	"nibble/model/chat"
	"nibble/model/tokenizer"
	rt "nibble/runtime"
	"nibble/ui/term"
)

// genFlags are shared by run and chat.
type genFlags struct {
	o rt.GenOptions
}

func (f *genFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVarP(&f.o.MaxTokens, "tokens", "n", 0, "most tokens to generate (default: until the text or the context ends)")
	cmd.Flags().Float64Var(&f.o.Temp, "temp", 0.7, "temperature; 0 is greedy")
	cmd.Flags().Float64Var(&f.o.TopP, "top-p", 0.9, "keep the likeliest tokens up to this mass")
	cmd.Flags().IntVar(&f.o.TopK, "top-k", 0, "keep the k likeliest tokens; 0 keeps all")
	cmd.Flags().Float64Var(&f.o.MinP, "min-p", 0, "drop tokens below this share of the likeliest")
	cmd.Flags().Float64Var(&f.o.RepeatPenalty, "repeat-penalty", 1, "make recent tokens less likely")
	cmd.Flags().Uint64Var(&f.o.Seed, "seed", 0, "same seed, same text")
	cmd.Flags().StringArrayVar(&f.o.Stop, "stop", nil, "end before this text; may be given again")
}

// options takes the checkpoint's own defaults for what was not given.
func (f *genFlags) options(cmd *cobra.Command, ck *model.Checkpoint) (rt.GenOptions, error) {
	o := f.o
	g := ck.Generation
	if !cmd.Flags().Changed("temp") && g.Temperature != nil {
		o.Temp = *g.Temperature
	}
	if !cmd.Flags().Changed("top-p") && g.TopP != nil {
		o.TopP = *g.TopP
	}
	if !cmd.Flags().Changed("top-k") && g.TopK != nil {
		o.TopK = *g.TopK
	}
	if err := o.Validate(); err != nil {
		return o, usagef("%w", err)
	}
	return o, nil
}

func (a *app) runCmd() *cobra.Command {
	var f genFlags
	var raw bool
	cmd := &cobra.Command{
		Use: "run MODEL PROMPT", Short: "generate text from a prompt; PROMPT - reads standard input", Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.generate(cmd, args[0], args[1], raw, f)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "continue the prompt itself, without the chat template")
	return cmd
}

func (a *app) generate(cmd *cobra.Command, ref, prompt string, raw bool, f genFlags) error {
	ctx := cmd.Context()
	if err := f.o.Validate(); err != nil {
		return usagef("%w", err)
	}
	if prompt == "-" {
		data, err := io.ReadAll(a.in)
		if err != nil {
			return err
		}
		prompt = string(data)
	}
	l, err := a.load(ctx, ref)
	if err != nil {
		return err
	}
	defer l.close()
	o, err := f.options(cmd, l.ck)
	if err != nil {
		return err
	}
	ids, err := a.prompt(ctx, l, prompt, raw)
	if err != nil {
		return err
	}
	var stream func(string)
	if !a.json {
		stream = func(text string) { fmt.Fprint(a.out, term.Clean(text)) }
	}
	res, err := l.m.Generate(ctx, l.m.NewSession(0), ids, o, stream)
	if err != nil {
		return err
	}
	a.report.result(res, func(w io.Writer) {
		fmt.Fprintln(w)
		fmt.Fprintf(a.err, "%d tokens in, %s/s; %d out, %s/s; ended by: %s\n", res.PromptTokens, term.Digits(res.PrefillTPS), res.Tokens, term.Digits(res.DecodeTPS), res.StopReason)
	})
	return ctx.Err()
}

// prompt encodes what the user asks: with the chat template unless the model has
// none or raw is set.
func (a *app) prompt(ctx context.Context, l *loaded, text string, raw bool) ([]int32, error) {
	if err := needTokenizer(l.ck); err != nil {
		return nil, err
	}
	if raw || l.m.Template == nil {
		if !raw {
			fmt.Fprintln(a.err, "note: the model has no chat template: continuing the prompt itself")
		}
		return continued(l.m.Tok, text)
	}
	if strings.TrimSpace(text) == "" {
		return nil, usagef("the prompt is empty")
	}
	return rt.EncodeChat(ctx, l.m, []chat.Message{{Role: "user", Content: text}})
}

// continued encodes a text to be continued as it stands. An empty one continues from
// the token that begins texts.
func continued(tok *tokenizer.Tokenizer, text string) ([]int32, error) {
	ids := tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	if len(ids) > 0 {
		return ids, nil
	}
	if text != "" {
		return nil, usagef("the model has no tokens for the prompt %q", text)
	}
	bos, ok := tok.BOS()
	if !ok {
		return nil, usagef("the prompt is empty, and the model has no token that begins a text: give some text")
	}
	return []int32{bos}, nil
}

func (a *app) chatCmd() *cobra.Command {
	var f genFlags
	var system string
	cmd := &cobra.Command{
		Use: "chat MODEL", Short: "talk with a model, a line at a time", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.o.Validate(); err != nil {
				return usagef("%w", err)
			}
			l, err := a.load(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer l.close()
			o, err := f.options(cmd, l.ck)
			if err != nil {
				return err
			}
			c, err := rt.NewChat(l.m, system)
			if err != nil {
				return fmt.Errorf("%s: %w: use 'nibble run %s PROMPT --raw'", args[0], err, args[0])
			}
			return a.converse(cmd.Context(), c, o)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&system, "system", "", "instructions that open the conversation")
	return cmd
}

// turnResult is one answer, as JSON.
type turnResult struct {
	rt.Turn
}

// EventName makes a turn an event.
func (turnResult) EventName() string { return "turn" }

// converse answers lines until the input ends or says /exit.
func (a *app) converse(ctx context.Context, c *rt.Chat, o rt.GenOptions) error {
	lines := make(chan string)
	scanErr := make(chan error, 1)
	go func() {
		sc := bufio.NewScanner(a.in)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			select {
			case lines <- sc.Text():
			case <-ctx.Done():
				return
			}
		}
		scanErr <- sc.Err()
		close(lines)
	}()
	if a.tty && !a.json {
		fmt.Fprintln(a.err, "/reset forgets the conversation, /exit or Ctrl-D ends it, Ctrl-C stops")
	}
	turns := 0
	for {
		if a.tty && !a.json {
			fmt.Fprint(a.out, "> ")
		}
		var line string
		var ok bool
		select {
		case line, ok = <-lines:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !ok {
			if err := <-scanErr; err != nil {
				return err
			}
			break
		}
		switch strings.TrimSpace(line) {
		case "":
			continue
		case "/exit", "/quit", "/bye":
			return a.endChat(turns)
		case "/reset":
			c.Reset()
			continue
		}
		if err := a.turn(ctx, c, line, o); err != nil {
			return err
		}
		turns++
	}
	return a.endChat(turns)
}

func (a *app) endChat(turns int) error {
	a.report.result(map[string]int{"turns": turns}, func(io.Writer) {})
	return nil
}

func (a *app) turn(ctx context.Context, c *rt.Chat, line string, o rt.GenOptions) error {
	var stream func(string)
	if !a.json {
		stream = func(text string) { fmt.Fprint(a.out, term.Clean(text)) }
	}
	t, err := c.Send(ctx, line, o, stream)
	if err != nil {
		if errors.Is(err, rt.ErrContextFull) {
			fmt.Fprintf(a.err, "nibble: %v\n", err)
			return nil
		}
		return err
	}
	if a.json {
		a.report.event(turnResult{t})
	} else {
		fmt.Fprintln(a.out)
		if t.Dropped > 0 {
			fmt.Fprintf(a.err, "note: the context is full: the oldest %d messages were left out\n", t.Dropped)
		}
	}
	return ctx.Err()
}
