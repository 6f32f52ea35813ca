package space

import (
	"errors"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/arch"
	"nibble/quant"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string
	}{
		{"w4 g32 sym gptq, w8 g32 sym rtn, keep", "w4 g32 sym gptq, w8 g32 sym rtn, keep"},
		{"w4 g32/g128 sym/asym rtn", "w4 g32 sym rtn, w4 g32 asym rtn, w4 g128 sym rtn, w4 g128 asym rtn"},
		{"w4/w8 channel", "w4 channel sym mse, w8 channel sym mse"},
		{"keep, keep", "keep"},
	} {
		specs, err := Parse(c.in)
		var got []string
		for _, s := range specs {
			got = append(got, s.String())
		}
		if err != nil || strings.Join(got, ", ") != c.want {
			t.Errorf("%q: %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"", "w5", "w4 g48", "w4,,w8", "recipe.json", "w4; lm_head w8", "w4 g32/", "q4-small", "w4 awkward"} {
		if specs, err := Parse(in); !errors.Is(err, ErrSpecs) {
			t.Errorf("%q: %v, %v; want ErrSpecs", in, specs, err)
		}
	}
}

// Specs that come to the same for a matrix are one option, and every size that is
// offered is there.
func TestDifferent(t *testing.T) {
	specs, err := Parse("w4 g64/g128/channel sym gptq/mse, w4 g64 sym mse top10%, keep")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    model.Module
		want string
	}{
		{model.Module{Name: "model.layers.0.self_attn.q_proj", Kind: "q", Rows: 128, Cols: 128, Linear: &arch.Linear{Role: arch.RoleQ, Input: "attention"}},
			"w4 g64 sym gptq, w4 g64 sym mse, w4 channel sym gptq, w4 channel sym mse, keep"},
		{model.Module{Name: "model.layers.0.mlp.down_proj", Kind: "down", Rows: 128, Cols: 384, Linear: &arch.Linear{Role: arch.RoleDown, Input: "down"}},
			"w4 g64 sym gptq, w4 g64 sym mse, w4 g128 sym gptq, w4 g128 sym mse, w4 channel sym gptq, w4 channel sym mse, keep"},
		// An embedding has no inputs: gptq comes to mse.
		{model.Module{Name: "model.embed_tokens", Kind: "embed", Layer: -1, Rows: 1024, Cols: 128, Linear: &arch.Linear{Role: arch.RoleEmbed}}, "w4 g64 sym mse, w4 channel sym mse, w4 g64 sym top10% mse, keep"},
	} {
		var got []string
		for _, s := range different(c.m, specs) {
			got = append(got, s.String())
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, want %q", c.m.Kind, got, c.want)
		}
	}
}

func TestFused(t *testing.T) {
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	specs, _ := Parse("w4 g32 sym gptq, w8 g32 sym rtn")
	classes, err := Classes(ck, specs, true)
	if err != nil {
		t.Fatal(err)
	}
	if want := 1 + 4*ck.Config.Layers(); len(classes) != want {
		t.Errorf("%d classes, want %d: the embedding, and qkv, o, gate-up and down of every layer", len(classes), want)
	}
	for _, c := range classes {
		for _, o := range c.Options {
			sum := int64(0)
			for _, e := range o.Parts {
				sum += e.Bytes
			}
			if len(o.Parts) != len(c.Matrices) || sum != o.Bytes || sum == 0 {
				t.Errorf("%s %s: %d bytes, its matrices take %d", c.Matrices[0].Name, o.Spec, o.Bytes, sum)
			}
		}
	}
}

// Of several methods that train layers the strongest offered for a scheme refines it.
func TestRefiners(t *testing.T) {
	specs, err := Parse("w4 g32 sym autoround-light/autoround/gptq, w4 g64 sym awq, w8 g32 sym rtn, keep")
	if err != nil {
		t.Fatal(err)
	}
	o := NewOffer(specs)
	for spec, want := range map[string]string{"w4 g32 sym gptq": "w4 g32 sym autoround", "w4 g64 sym gptq": "w4 g64 sym awq", "w8 g32 sym rtn": "w8 g32 sym rtn", "keep": "keep"} {
		r, err := quant.ParseRecipe(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Refined(r.Default); got.String() != want {
			t.Errorf("%s is refined to %s, want %s", spec, got, want)
		}
	}
	if !o.Always || len(o.Screened) != 4 {
		t.Errorf("always %v, %d are screened", o.Always, len(o.Screened))
	}
}
