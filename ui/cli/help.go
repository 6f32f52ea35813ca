package cli

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/model/store"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/tune"
	"nibble/ui"
)

//go:embed README.md
var readme string

// topics are what 'nibble help' tells beside commands: the texts that stand beside
// the code.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "recipes", Aliases: []string{"methods"}, Short: "how weights are stored: recipes and methods", Long: quant.Readme},
		{Use: "evaluation", Short: "what is measured, and what the numbers mean", Long: eval.Readme},
		{Use: "tuning", Short: "how the search works", Long: tune.Readme},
		{Use: "formats", Aliases: []string{"model", "families"}, Short: "what is read and written, and how to add a family", Long: model.Readme},
		{Use: "generation", Aliases: []string{"sampling"}, Short: "how text is generated", Long: rt.Readme},
		{Use: "kernels", Short: "how products are computed, and how fast", Long: kernels.Readme},
		{Use: "workbench", Short: "the interactive screen", Long: ui.Readme},
		{Use: "scripts", Aliases: []string{"json", "exit-codes"}, Short: "JSON, exit codes, interruptions", Long: readme},
	}
}

// examples are what the help of a command shows, by its path.
var examples = map[string]string{
	"nibble": `  nibble                                     the workbench on the demo model
  nibble ~/models/Llama-3.2-1B               on another one
  nibble tune demo -o d --goal 1% && nibble chat d`,
	"nibble info": `  nibble info demo
  nibble info ~/models/Llama-3.2-1B --tensors`,
	"nibble models": `  nibble models                              in the stores of this machine
  nibble models ~/models --json              and in a directory`,
	"nibble pull": `  nibble pull HuggingFaceTB/SmolLM2-135M-Instruct
  nibble pull Qwen/Qwen3-0.6B@main --json
  nibble pull unsloth/Qwen3-0.6B-GGUF:Q4_K_M`,
	"nibble plan": `  nibble plan demo --recipe q4-gptq
  nibble plan ~/models/Llama-3.2-1B --recipe "w4 g128 sym mse; lm_head w8" --json`,
	"nibble quantize": `  nibble quantize demo -o demo-int4
  nibble quantize ~/models/Llama-3.2-1B -o llama-int4 --recipe q4-gptq --calib my-texts.jsonl`,
	"nibble export": `  nibble export demo-int4 -o demo.gguf
  nibble export llama-int4 -o llama.gguf --type rounded`,
	"nibble eval": `  nibble eval demo-int4 --base demo
  nibble eval llama-int4 --base ~/models/Llama-3.2-1B --text wiki.test.raw --report report`,
	"nibble tune": `  nibble tune demo -o demo-int4
  nibble tune ~/models/Llama-3.2-1B -o llama-int4 --goal 0.5% --budget 1h --text my-text.txt
  nibble tune ~/models/Llama-3.2-1B -o llama-int4 --size 800MB`,
	"nibble bench": `  nibble bench                               every kernel on this machine
  nibble bench demo -p 512 -n 128 --threads 2`,
	"nibble logits": `  nibble logits demo --ids "1,2,3"
  nibble logits demo --ids ids.json --positions all --json`,
	"nibble run": `  nibble run demo "What is the opposite of big?" --temp 0
  nibble run demo -p "Once upon a time" --raw -n 50 --seed 7`,
	"nibble chat": `  nibble chat demo
  echo "What is the capital of Peru?" | nibble chat demo --temp 0`,
	"nibble runs":                  `  nibble runs --json`,
	"nibble runs show":             `  nibble runs show 20260102-150405-demo --why`,
	"nibble runs resume":           `  nibble runs resume 20260102-150405-demo`,
	"nibble runs delete":           `  nibble runs delete 20260102-150405-demo`,
	"nibble config":                `  nibble config --json`,
	"nibble config list":           `  nibble config list`,
	"nibble config get":            `  nibble config get theme`,
	"nibble config set":            `  nibble config set threads 4`,
	"nibble config unset":          `  nibble config unset theme`,
	"nibble config path":           `  nibble config path`,
	"nibble version":               `  nibble version --json`,
	"nibble completion":            `  nibble completion                          which shells there are`,
	"nibble completion bash":       `  nibble completion bash > /etc/bash_completion.d/nibble`,
	"nibble completion zsh":        `  nibble completion zsh > ~/.zfunc/_nibble`,
	"nibble completion fish":       `  nibble completion fish > ~/.config/fish/completions/nibble.fish`,
	"nibble completion powershell": `  nibble completion powershell > nibble.ps1`,
	"nibble help": `  nibble help tune                           a command
  nibble help recipes                        a topic`,
}

// addHelp gives the commands their examples, and help about commands and topics.
func addHelp(root *cobra.Command) {
	root.AddCommand(topics()...)
	root.SetHelpCommand(&cobra.Command{
		Use: "help [COMMAND|TOPIC]", Short: "about a command or a topic",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				asked := args[len(args)-max(1, len(rest))]
				return usagef("there is no help for %q%s", asked, cmp.Or(didYouMean(asked, commandNames(cmd)), "; 'nibble help' lists what there is"))
			}
			return cmd.Help()
		},
	})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.Args = nil
		c.RunE = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there are no completions for %q%s", args[0], cmp.Or(didYouMean(args[0], commandNames(c)), "; 'nibble completion' lists the shells"))
			}
			return c.Help()
		}
	}
	var give func(*cobra.Command)
	give = func(cmd *cobra.Command) {
		cmd.Example = examples[cmd.CommandPath()]
		for _, sub := range cmd.Commands() {
			give(sub)
		}
	}
	give(root)
}

// misspelt reports that the first of the arguments means nothing but is near to a
// command: what follows is that command's to parse.
func misspelt(root *cobra.Command, args []string) error {
	cmd, rest, _ := root.Find(args)
	if cmd != root || len(rest) == 0 || strings.HasPrefix(rest[0], "-") || store.Known(rest[0]) {
		return nil
	}
	if meant := didYouMean(rest[0], commandNames(root)); meant != "" {
		return neither(rest[0], meant)
	}
	return nil
}

// neither refuses what is no command and no model.
func neither(ref, meant string) error {
	return usagef("%q is neither a command nor a model%s", ref, meant)
}

// commandNames are the names of the commands and topics below one.
func commandNames(cmd *cobra.Command) (names []string) {
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	return names
}

// didYouMean is the question about the names that are near to what was typed, ""
// if there are none.
func didYouMean(typed string, names []string) string {
	if len(typed) < 2 {
		return "" // near to everything that is short
	}
	// cobra knows what is near, among commands that can be run.
	all := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range names {
		all.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	near := all.SuggestionsFor(typed)
	if len(near) == 0 {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
}

// flagError says what is wrong with a flag without Go's words for it, and which one
// may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		return usagef("%w%s", err, didYouMean("--"+unknown.GetSpecifiedName(), names))
	}
	text, _, number := strings.Cut(err.Error(), ": strconv.")
	if number {
		text += ": it must be a number"
	}
	return usagef("%s", text)
}
