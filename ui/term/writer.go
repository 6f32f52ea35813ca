package term

import (
	"io"
	"sync"
)

// Writer is where all that a command prints goes through: text reaches the
// terminal cleaned, whoever wrote it, and that it could not be written is kept.
type Writer struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

// NewWriter writes to w. What is written in one call must not end within a
// character.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write implements io.Writer. Once it failed, nothing more is written.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.put(Clean(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ClearLine empties the terminal's line and returns to its beginning.
func (w *Writer) ClearLine() { _ = w.put("\r\x1b[K") } // Err tells

// Err returns why something could not be written, nil if all was.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) put(text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && text != "" {
		_, w.err = io.WriteString(w.w, text)
	}
	return w.err
}
