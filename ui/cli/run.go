package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"nibble/kernels/panics"
	"nibble/model"
	"nibble/model/chat"
	"nibble/model/text"
	"nibble/model/tokenizer"
	rt "nibble/runtime"
	"nibble/ui/job"
	"nibble/ui/term"
)

// genFlags are shared by run and chat.
type genFlags struct {
	given job.Generation // what the flags say, once they are read
	o     rt.GenOptions
	seed  int64

	think, template string // of the chat template
}

func (f *genFlags) add(cmd *cobra.Command) {
	plain, _ := rt.DefaultOptions(model.Generation{})
	flags := cmd.Flags()
	flags.IntVarP(&f.o.MaxTokens, "tokens", "n", 0, "most tokens to generate (default: until the text or the context ends)")
	flags.Float64Var(&f.o.Temp, "temp", plain.Temp, "temperature; 0 is greedy")
	flags.Float64Var(&f.o.TopP, "top-p", plain.TopP, "keep the likeliest tokens up to this mass; 1 keeps all, 0 the likeliest alone")
	flags.IntVar(&f.o.TopK, "top-k", plain.TopK, "keep the k likeliest tokens; 0 keeps all")
	flags.Float64Var(&f.o.MinP, "min-p", plain.MinP, "drop tokens below this share of the likeliest")
	flags.Float64Var(&f.o.RepeatPenalty, "repeat-penalty", plain.RepeatPenalty, "make tokens that were there before less likely")
	flags.Int64Var(&f.seed, "seed", -1, "same seed, same text; -1 takes another one each time")
	flags.StringVar(&f.think, "think", "", "on or off: whether the model reasons before it answers (default: as its chat template has it)")
	flags.StringVar(&f.template, "template", "", "which of the model's chat templates, by name")
	flags.StringArrayVar(&f.o.Stop, "stop", nil, "end before this text; may be given again")
}

// read takes what the flags say, and finds mistakes before a model is loaded.
func (f *genFlags) read(cmd *cobra.Command) error {
	if f.seed < -1 {
		return usagef("--seed %d is negative (-1 takes another one each time)", f.seed)
	}
	if f.think != "" && f.think != "on" && f.think != "off" {
		return usagef("--think %q is neither on nor off", f.think)
	}
	g := &f.given
	for flag, set := range map[string]func(){
		"tokens": func() { g.Tokens = &f.o.MaxTokens }, "temp": func() { g.Temp = &f.o.Temp }, "top-p": func() { g.TopP = &f.o.TopP },
		"top-k": func() { g.TopK = &f.o.TopK }, "min-p": func() { g.MinP = &f.o.MinP }, "repeat-penalty": func() { g.RepeatPenalty = &f.o.RepeatPenalty },
		"stop": func() { g.Stop = f.o.Stop },
	} {
		if cmd.Flags().Changed(flag) {
			set()
		}
	}
	if f.seed >= 0 {
		seed := uint64(f.seed)
		g.Seed = &seed
	}
	if err := g.Validate(); err != nil {
		return usagef("%w", err)
	}
	return nil
}

// options are the checkpoint's own, with what the flags say instead.
func (f *genFlags) options(a *app, ck *model.Checkpoint) rt.GenOptions {
	o, notes := f.given.For(ck.Generation)
	for _, n := range notes {
		a.note("%s", n)
	}
	return o
}

// ask prepares the chat template as the flags say; a model without one gets the form
// whose tokens it has. Where there is none of these either, it stays without.
func (f *genFlags) ask(a *app, m *rt.Model, o *rt.GenOptions) error {
	if m.Template == nil && m.Tok != nil {
		if usual, form := m.UsualTemplate(); !form.Plain() {
			m.Template, o.Stop = usual, append(o.Stop, form.Stop)
			a.note("%s", form.Note())
		}
	}
	if m.Template == nil {
		if f.think+f.template != "" {
			a.note("the model has no chat template: --think and --template are ignored")
		}
		return nil
	}
	asked := chat.Options{Template: f.template}
	if f.think != "" {
		on := f.think == "on"
		asked.Thinking = &on
	}
	with, err := m.Template.With(asked)
	if err != nil {
		return err
	}
	if f.think != "" && !with.CanThink() {
		a.note("the chat template has no switch for thinking: --think is ignored")
	}
	m.Template = with
	return nil
}

func (a *app) runCmd() *cobra.Command {
	var f genFlags
	var raw bool
	var prompt string
	cmd := &cobra.Command{
		Use: "run MODEL PROMPT|-p TEXT", Short: "generate text from a prompt; PROMPT - reads standard input", Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch given := cmd.Flags().Changed("prompt"); {
			case given && len(args) == 2:
				return usagef("the prompt is given twice, as an argument and by --prompt")
			case len(args) == 2:
				prompt = args[1]
			case !given:
				return usagef("no prompt: give it after the model or by -p")
			}
			return a.generate(cmd, args[0], prompt, raw, f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&prompt, "prompt", "p", "", "the prompt, instead of the argument")
	cmd.Flags().BoolVar(&raw, "raw", false, "continue the prompt itself, without the chat template; an empty one from the token that begins texts")
	return cmd
}

func (a *app) generate(cmd *cobra.Command, ref, prompt string, raw bool, f genFlags) error {
	ctx := cmd.Context()
	if err := f.read(cmd); err != nil {
		return err
	}
	prompt, err := a.readPrompt(prompt)
	if err != nil {
		return err
	}
	l, err := a.load(ctx, ref)
	if err != nil {
		return err
	}
	defer l.close()
	o := f.options(a, l.ck)
	if !raw {
		if err := f.ask(a, l.m, &o); err != nil {
			return err
		}
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
		if a.tty { // elsewhere the text is what the model gave, and nothing else
			fmt.Fprintln(w)
		}
		a.tell(res.Notes)
		fmt.Fprintf(a.err, "%d tokens in, %s/s; %d out, %s/s; ended by: %s%s\n", res.PromptTokens, term.Digits(res.PrefillTPS), res.Tokens, term.Digits(res.DecodeTPS), res.StopReason, seedText(o))
	})
	return ctx.Err()
}

// seedText is what gives the same text again, if it was drawn.
func seedText(o rt.GenOptions) string {
	if o.Temp == 0 {
		return ""
	}
	return fmt.Sprintf("; seed %d", o.Seed)
}

// readPrompt is the prompt that an argument says, or standard input, in UTF-8.
func (a *app) readPrompt(arg string) (string, error) {
	data := []byte(arg)
	if arg == "-" {
		var err error
		if data, err = text.All(a.in); err != nil {
			return "", err
		}
	} else if utf8.ValidString(arg) {
		return arg, nil
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return string(data), nil
	}
	prompt, notes, err := text.Decode(data)
	if err != nil {
		return "", fmt.Errorf("the prompt: %w", err)
	}
	for _, n := range notes {
		a.note("the prompt: %s", n)
	}
	return prompt, nil
}

// prompt encodes what the user asks: with the chat template unless the model has
// none or raw is set.
func (a *app) prompt(ctx context.Context, l *loaded, text string, raw bool) ([]int32, error) {
	if err := job.NeedTokenizer(l.ck); err != nil {
		return nil, err
	}
	if raw || l.m.Template == nil {
		if !raw {
			a.note("the model has no chat template: continuing the prompt itself")
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
			if err := f.read(cmd); err != nil {
				return err
			}
			l, err := a.load(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer l.close()
			o := f.options(a, l.ck)
			if err := f.ask(a, l.m, &o); err != nil {
				return err
			}
			c, err := rt.NewChat(l.m, system)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
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
	var scanErr error
	scanning := panics.Go(func() {
		defer close(lines)
		sc := bufio.NewScanner(a.in)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			select {
			case lines <- sc.Text():
			case <-ctx.Done():
				return
			}
		}
		scanErr = sc.Err()
	})
	if a.tty && !a.json {
		fmt.Fprintln(a.err, "/reset forgets the conversation, /exit or Ctrl-D ends it, Ctrl-C stops")
	}
	if !a.json && o.Temp > 0 {
		fmt.Fprintf(a.err, "seed %d\n", o.Seed)
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
			scanning.Wait()
			if scanErr != nil {
				return scanErr
			}
			break
		}
		if line = strings.TrimPrefix(line, "\ufeff"); !utf8.ValidString(line) {
			a.note("bytes of the line that are no UTF-8 are read as the replacement character")
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
			a.tell([]string{fmt.Sprintf("the context is full: the oldest %d messages were left out", t.Dropped)})
		}
		a.tell(t.Notes)
	}
	return ctx.Err()
}
