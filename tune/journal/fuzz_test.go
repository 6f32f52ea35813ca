package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"nibble/kernels/durable"
	"nibble/model/jsonnum"
	"nibble/tune/search"
)

// sealed gives each line its checksum, where it can have one.
func sealed(data []byte) []byte {
	var log []byte
	for line := range bytes.Lines(data) {
		if s, err := durable.Seal(line); err == nil {
			line = append(s, '\n')
		}
		log = append(log, line...)
	}
	return log
}

// A run that is read has a state, and can be listed, explained and written again.
func FuzzRun(f *testing.F) {
	f.Add([]byte(`{"id":"a","model":"demo","started":"2026-01-01T00:00:00Z","goal":0.01,"fingerprint":"ab","stopped_by":"done","choices":[{"matrix":"m","spec":"keep"}],"request":{"model":"demo"}}`),
		[]byte(`{"id":1,"phase":"tuned","recipe":{"default":{"bits":4,"group":32,"symmetric":true,"method":"rtn"}},"state":"passed","ppl_ratio":1.01,"kld":0.1}`+"\n"+`{"id":2,"state":"failed"}`))
	f.Add([]byte(`{"goal":"Infinity"}`), []byte(`{"ppl_ratio":"NaN","state":"measured"}`))
	f.Add([]byte(`[]`), []byte(`{`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, record, trials []byte) {
		for name, data := range map[string][]byte{recordName: bytes.TrimSuffix(sealed(bytes.ReplaceAll(record, []byte("\n"), nil)), []byte("\n")), trialsName: sealed(trials)} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		run, err := LoadRun(dir)
		if err != nil {
			return
		}
		if run.State == "" {
			t.Error("the run has no state")
		}
		if _, err := jsonnum.Marshal(run); err != nil {
			t.Errorf("%+v: %v", run, err)
		}
		search.Best(run.Trials)
		for _, p := range search.Front(run.Trials) {
			if p.Trial == 0 && len(run.Trials) == 0 {
				t.Error("a front of nothing")
			}
		}
	})
}
