package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"nibble/model/hub"
	"nibble/ui/term"
)

func (a *app) pullCmd() *cobra.Command {
	return &cobra.Command{
		Use: "pull ORG/NAME[@REVISION][:FILE]", Short: "download a model from the Hugging Face hub, or what changed of it", Args: args(1, 1),
		Long: `pull downloads what nibble needs of a model: configuration, tokenizer, and weights as
safetensors, or one GGUF file. FILE is the name of that file, or how it is quantized; without
it a usual one is taken. What was interrupted goes on; what is there is not downloaded again.

Models are kept where Python's huggingface_hub and llama.cpp keep them, under HF_HUB_CACHE,
HF_HOME/hub or ~/.cache/huggingface/hub, and those that they downloaded are found. HF_TOKEN, or
what 'hf auth login' kept, opens private and gated models. HF_ENDPOINT is another hub;
HF_HUB_OFFLINE=1 asks none.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := hub.Parse(args[0])
			if err != nil {
				return usagef("%w", err)
			}
			s, err := hub.FromEnv()
			if err != nil {
				return err
			}
			res, err := hub.Pull(cmd.Context(), ref, s, a.downloads(args[0]))
			if err != nil {
				return err
			}
			a.report.result(res, func(w io.Writer) {
				fmt.Fprintf(w, "path            %s\n", term.CleanLine(res.Path))
				fmt.Fprintf(w, "commit          %s\n", res.Commit)
				fmt.Fprintf(w, "size            %s in %d files, %s downloaded\n", term.Bytes(res.SizeBytes), len(res.Files), term.Bytes(res.Downloaded))
				fmt.Fprintf(w, "took            %s\n", term.Seconds(res.Seconds))
				notesText(w, res.Notes)
			})
			return nil
		},
	}
}

// downloads listens to the download of a model.
func (a *app) downloads(ref string) hub.Listener {
	return func(e hub.Event) {
		if _, ok := e.(hub.Started); ok {
			a.owner.Hint(fmt.Sprintf("what was downloaded is kept: 'nibble pull %s' goes on", term.Word(ref)))
		}
		a.report.event(e)
	}
}
