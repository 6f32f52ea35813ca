package durable

import (
	"bytes"
	"encoding/json"
	"testing"
)

// A value that is sealed comes back, and nothing else is taken for one.
func FuzzSealed(f *testing.F) {
	for _, s := range []string{`{"a": [1, "\u2028<"]}`, `null`, `1e400`, `{"crc32c":"00000000","content":{}}`, `{`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if value, err := Unseal(data); err == nil && !json.Valid(value) {
			t.Errorf("%q is no value", value)
		}
		for _, seal := range []func([]byte) ([]byte, error){Seal, SealIndent} {
			line, err := seal(data)
			if err != nil {
				if json.Valid(data) {
					t.Errorf("%q: %v", data, err)
				}
				continue
			}
			var want bytes.Buffer
			if err := json.Compact(&want, data); err != nil {
				t.Fatal(err)
			}
			if back, err := Unseal(line); err != nil || !bytes.Equal(back, want.Bytes()) {
				t.Errorf("%q comes back as %q, %v", data, back, err)
			}
		}
	})
}
