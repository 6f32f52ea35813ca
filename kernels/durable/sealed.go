package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrDamaged reports content that is not what was written.
var ErrDamaged = errors.New("is damaged")

// sealed is a JSON value with a checksum over its compact form.
type sealed struct {
	CRC32C  string          `json:"crc32c"`
	Content json.RawMessage `json:"content"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(compact []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(compact, castagnoli))
}

// Seal returns a JSON value with its checksum, as JSON on one line.
func Seal(content []byte) ([]byte, error) {
	var body bytes.Buffer
	if err := json.Compact(&body, content); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"crc32c":%q,"content":%s}`, checksum(body.Bytes()), body.Bytes()), nil
}

// SealIndent is Seal for files that people read.
func SealIndent(content []byte) ([]byte, error) {
	line, err := Seal(content)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, line, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Unseal returns the value that Seal or SealIndent was given, in its compact form,
// or ErrDamaged if data is anything else.
func Unseal(data []byte) ([]byte, error) {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	var body bytes.Buffer
	if len(s.Content) == 0 || json.Compact(&body, s.Content) != nil || checksum(body.Bytes()) != s.CRC32C {
		return nil, fmt.Errorf("%w: its checksum does not fit", ErrDamaged)
	}
	return body.Bytes(), nil
}
