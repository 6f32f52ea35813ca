package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"nibble/model/demo"
	"nibble/model/tokenizer"
	rt "nibble/runtime"
)

// What an evaluation can fail of.
var (
	ErrText      = errors.New("evaluation text")              // a text that cannot be evaluated
	ErrOptions   = errors.New("evaluation options")           // options out of range
	ErrMismatch  = errors.New("models cannot be compared")    // another vocabulary or tokenizer
	ErrNotFinite = errors.New("the model's output is broken") // NaN or infinite log-probabilities
)

// Text is a text to measure perplexity on.
type Text struct {
	Name   string
	Data   []byte
	SHA256 string
}

// NewText names and hashes a text.
func NewText(name string, data []byte) Text {
	sum := sha256.Sum256(data)
	return Text{name, data, hex.EncodeToString(sum[:])}
}

// ReadText reads a text file.
func ReadText(path string) (Text, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Text{}, fmt.Errorf("%w: %v", ErrText, err)
	}
	if len(data) == 0 {
		return Text{}, fmt.Errorf("%w: %s is empty", ErrText, path)
	}
	return NewText(path, data), nil
}

// DemoText is the demo's story text, held out of its training.
func DemoText() Text { return NewText("demo:eval_stories.txt", demo.EvalText()) }

// Options configures an evaluation.
type Options struct {
	Text   Text
	Ctx    int // tokens of a window; 512 if 0, at most the model's context
	Chunks int // windows to score; 0 is all
	Tasks  []TaskSet
	Worst  int // how many of the tokens with the largest divergence are told

	CacheDir string // where a base model's answers are kept; "" keeps none
	Refresh  bool   // compute those answers again
}

// DefaultCtx is the window that published perplexities use.
const DefaultCtx = 512

// notes says where an evaluation differs from what was asked.
func (o Options) notes(windows [][]int32) []string {
	var notes []string
	if len(windows) == 0 {
		return nil
	}
	if n := len(windows[0]); n < max(o.Ctx, 1) {
		notes = append(notes, fmt.Sprintf("windows have %d tokens, the model's whole context, not %d", n, o.Ctx))
	} else if o.Ctx == 0 && n < DefaultCtx {
		notes = append(notes, fmt.Sprintf("windows have %d tokens, the model's whole context, not the usual %d", n, DefaultCtx))
	}
	if n := len(windows); n < o.Chunks {
		notes = append(notes, fmt.Sprintf("%s has %d windows, not %d", o.Text.Name, n, o.Chunks))
	}
	return notes
}

func errNoTokenizer(m *rt.Model) error {
	return fmt.Errorf("%w: %s has no tokenizer", ErrText, m.Name)
}

// window returns the window length for a model.
func (o Options) window(m *rt.Model) int {
	n := o.Ctx
	if n == 0 {
		n = DefaultCtx
	}
	return min(n, m.Config.MaxPositions)
}

// chunks cuts the text into windows: not overlapping, the rest at the end left
// out, the first token of each replaced by BOS when the tokenizer begins texts
// with it. inText counts those that Chunks leaves out as well.
func (o Options) chunks(m *rt.Model) (windows [][]int32, inText int, err error) {
	if len(o.Text.Data) == 0 {
		return nil, 0, nil
	}
	if o.Ctx < 0 || o.Chunks < 0 {
		return nil, 0, fmt.Errorf("%w: windows of %d tokens, %d of them: neither may be negative", ErrOptions, o.Ctx, o.Chunks)
	}
	if m.Tok == nil {
		return nil, 0, errNoTokenizer(m)
	}
	n := o.window(m)
	if n < 4 {
		return nil, 0, fmt.Errorf("%w: windows of %d tokens are too short (4 at least)", ErrText, n)
	}
	ids := append(m.Tok.Prefix(), m.Tok.Encode(string(o.Text.Data), tokenizer.EncodeOptions{})...)
	count := len(ids) / n
	if inText = count; count == 0 {
		return nil, 0, fmt.Errorf("%w: %s has %d tokens, a window takes %d: give a longer text or a smaller --ctx", ErrText, o.Text.Name, len(ids), n)
	}
	if o.Chunks > 0 {
		count = min(count, o.Chunks)
	}
	windows = make([][]int32, count)
	for i := range windows {
		w := append([]int32(nil), ids[i*n:(i+1)*n]...)
		if bos, ok := m.Tok.BOS(); ok && m.Tok.AddBOS() {
			w[0] = bos
		}
		windows[i] = w
	}
	return windows, inText, nil
}
