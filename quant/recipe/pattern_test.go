package recipe

import (
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"nibble/model"
)

// Patterns mean what path.Match says, in a time that does not explode.
func TestMatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	pieces := []string{"*", "*", "a", "b", "?", "[ab]", "[a-c]", "[^a]", `\*`, `[\]a]`, "é"}
	letters := []string{"a", "b", "*", "é", "."}
	matched := 0
	for range 20000 {
		var pattern, name strings.Builder
		for range rng.IntN(7) {
			pattern.WriteString(pieces[rng.IntN(len(pieces))])
		}
		for range rng.IntN(7) {
			name.WriteString(letters[rng.IntN(len(letters))])
		}
		want, err := path.Match(pattern.String(), name.String())
		if err != nil {
			t.Fatal(err)
		}
		if got := matches(pattern.String(), name.String()); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern.String(), name.String(), got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d of the names matched", matched)
	}
	if name := strings.Repeat("a", 100); matches(strings.Repeat("*a", 50)+"b", name) || !matches(strings.Repeat("*a", 50), name) {
		t.Error("many stars")
	}
	for _, bad := range []string{"[", "a[", "*[a", "[]", "[a-", "[-"} { // which nobody may have checked
		for _, name := range []string{"", "a", "[", "a["} {
			if matches(bad, name) {
				t.Errorf("%q matches %q", bad, name)
			}
		}
	}
	for pattern, want := range map[string]bool{"*": true, "a[bc]": true, "": false, "[": false, `a\`: false, "[]": false, strings.Repeat("a", maxPattern+1): false} {
		if wellFormed(pattern) != want {
			t.Errorf("%.10q is well-formed: %v", pattern, !want)
		}
	}
	for _, open := range []string{"[", "[a", "[a-", "[-", "[]", "*[a"} { // of a file that was changed
		if matches(open, "a") {
			t.Errorf("%q has no end", open)
		}
	}
}

// A matrix that lies right in its layer, as Gemma 4 has them, is matched by the number
// of the layer.
func TestCompactWithoutStep(t *testing.T) {
	if got := layersOf(model.Module{Name: "model.layers.12.per_layer_input_gate", Layer: 12}); got != "*.%s.per_layer_input_gate" {
		t.Error(got)
	}
	if got := layersOf(model.Module{Name: "model.layers.12.mlp.up_proj", Layer: 12}); got != "*.%s.*.up_proj" {
		t.Error(got)
	}
}
