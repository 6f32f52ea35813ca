package quant

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"nibble/kernels/durable"
	"nibble/model/jsonnum"
	"nibble/quant/journal"
)

// sealedLines is a log of the lines that can be in one, and of the others as they are.
func sealedLines(data []byte) []byte {
	var log []byte
	for line := range bytes.Lines(data) {
		if sealed, err := durable.Seal(line); err == nil {
			line = append(sealed, '\n')
		}
		log = append(log, line...)
	}
	return log
}

// A journal is read up to what is damaged: its first record is the fingerprint, and
// each can be written again.
func FuzzJournal(f *testing.F) {
	const first = `{"fingerprint":{"version":5,"source":"ab","recipe":"w4 g32 sym gptq","calibration":{"name":"t","sha256":"cd","seed":1,"length":512,"samples":32},"kernels":"avx2"}}`
	f.Add([]byte(first + "\n" + `{"name":"model.layers.0.mlp.up_proj","line":{"module":"model.layers.0.mlp.up_proj","spec":"w4 g32 sym gptq","bytes":12},"sums":{"a":1}}` + "\n" + `{"stage":{"layer":0,"replaced":["a"]}}`))
	f.Add([]byte(`{"stage":{"layer":0}}` + "\n" + first))
	f.Add([]byte(first + "\n{"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, journal.FileName), sealedLines(data), 0o644); err != nil {
			t.Fatal(err)
		}
		records := journal.ReadJournal(dir)
		if len(records) > 0 && records[0].Fingerprint == nil {
			t.Error("it does not begin with the fingerprint")
		}
		for _, r := range records {
			if _, err := jsonnum.Marshal(r); err != nil {
				t.Errorf("%+v: %v", r, err)
			}
		}
	})
}

// A report that is read can be written, and is the same then.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"source":"demo","source_sha256":"ab","methods_version":5,"recipe":{"name":"q4","default":{"bits":4,"group":32,"symmetric":true,"method":"mse"}},"size_bytes":1,"bpw":4.5,
		"modules":[{"module":"m","spec":"w4 g32 sym mse","bytes":1,"rel_err":0.1}],"calibration":{"name":"t","sha256":"cd","seed":1,"length":2,"samples":3},"substitutions":["a"],"evaluation":{"goal":0.01}}`))
	f.Add([]byte(`{"bpw":"Infinity","evaluation":[1,{"a":null}]}`))
	f.Add([]byte(`{"modules":[{}],"recipe":null}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(data []byte) (journal.Report, error) {
			if err := os.WriteFile(filepath.Join(dir, "report.json"), data, 0o644); err != nil {
				t.Fatal(err)
			}
			return journal.ReadReport(dir)
		}
		r, err := read(data)
		if err != nil {
			return
		}
		once, err := jsonnum.Marshal(r)
		if err != nil {
			t.Fatalf("%s cannot be written: %v", data, err)
		}
		if r, err = read(once); err != nil {
			t.Fatalf("%s cannot be read again: %v", once, err)
		}
		if twice, err := jsonnum.Marshal(r); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s becomes %s, %v", once, twice, err)
		}
	})
}
