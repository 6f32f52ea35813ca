package export

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/gguf"
)

// Codes survive every layout, and from there a GGUF file, bit for bit.
func TestDirectories(t *testing.T) {
	for _, c := range []struct {
		scheme  kernels.Scheme
		format  string
		back    string // the scheme that the reader finds
		refused string
	}{
		{kernels.Scheme{Bits: 4, Group: 32, Sym: true}, "compressed-tensors", "w4 g32 sym", ""},
		{kernels.Scheme{Bits: 8, Group: 64}, "compressed-tensors", "w8 g64 asym", ""},
		{kernels.Scheme{Bits: 4, Group: 64, Sym: true}, "gptq", "w4 g64 sym", ""},
		{kernels.Scheme{Bits: 4, Group: 32}, "gptq", "w4 g32 asym", ""},
		{kernels.Scheme{Bits: 8, Sym: true}, "gptq", "w8 channel sym", ""},
		{kernels.Scheme{Bits: 4, Group: 32}, "awq", "w4 g32 asym", ""},
		{kernels.Scheme{Bits: 4, Group: 64, Sym: true}, "awq", "w4 g64 sym", ""},
		{kernels.Scheme{Bits: 8, Group: 32, Sym: true}, "awq", "", "even steps of [4] bits"},
		{kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: kernels.NL4}, "gptq", "", "GGUF is nearest"},
		{kernels.Scheme{Bits: 4, Group: 32, Sym: true, Top: 10}, "compressed-tensors", "", "top10%"},
	} {
		t.Run(c.scheme.String()+" "+c.format, func(t *testing.T) {
			src := quantized(t, c.scheme, nil)
			out := filepath.Join(t.TempDir(), "out")
			res, err := Run(context.Background(), Options{Source: src, Out: out, Format: c.format}, nil)
			if c.refused != "" {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%v, want %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !res.Exact || res.MaxAbsDiff != 0 {
				t.Errorf("%s differs by %g", res.WorstName, res.MaxAbsDiff)
			}
			back := open(t, out)
			for _, m := range src.Config.Modules() {
				was, err1 := src.Weight(m)
				is, err2 := back.Weight(m)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				if m.Layer < 0 {
					continue
				}
				if is.Q == nil || is.Q.Scheme.String() != c.back {
					scheme, _ := back.Scheme(m)
					t.Fatalf("%s is %s, want %s", m.Name, scheme, c.back)
				}
				if is.Q.Scheme == was.Q.Scheme && (!slices.Equal(is.Q.Codes, was.Q.Codes) || !slices.Equal(is.Q.Scales, was.Q.Scales) || !slices.Equal(is.Q.Zeros, was.Q.Zeros)) {
					t.Errorf("%s has other codes", m.Name)
				}
			}
			if c.scheme.Bits == 4 && c.scheme.Sym {
				direct, file1 := runTo(t, src, Auto)
				again, file2 := runTo(t, back, Auto)
				if !direct.Exact || !again.Exact {
					t.Error("GGUF differs")
				}
				for _, x := range file1.Tensors {
					_, a := values(t, file1, x.Name)
					if y, b := values(t, file2, x.Name); x.Type != y.Type || !slices.Equal(a, b) || strings.Contains(x.Name, "ffn_up") && x.Type != gguf.Q4_0 {
						t.Errorf("%s is %s, or has other values", x.Name, y.Type)
					}
				}
			}
		})
	}
}

// An embedding in codes becomes floats, and the difference is told.
func TestDirectoryEmbedding(t *testing.T) {
	src, dir := open(t, "demo"), filepath.Join(t.TempDir(), "q")
	schemes := map[string]kernels.Scheme{}
	for _, m := range src.Config.Modules() {
		schemes[m.Name] = kernels.Scheme{Bits: 8, Group: 32, Sym: true}
	}
	w, err := model.Create(take(t, dir), src, schemes)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range src.Config.Modules() {
		q, err := kernels.NewQTensor(m.Rows, m.Cols, schemes[m.Name])
		if err != nil {
			t.Fatal(err)
		}
		for i := range q.Codes {
			q.Codes[i] = byte(i)
		}
		for i := range q.Scales {
			q.Scales[i] = 0x2401 + uint16(i%512)
		}
		if err := w.PutQ(m.Name, q); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	ck := open(t, dir)
	if says := Opens(ck.Config, ck.Scheme); !strings.HasPrefix(says, "nibble alone: model.embed_tokens") {
		t.Error(says)
	}
	for typ, exact := range map[string]bool{"f16": false, "f32": true} {
		out := filepath.Join(t.TempDir(), typ)
		res, err := Run(context.Background(), Options{Source: ck, Out: out, Format: "compressed-tensors", Type: typ}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.Exact != exact || !exact && (res.WorstName != "model.embed_tokens" || res.MaxAbsDiff > 0.005) {
			t.Errorf("%s: exact %v, %s by %g", typ, res.Exact, res.WorstName, res.MaxAbsDiff)
		}
		back := open(t, out)
		if says := Opens(back.Config, back.Scheme); !strings.HasPrefix(says, "transformers") {
			t.Error(says)
		}
		if len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "embed_tokens") {
			t.Errorf("notes %q", res.Notes)
		}
	}
}
