package job

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"nibble/model"
	"nibble/quant"
	"nibble/tune"
)

// What is asked for replaces what generation_config.json says, and nothing else does.
func TestGeneration(t *testing.T) {
	of := model.Generation{Fields: map[string]json.RawMessage{"temperature": json.RawMessage("0.3"), "top_p": json.RawMessage("0.5"), "top_k": json.RawMessage("7"), "max_length": json.RawMessage("99"), "stop_strings": json.RawMessage(`"end"`)}}
	o, notes := Generation{}.For(of)
	if o.Temp != 0.3 || o.TopP != 0.5 || o.TopK != 7 || o.MaxLength != 99 || len(o.Stop) != 1 || len(notes) > 0 {
		t.Errorf("the model's own: %+v, %q", o, notes)
	}
	temp, topK, tokens, seed := 1.5, 0, 5, uint64(0)
	o, _ = Generation{Temp: &temp, TopK: &topK, Tokens: &tokens, Seed: &seed, Stop: []string{}}.For(of)
	if o.Temp != 1.5 || o.TopP != 0.5 || o.TopK != 0 || o.MaxTokens != 5 || o.MaxLength != 0 || o.Seed != 0 || len(o.Stop) > 0 {
		t.Errorf("what is asked for: %+v", o)
	}
	of.Fields["do_sample"] = json.RawMessage("false")
	if _, notes := (Generation{TopK: &topK}).For(of); len(notes) != 1 || !strings.Contains(notes[0], "temperature above 0") {
		t.Errorf("a setting without effect: %q", notes)
	}
	if _, notes := (Generation{TopK: &topK, Temp: &temp}).For(of); len(notes) > 0 {
		t.Errorf("a setting with effect: %q", notes)
	}
	bad := math.NaN()
	if (Generation{Temp: &bad}).Validate() == nil || (Generation{Temp: &temp}).Validate() != nil {
		t.Error("Validate")
	}
}

// A recipe has the calibration that its methods need, and refuses one that none would
// read.
func TestQuantize(t *testing.T) {
	ck := openDemo(t)
	o, err := Quantize{Recipe: "w4 g32 sym gptq", Out: "d", Restart: true, Force: true, Calibration: Calibration{Samples: 3, Length: 64}}.For(nil, ck, nil)
	if err != nil || o.Recipe.Default.Method != "gptq" || o.Out != "d" || !o.Restart || !o.Force || o.Calibration.Samples != 3 || o.Calibration.Length != 64 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := (Quantize{}).For(nil, ck, nil); err != nil || o.Calibration != nil || o.Recipe.String() != quant.DefaultRecipe().String() {
		t.Errorf("the default: %+v, %v", o, err)
	}
	if o, err := (Quantize{Recipe: "w8", Calibration: Calibration{Path: "a.txt"}}).For(nil, ck, nil); !errors.Is(err, ErrUnused) || o.Recipe.Default.Bits != 8 {
		t.Errorf("a text without use: %v", err)
	}
	if _, err := (Quantize{Recipe: "w5"}).For(nil, ck, nil); err == nil {
		t.Error("a recipe that is none")
	}
}

// The goal that is told is the one that the search has, and all limits are told.
func TestAim(t *testing.T) {
	for _, c := range []struct {
		o    tune.Options
		aim  float64
		says string
	}{
		{tune.Options{}, tune.DefaultGoal, "the smallest recipe that adds at most 1.00 % to the perplexity"},
		{tune.Options{Goal: 0.02, MaxBPW: 4.5}, 0.02, "the smallest recipe that adds at most 2.00 % to the perplexity, at most 4.5 bpw"},
		{tune.Options{MaxBytes: 5e6}, 0, "the most accurate recipe, at most 5.00 MB"},
		{tune.Options{MinTPS: 9}, 0, "the most accurate recipe, at least 9 tokens/s"},
		{tune.Options{MaxRSS: 2e9}, 0, "the most accurate recipe, in 2.00 GB of memory"},
	} {
		if got, says := Aim(c.o), SearchText(c.o); got != c.aim || says != c.says {
			t.Errorf("%+v: %g, %q", c.o, got, says)
		}
	}
}

// What a search is asked for is kept with its run, with absolute paths.
func TestTune(t *testing.T) {
	ck := openDemo(t)
	o, err := Tune{Model: "demo", Out: "d", Goal: "2%", Size: "5MB", Calibration: Calibration{Samples: 2, Length: 64}}.For(ck)
	if err != nil || o.Goal != 0.02 || o.MaxBytes != 5e6 || o.Source != ck || o.Calibration.Samples != 2 || o.Out != "d" {
		t.Fatalf("%+v, %v", o, err)
	}
	asked, err := Asked(tune.Record{Request: o.Request})
	if err != nil || asked.Model != "demo" || asked.Goal != "2%" || !strings.HasSuffix(asked.Out, "/ui/job/d") {
		t.Errorf("%+v, %v", asked, err)
	}
	if _, err := Asked(tune.Record{ID: "x"}); err == nil {
		t.Error("a run that does not say how it was begun")
	}
	for _, bad := range []Tune{{Goal: "5"}, {Size: "x"}, {MaxRSS: "-1"}, {Specs: "w5"}, {Text: "-"}} {
		if _, err := bad.Limits(); err == nil {
			t.Errorf("%+v is no mistake", bad)
		}
	}
}
