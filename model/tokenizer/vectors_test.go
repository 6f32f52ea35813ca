package tokenizer

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// vectors are what the tokenizers library does with made-up regular expressions and
// tokenizers, and SentencePiece and tiktoken with small models (testdata/vectors.py says how they are made).
type vectors struct {
	Regex []struct {
		Expression string
		Cases      []regexVector
	}
	Tokenizers []struct {
		Tokenizer json.RawMessage
		Cases     []struct {
			Text, Decoded     string
			IDs, Whole, Plain []int32
			Random            []int32
			RandomDecoded     string `json:"random_decoded"`
		}
	}
	SentencePiece []struct {
		Model []byte
		Cases []struct {
			Text, Decoded string
			IDs, Random   []int32
			RandomDecoded string `json:"random_decoded"`
		}
	}
	Tiktoken []struct {
		Name, Ranks string
		Cases       []struct {
			Text string
			IDs  []int32
		}
	}
}

// regexVector is a text, what it is with its matches replaced, and the matches.
type regexVector struct {
	text, replaced string
	matches        []string
}

func (v *regexVector) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&v.text, &v.replaced, &v.matches})
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	f, err := os.Open(cmp.Or(os.Getenv("NIBBLE_VECTORS"), filepath.Join("testdata", "vectors.json.gz")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// enough fails a test of vectors of which nearly none were tried.
func enough(t *testing.T, tried, refused int) {
	t.Helper()
	if refused > tried/8 {
		t.Errorf("%d were refused, %d tried", refused, tried)
	}
}

func TestVectorsRegex(t *testing.T) {
	tried, refused := 0, 0
	for _, v := range readVectors(t).Regex {
		e, err := compile(v.Expression)
		if err != nil {
			refused++
			continue
		}
		tried++
		for _, c := range v.Cases {
			var matches []string
			for _, m := range e.find(c.text, nil) {
				if m.end > m.begin {
					matches = append(matches, c.text[m.begin:m.end])
				}
			}
			if replaced := e.replace(c.text, "⟦⟧"); replaced != c.replaced || !slices.Equal(matches, c.matches) {
				t.Errorf("%q on %q:\n got %q %q\nwant %q %q", v.Expression, c.text, replaced, matches, c.replaced, c.matches)
			}
		}
	}
	enough(t, tried, refused)
}

func TestVectorsTokenizers(t *testing.T) {
	tried, refused := 0, 0
	for _, v := range readVectors(t).Tokenizers {
		tok, err := Load(v.Tokenizer, nil)
		if err != nil {
			if !errors.Is(err, ErrUnsupported) {
				t.Errorf("%v\n%s", err, v.Tokenizer)
			}
			refused++
			continue
		}
		tried++
		around := tok.Vocabulary()
		for _, c := range v.Cases {
			ids := tok.Encode(c.Text, EncodeOptions{ParseSpecial: true})
			whole := slices.Concat(around.Prefix, ids, around.Suffix)
			plain := tok.Encode(c.Text, EncodeOptions{})
			if !slices.Equal(ids, c.IDs) || !slices.Equal(whole, c.Whole) || !slices.Equal(plain, c.Plain) {
				t.Errorf("%q encodes to\n     %v, whole %v, plain %v,\nwant %v, whole %v, plain %v, with\n%s", c.Text, ids, whole, plain, c.IDs, c.Whole, c.Plain, v.Tokenizer)
			}
			decoded, random := tok.Decode(c.IDs), tok.Decode(c.Random)
			if decoded != c.Decoded || random != c.RandomDecoded {
				t.Errorf("%v and %v decode to\n     %q and %q,\nwant %q and %q, with\n%s", c.IDs, c.Random, decoded, random, c.Decoded, c.RandomDecoded, v.Tokenizer)
			}
			// A stream cannot wait for a run of bytes to end, only then does the first text begin.
			if streamed := stream(tok, c.IDs); streamed != c.Decoded && !strings.Contains(streamed, "\uFFFD") && len(tok.decode.texts) == 0 {
				t.Errorf("%v streams as %q, want %q, with\n%s", c.IDs, streamed, c.Decoded, v.Tokenizer)
			}
		}
	}
	enough(t, tried, refused)
}

func stream(tok *Tokenizer, ids []int32) string {
	s := tok.NewStream()
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Push(id))
	}
	return b.String() + s.Flush()
}

func TestVectorsSentencePiece(t *testing.T) {
	for i, v := range readVectors(t).SentencePiece {
		tok, err := LoadSentencePiece(v.Model, nil, nil)
		if err != nil {
			t.Errorf("model %d: %v", i, err)
			continue
		}
		for _, c := range v.Cases {
			if ids := tok.Encode(c.Text, EncodeOptions{}); !slices.Equal(ids, c.IDs) {
				t.Errorf("model %d, %s: %q encodes to\n     %v, want\n     %v", i, tok.Kind(), c.Text, ids, c.IDs)
			}
			decoded, random := tok.Decode(c.IDs), tok.Decode(c.Random)
			if decoded != c.Decoded || random != c.RandomDecoded {
				t.Errorf("model %d, %s: %v and %v decode to\n     %q and %q,\nwant %q and %q", i, tok.Kind(), c.IDs, c.Random, decoded, random, c.Decoded, c.RandomDecoded)
			}
		}
	}
}

func TestVectorsTiktoken(t *testing.T) {
	for i, v := range readVectors(t).Tiktoken {
		tok, err := LoadTiktoken("models/"+v.Name+".tiktoken", []byte(v.Ranks), nil, nil)
		if err != nil {
			t.Errorf("file %d: %v", i, err)
			continue
		}
		for _, c := range v.Cases {
			ids := tok.Encode(c.Text, EncodeOptions{})
			if !slices.Equal(ids, c.IDs) {
				t.Errorf("file %d, %s: %q encodes to\n     %v, want\n     %v", i, v.Name, c.Text, ids, c.IDs)
			}
			if back := tok.Decode(ids); back != c.Text {
				t.Errorf("file %d, %s: %q decodes to %q", i, v.Name, c.Text, back)
			}
		}
	}
}
