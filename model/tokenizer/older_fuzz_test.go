package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// checkTokenizer makes sure that an accepted tokenizer can be used.
func checkTokenizer(t *testing.T, tok *Tokenizer, err error) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("an error of another kind: %v", err)
		}
		return
	}
	for _, text := range []string{"", " ", "a b", "Hello, the cat's é\u0301 日本 🙂\r\n  ", strings.Repeat("a", 200), "\x00\xff"} {
		ids := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true})
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("%q has token %d of %d", text, id, tok.VocabSize())
			}
		}
		tok.Decode(ids)
		stream(tok, ids)
	}
	tok.Vocabulary()
}

func FuzzSentencePiece(f *testing.F) {
	for _, v := range readVectors(f).SentencePiece {
		f.Add(v.Model)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := LoadSentencePiece(data, nil, nil)
		checkTokenizer(t, tok, err)
	})
}

func FuzzTiktoken(f *testing.F) {
	for _, v := range readVectors(f).Tiktoken {
		f.Add(v.Name, []byte(v.Ranks))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		tok, err := LoadTiktoken(name, data, nil, nil)
		checkTokenizer(t, tok, err)
	})
}

// What a table of characters makes of a text is within its bound.
func FuzzCharsmap(f *testing.F) {
	for _, v := range readVectors(f).SentencePiece {
		if m, err := parseSentencePiece(v.Model); err == nil && len(m.charsmap) > 0 {
			f.Add(m.charsmap, "e\u0301\u0302 ﬁ ② ﷺ")
			break
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte, text string) {
		n, err := precompiled(base64.StdEncoding.EncodeToString(blob))
		if err != nil {
			return
		}
		if out := n(text); len(out) > maxCharGrowth*len(text) {
			t.Errorf("%q becomes %d bytes", text, len(out))
		}
		m, _ := newCharsmap(blob)
		sp := sentencePieceNormalizer{charsmap: m, trim: true, space: visibleSpace}
		sp.normalize(text)
	})
}

// A trie holds the keys that it was made of.
func FuzzTrie(f *testing.F) {
	f.Add("a ab abc b", "abcd")
	f.Fuzz(func(t *testing.T, keys, text string) {
		values := map[string]int32{}
		for i, key := range strings.Split(keys, " ") {
			if key != "" {
				values[key] = int32(i)
			}
		}
		tree := newTrie(values)
		for key, value := range values {
			if got, n := tree.longest(key); n != len(key) || got != value {
				t.Errorf("%q is found as %d of %d bytes", key, got, n)
			}
		}
		tree.longest(text)
	})
}

// Models of every type in tokenizer.json.
func FuzzModels(f *testing.F) {
	for _, v := range readVectors(f).Tokenizers {
		f.Add([]byte(v.Tokenizer))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Load(data, nil)
		checkTokenizer(t, tok, err)
	})
}

// A damaged table of characters is refused or harmless.
func TestCharsmapRefuses(t *testing.T) {
	table := func(units []uint32, texts string) []byte {
		blob := binary.LittleEndian.AppendUint32(nil, uint32(4*len(units)))
		for _, u := range units {
			blob = binary.LittleEndian.AppendUint32(blob, u)
		}
		return append(blob, texts...)
	}
	// a key of one letter: the root's children begin at 0, the letter's value at 98.
	units := make([]uint32, 128)
	units['a'] = 'a' | 1<<8 | 3<<10
	units['a'^3] = 1<<31 | 2
	for name, c := range map[string]struct {
		blob []byte
		want error
	}{
		"nothing":            {nil, ErrCorrupt},
		"too short":          {[]byte{8, 0, 0, 0, 1, 2, 3, 4}, ErrCorrupt},
		"no array":           {[]byte{0, 0, 0, 0}, ErrCorrupt},
		"half a unit":        {[]byte{2, 0, 0, 0, 1, 2}, ErrCorrupt},
		"a letter":           {table(units, "xyb\x00"), nil},
		"a text elsewhere":   {table(units, ""), nil},
		"a long text":        {table(units, "xy"+strings.Repeat("b", 13)+"\x00"), ErrUnsupported},
		"a text without end": {table(units, "xyb"), nil},
	} {
		m, err := newCharsmap(c.blob)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
			continue
		}
		if err != nil {
			continue
		}
		want := "b"
		if name == "a text elsewhere" {
			want = ""
		}
		if got, n := m.find("ab", true); got != want || n != 1 {
			t.Errorf("%s: a becomes %q (%d bytes)", name, got, n)
		}
	}
}
