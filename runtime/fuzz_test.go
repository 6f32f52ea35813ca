package runtime

import (
	"encoding/json"
	"testing"

	"nibble/model"
)

// Whatever generation_config.json says, the options are ones that can be used.
func FuzzDefaultOptions(f *testing.F) {
	for _, s := range []string{`{"do_sample":true,"temperature":0.6,"top_p":0.9,"top_k":50.0,"min_p":0.1,"repetition_penalty":1.1,"max_new_tokens":9,"max_length":20}`,
		`{"temperature":-1,"top_k":1e99,"top_p":"x","eos_token_id":[1]}`, `{"temperature":null,"do_sample":0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var g model.Generation
		if json.Unmarshal(data, &g.Fields) != nil {
			return
		}
		o, _ := DefaultOptions(g)
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	})
}
