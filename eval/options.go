package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"nibble/model/text"
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
	Data   []byte // as text.Parse reads it
	SHA256 string
	Notes  []string // on how it is read
}

// NewText names and hashes a text.
func NewText(name string, data []byte) Text {
	sum := sha256.Sum256(data)
	return Text{Name: name, Data: data, SHA256: hex.EncodeToString(sum[:])}
}

// ReadText reads a text file, or standard input, as text.Read does.
func ReadText(path string, stdin io.Reader) (Text, error) {
	data, err := text.Read(path, stdin)
	if err != nil {
		return Text{}, fmt.Errorf("%w: %w", ErrText, err)
	}
	if path == text.Stdin {
		path = "standard input"
	}
	said, err := text.Parse(data, nil) // now, not when models are loaded
	if err != nil {
		return Text{}, fmt.Errorf("%w: %s: %w", ErrText, path, err)
	}
	t := NewText(path, data)
	t.Notes = said.Notes
	return t, nil
}

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
	if len(windows) == 0 {
		return nil
	}
	notes := slices.Clone(o.Text.Notes)
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
	return min(n, m.Config.Positions)
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
	said, err := text.Parse(o.Text.Data, m.Template)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %s: %w", ErrText, o.Text.Name, err)
	}
	ids := append(m.Tok.Prefix(), m.Tok.Encode(said.Text, tokenizer.EncodeOptions{ParseSpecial: said.Chats})...)
	if err := m.Config.CheckTokens(ids); err != nil {
		return nil, 0, fmt.Errorf("%w: %s: %w", ErrText, o.Text.Name, err)
	}
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
