package text

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"nibble/model/chat"
	"nibble/model/source"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path, huge := filepath.Join(dir, "t"), filepath.Join(dir, "huge")
	if err := os.WriteFile(path, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Create(huge); err != nil {
		t.Fatal(err)
	} else if err := errors.Join(f.Truncate(Limit+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	if data, err := Read(path, nil); err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
	if data, err := Read(Stdin, strings.NewReader("piped")); err != nil || string(data) != "piped" {
		t.Errorf("%q, %v", data, err)
	}
	for name, c := range map[string]struct {
		path  string
		stdin io.Reader
		want  error
		says  string
	}{
		"no input":  {Stdin, nil, nil, "give a file"},
		"endless":   {Stdin, endless{}, source.ErrTooLarge, "64 MiB"},
		"too large": {huge, nil, source.ErrTooLarge, "head -c 64M"},
		"directory": {dir, nil, source.ErrSpecial, "standard input"},
		"missing":   {path + "x", nil, os.ErrNotExist, path + "x"},
	} {
		if _, err := Read(c.path, c.stdin); err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// endless is a stream of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestDecode(t *testing.T) {
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var wide []byte
	for _, u := range utf16.Encode([]rune("a text")) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	long := strings.Repeat("Once upon a time. ", 200)
	for name, c := range map[string]struct {
		data string
		want string // "" is refused
		says string // by the error, or by a note
	}{
		"plain":                 {"a\r\nb\u200d\n", "a\r\nb\u200d\n", ""},
		"byte order mark":       {"\ufeffa", "a", ""},
		"the same within":       {"a\ufeffb", "a\ufeffb", ""},
		"empty":                 {"", "", "empty"},
		"blank":                 {"\ufeff \n\t", "", "empty"},
		"gzip":                  {gz.String(), "", "gzip"},
		"zip":                   {"PK\x03\x04abc", "", "zip archive"},
		"zstd":                  {"\x28\xb5\x2f\xfdabc", "", "zstd"},
		"bzip2":                 {"BZh9\x31\x41\x59\x26\xff\xfe\xfd", "", "bzip2"},
		"BZh as a word":         {"BZh is a word", "BZh is a word", ""},
		"PDF":                   {"%PDF-1.7", "", "PDF"},
		"UTF-16":                {"\xff\xfe" + string(wide), "", "UTF-16"},
		"UTF-16, big endian":    {"\xfe\xff\x00a", "", "UTF-16"},
		"UTF-16 without a mark": {string(wide), "", "UTF-16"},
		"UTF-32":                {"\xff\xfe\x00\x00a\x00\x00\x00", "", "UTF-32"},
		"zeros":                 {strings.Repeat("\x00", 3000), "", "binary"},
		"one zero":              {long + "\x00", "", "byte 3600 is zero"},
		"Latin 1":               {strings.Repeat("caf\xe9 ", 100), "", "100 of 500 bytes"},
		"cut in a character":    {long + "\xc3", long + "\ufffd", "1 bytes"},
		"a few bytes":           {long + "\xff" + long + "\xff", strings.Repeat(long+"\ufffd", 2), "2 bytes"},
	} {
		got, notes, err := Decode([]byte(c.data))
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		} else if err != nil || got != c.want || (c.says != "") != (len(notes) == 1) || !strings.Contains(strings.Join(notes, ""), c.says) {
			t.Errorf("%s: %q, notes %q, %v", name, got, notes, err)
		}
	}
}

func TestParse(t *testing.T) {
	template, err := chat.Parse("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data, want string // want "" is refused
		chats      bool
		says       string
	}{
		"prose":               {"Once.\n\nTwice.", "Once.\n\nTwice.", false, ""},
		"prose in brackets":   {"[Scene 1] Enter.", "[Scene 1] Enter.", false, ""},
		"prose in braces":     {"{ int x; }", "{ int x; }", false, ""},
		"prose in quotes":     {"\"Hello,\" she said.\nNo.", "\"Hello,\" she said.\nNo.", false, ""},
		"a number":            {"42", "42", false, ""},
		"lines":               {`{"text": "a"}` + "\r\n\n" + `{"text": "b", "id": 1}`, "a\nb", false, ""},
		"lines after a mark":  {"\ufeff" + `{"text": "a"}`, "a", false, ""},
		"lines of strings":    {"\"a\\n\"\n\"b\"\n", "a\n\nb", false, ""},
		"array":               {"[\n{\"text\": \"a\"},\n \"b\"]\n", "a\nb", false, ""},
		"an object":           {"{\n \"text\": \"a\"\n}", "a", false, ""},
		"messages":            {`{"messages": [{"role": "user", "content": "Hi"}]}`, "<user>Hi", true, ""},
		"parts of messages":   {`{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]}]}`, "<user>Hi!", true, ""},
		"parts of no text":    {`{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}`, "", false, "image_url"},
		"a number as text":    {`{"text": 5}`, "", false, `a JSON number as "Text" is no text`},
		"array in an array":   {`[["a"]]`, "", false, "a JSON array is no text"},
		"comma after the end": {`["a", "b", ]`, "", false, "byte 12"},
		"a cut array":         {"[\n {\"text\": \"a\"},\n {\"te", "", false, "JSON array"},
		"prose of quotes":     {`["Hello," she said]`, `["Hello," she said]`, false, ""},
		"array of messages":   {`[{"messages": [{"role": "user", "content": "Hi"}]}, {"text": "x"}]`, "<user>Hi\nx", true, ""},
		"conversations":       {`{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}`, "<user>Hi<assistant>Ho", true, ""},
		"a broken line":       {`{"text": "a"}` + "\n" + `{"text": "b"`, "", false, "line 2"},
		"a broken first line": {`{"text": "a`, "", false, "line 1"},
		"other objects":       {`{"a": 1}`, "", false, `"messages"`},
		"other elements":      {`[{"text": "a"}, {"b": 1}]`, "", false, "element 2"},
		"numbers":             {`[1, 2]`, "", false, "element 1"},
		"null":                {`[null]`, "", false, "element 1"},
		"empty texts":         {`{"text": ""}`, "", false, "empty"},
		"no texts":            {`[]`, "", false, "empty"},
		"binary":              {"a\x00", "", false, "binary"},
	} {
		got, err := Parse([]byte(c.data), template)
		if c.want == "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %q, %v", name, got.Text, err)
			}
		} else if err != nil || got.Text != c.want || got.Chats != c.chats {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := Parse([]byte(`{"messages": [{"role": "user", "content": "Hi"}, {"content": "Ho"}]}`), nil); err != nil || got.Text != "Hi\nHo" || got.Chats {
		t.Errorf("without a template: %+v, %v", got, err)
	}
}

// Records of a text, whatever is in it.
func TestRecords(t *testing.T) {
	for text, want := range map[string]string{
		"a\n\nb":     "1 a 3 b ",
		"[1, {}]":    "1 1 2 {} ",
		"[1,\n{}]\n": "1 1 2 {} ",
		"[1, {}":     "1 [1, {} ",
		"":           "",
	} {
		got := ""
		for _, r := range Records(text) {
			got += string(rune('0'+r.Line)) + " " + string(r.JSON) + " "
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
