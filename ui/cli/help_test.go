package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command that can be run shows examples, and what they show can be parsed:
// the command, its flags and their values.
func TestExamples(t *testing.T) {
	shown := map[string]bool{}
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Runnable() && cmd.Example == "" {
			t.Errorf("%s has no examples", path)
		}
		shown[path] = true
		for line := range strings.Lines(cmd.Example) {
			_, call, ok := strings.Cut(line, "nibble")
			call, _, _ = strings.Cut(call, "  ") // a remark
			call, _, _ = strings.Cut(call, "&&")
			call, _, _ = strings.Cut(call, " > ")
			root := newApp(nil, nil, nil).root()
			found, rest, err := root.Find(words(strings.TrimSpace(call)))
			if !ok || err != nil || found.CommandPath() != path {
				if path != "nibble" { // which shows others' too
					t.Errorf("%s: %q is an example of something else, %v", path, line, err)
				}
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", path, line, err)
			} else if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%s: %q: %v", path, line, err)
			}
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newApp(nil, nil, nil).root())
	for path := range examples {
		if !shown[path] {
			t.Errorf("examples of %q, which is no command", path)
		}
	}
}

// words splits a command line at spaces outside of quotes.
func words(line string) (out []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

func TestHelp(t *testing.T) {
	for args, says := range map[string]string{
		"help":             "Additional help topics:",
		"--help":           "write an INT4 model by one recipe",
		"help quantize":    "-o, --output",
		"help runs resume": "nibble runs resume ID",
		"quantize --help":  "Examples:",
		"help recipes":     "`gptq` (Frantar",
		"help methods":     "`gptq` (Frantar",
		"help evaluation":  "McNemar",
		"help tuning":      "exact solver",
		"help formats":     "compressed-tensors",
		"help generation":  "generation_config.json",
		"help kernels":     "NIBBLE_ISA",
		"help workbench":   "ctrl+z",
		"help scripts":     "| 130 |",
		"help exit-codes":  "| 130 |",
		"completion bash":  "bash completion",
	} {
		if code, out, errs := nibble("", strings.Fields(args)...); code != ExitOK || !strings.Contains(out, says) || errs != "" {
			t.Errorf("nibble %s: code %d, no %q in:\n%.2000s%s", args, code, says, out, errs)
		}
	}
}

// A topic is named in README.md, so that it is found from there.
func TestTopicsAreListed(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics() {
		if !strings.Contains(string(text), "["+topic.Name()+"](") {
			t.Errorf("README.md does not name the topic %s", topic.Name())
		}
	}
}

func TestSuggestions(t *testing.T) {
	for args, says := range map[string]string{
		"quantise demo -o x":        "; did you mean quantize?\n",
		"evla":                      "; did you mean eval?\n",
		"infoo demo":                "; did you mean info?\n",
		"nothing-near":              "\"nothing-near\" is neither a command nor a model\n",
		"completion zhs":            "; did you mean zsh?\n",
		"completion nothing-near":   "lists the shells\n",
		"help recipies":             "; did you mean recipes?\n",
		"help nothing-near":         "; 'nibble help' lists what there is\n",
		"help runs shw":             "; did you mean show?\n",
		"runs shw x":                "\"shw\" is no command of 'nibble runs'; did you mean show?\n",
		"eval demo --bsae x":        "unknown flag: --bsae; did you mean --base?\n",
		"quantize demo --recpie q4": "; did you mean --recipe?\n",
		"info demo --nothing-near":  "unknown flag: --nothing-near\n",
		"info demo -x":              "unknown shorthand flag: 'x' in -x\n",
	} {
		if code, _, errs := nibble("", strings.Fields(args)...); code != ExitUsage || !strings.Contains(errs, says) {
			t.Errorf("nibble %s: code %d, no %q in %q", args, code, says, errs)
		}
	}
}

func TestVersion(t *testing.T) {
	_, text, _ := nibble("", "version")
	if code, flag, _ := nibble("", "--version"); code != ExitOK || flag != text || !strings.HasPrefix(text, "nibble ") || !strings.Contains(text, ", go1.") || !strings.Contains(text, "kernels for ") {
		t.Errorf("code %d, %q, --version: %q", code, text, flag)
	}
	for _, arg := range []string{"version", "--version"} {
		code, out, _ := nibble("", arg, "--json")
		var got struct{ Type, Version, Go, OS, Arch, ISA string }
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != ExitOK || got.Type != "result" || got.Version == "" || got.Go == "" || got.OS == "" || got.Arch == "" || got.ISA == "" {
			t.Errorf("%s: code %d, %v, %s", arg, code, err, out)
		}
	}
}
