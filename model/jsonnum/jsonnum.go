// Package jsonnum reads and writes as JSON what nibble reports and keeps: results,
// events, journals, reports.
//
// JSON has no way to write an infinite number, or none, and a perplexity can be
// either. They are the strings "Infinity", "-Infinity" and "NaN", wherever a number
// is expected; everything else is as encoding/json has it.
package jsonnum

import (
	"errors"
	"fmt"
	"math"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// special are the numbers that are written as strings.
var special = map[string]float64{"Infinity": math.Inf(1), "-Infinity": math.Inf(-1), "NaN": math.NaN()}

func name(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	case math.IsNaN(v):
		return "NaN"
	}
	return ""
}

var options = json.JoinOptions(jsonv1.DefaultOptionsV1(),
	json.WithMarshalers(json.JoinMarshalers(json.MarshalToFunc(write[float64]), json.MarshalToFunc(write[float32]))),
	json.WithUnmarshalers(json.JoinUnmarshalers(json.UnmarshalFromFunc(read[float64]), json.UnmarshalFromFunc(read[float32]))))

func write[F float32 | float64](e *jsontext.Encoder, v F) error {
	if s := name(float64(v)); s != "" {
		return e.WriteToken(jsontext.String(s))
	}
	return errors.ErrUnsupported
}

func read[F float32 | float64](d *jsontext.Decoder, v *F) error {
	if d.PeekKind() != '"' {
		return errors.ErrUnsupported
	}
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	f, ok := special[t.String()]
	if !ok {
		return fmt.Errorf("%q is no number", t.String())
	}
	*v = F(f)
	return nil
}

// Marshal returns the JSON of v, on one line.
func Marshal(v any) ([]byte, error) { return json.Marshal(v, options) }

// MarshalIndent returns the JSON of v for people to read.
func MarshalIndent(v any) ([]byte, error) {
	return json.Marshal(v, options, jsontext.WithIndent("  "))
}

// Unmarshal reads what Marshal wrote.
func Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v, options) }
