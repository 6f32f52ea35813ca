package cli

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"nibble/eval"
)

// An infinite perplexity is a measurement: there is a result, which says so.
func TestInfiniteResult(t *testing.T) {
	var out bytes.Buffer
	r := &jsonReporter{newApp(nil, &out, nil)}
	r.result(evalResult{Result: eval.Result{PPL: math.Inf(1), Comparison: &eval.Comparison{PPLDiffSE: math.NaN()}}}, nil)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["type"] != "result" || line["ppl"] != "Infinity" || line["ppl_diff_se"] != "NaN" {
		t.Errorf("%s", out.Bytes())
	}
}
