package jsonnum

import (
	"encoding/json"
	"math"
	"testing"
)

type inner struct {
	Err float64 `json:"err,omitempty"`
}

type sample struct {
	A     float64         `json:"a"`
	Small float32         `json:"small"`
	P     *float64        `json:"p,omitempty"`
	List  []float64       `json:"list"`
	Any   any             `json:"any,omitempty"`
	Raw   json.RawMessage `json:"raw,omitempty"`
	Skip  float64         `json:"-"`
	Text  string          `json:"text"`
	*inner
}

// What JSON cannot express is written as a string, and read back.
func TestSpecialNumbers(t *testing.T) {
	inf := math.Inf(-1)
	in := sample{A: math.Inf(1), Small: float32(math.NaN()), P: &inf, List: []float64{1.5, math.NaN()}, Any: math.Inf(1), Skip: math.NaN(), inner: &inner{math.Inf(1)}}
	data, err := Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a":"Infinity","small":"NaN","p":"-Infinity","list":[1.5,"NaN"],"any":"Infinity","text":"","err":"Infinity"}`
	if string(data) != want {
		t.Errorf("%s, want %s", data, want)
	}
	out := sample{inner: &inner{}}
	if err := Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if out.A != in.A || out.Small == out.Small || *out.P != inf || out.List[0] != 1.5 || !math.IsNaN(out.List[1]) || !math.IsInf(out.Err, 1) {
		t.Errorf("read back: %+v", out)
	}
	if err := Unmarshal([]byte(`{"a":"7"}`), &out); err == nil {
		t.Error("a string that is no number is read as one")
	}
}

// All else is as encoding/json writes it.
func TestAsEncodingJSON(t *testing.T) {
	for _, v := range []any{
		sample{A: 1e21, Small: 0.1, Text: "<b> & ünï \u2028", Raw: json.RawMessage(`{"x": 1}`), inner: &inner{}},
		sample{List: []float64{}, Any: map[string]any{"b": 1, "a": nil}},
		map[string]any{"z": 1e-7, "a": []int(nil)},
	} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Marshal(v); err != nil || string(got) != string(want) {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
		want, _ = json.MarshalIndent(v, "", "  ")
		if got, err := MarshalIndent(v); err != nil || string(got) != string(want) {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
