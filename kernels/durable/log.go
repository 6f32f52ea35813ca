package durable

import (
	"bytes"
	"io"
	"os"
)

// Log is a file of JSON values, one a line, each with its checksum. What is added
// is there after a crash, or is left out as a whole.
type Log struct {
	f    *os.File
	torn bool // the last line is not complete
}

// ReadLog returns the values of a log that are intact, in their order, from the
// first so many bytes of the file.
func ReadLog(path string, limit int64) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for line := range bytes.Lines(data) {
		if value, err := Unseal(line); err == nil {
			out = append(out, value)
		}
	}
	return out, nil
}

// OpenLog opens a log to add to it.
func OpenLog(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	l := &Log{f: f}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		_, err := f.ReadAt(last, info.Size()-1)
		l.torn = err != nil || last[0] != '\n'
	}
	return l, nil
}

// Add appends JSON values, which are durable after the next Sync.
func (l *Log) Add(values ...[]byte) error {
	var buf bytes.Buffer
	if l.torn {
		buf.WriteByte('\n')
	}
	for _, v := range values {
		line, err := Seal(v)
		if err != nil {
			return err
		}
		buf.Write(append(line, '\n'))
	}
	_, err := l.f.Write(buf.Bytes())
	l.torn = err != nil
	return err
}

// Sync makes what was added durable.
func (l *Log) Sync() error { return l.f.Sync() }

// Close ends the use of the log.
func (l *Log) Close() error { return l.f.Close() }
