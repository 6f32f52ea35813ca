// Package text reads what users give to be read as text: what a model is calibrated
// with or evaluated on, prompts, recipes, questions. All such files are read alike:
// up to a limit, as UTF-8, and where they are JSON, for the texts in it.
package text

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"nibble/model/source"
)

// Limit is how much of a text is read, in bytes: more than is ever used of one, less
// than would fill the memory.
const Limit = 64 << 20

// Stdin is the path that stands for standard input.
const Stdin = "-"

// Read reads a file, or standard input, which may be nil where it makes no sense.
// What is larger than Limit is refused.
func Read(path string, stdin io.Reader) ([]byte, error) {
	if path == Stdin {
		if stdin == nil {
			return nil, errors.New("standard input cannot be read here: give a file")
		}
		return All(stdin)
	}
	data, _, err := source.Read(path, Limit)
	switch {
	case errors.Is(err, source.ErrTooLarge):
		return nil, fmt.Errorf("%w: give a part of it (head -c %dM)", err, Limit>>20)
	case errors.Is(err, source.ErrSpecial):
		return nil, fmt.Errorf("%w: give a file, or %s for standard input", err, Stdin)
	}
	return data, err
}

// All reads a stream to its end, which must come within Limit.
func All(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, Limit+1))
	if err == nil && len(data) > Limit {
		err = fmt.Errorf("standard input: %w: at most %d MiB are read", source.ErrTooLarge, Limit>>20)
	}
	return data, err
}

// formats are files of other kinds that are given for texts, by how they begin.
var formats = []struct{ magic, name, advice string }{
	{"\x1f\x8b", "compressed by gzip", "unpack it first (gunzip)"},
	{"PK\x03\x04", "a zip archive", "unpack it first (unzip)"},
	{"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first (unzstd)"},
	{"\xfd7zXZ\x00", "compressed by xz", "unpack it first (unxz)"},
	{"BZh", "compressed by bzip2", "unpack it first (bunzip2)"},
	{"%PDF-", "a PDF", "extract its text first (pdftotext)"},
	{"PAR1", "a Parquet file", "export its texts as JSON lines first"},
	{"GGUF", "a GGUF model", "give a text"},
	{"\xff\xfe\x00\x00", "UTF-32", "convert it first (iconv -f UTF-32 -t UTF-8)"},
	{"\x00\x00\xfe\xff", "UTF-32", "convert it first (iconv -f UTF-32 -t UTF-8)"},
	{"\xff\xfe", "UTF-16", "convert it first (iconv -f UTF-16 -t UTF-8)"},
	{"\xfe\xff", "UTF-16", "convert it first (iconv -f UTF-16 -t UTF-8)"},
}

// maxInvalid is the share of bytes that may be no UTF-8, as where a file was cut in
// the middle of a character: one in so many.
const maxInvalid = 1000

// Decode returns the characters of a file that is to be text, without a byte order
// mark. Little that is no UTF-8 is replaced by U+FFFD, as a note tells; what is
// something else than text, or empty, is refused by its name.
func Decode(data []byte) (text string, notes []string, err error) {
	for _, f := range formats {
		if bytes.HasPrefix(data, []byte(f.magic)) && (f.name != "compressed by bzip2" || !utf8.Valid(data)) {
			return "", nil, fmt.Errorf("it is %s: %s", f.name, f.advice)
		}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(bytes.TrimSpace(data)) == 0 {
		return "", nil, errors.New("it is empty")
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return "", nil, fmt.Errorf("it is binary, or UTF-16: byte %d is zero: give a text in UTF-8", i)
	}
	invalid := 0
	for rest := data; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			invalid++
		}
		rest = rest[n:]
	}
	switch {
	case invalid == 0:
	case invalid > max(1, len(data)/maxInvalid):
		return "", nil, fmt.Errorf("it is binary, or not in UTF-8: %d of %d bytes are none: convert it first (iconv -t UTF-8)", invalid, len(data))
	default:
		notes = append(notes, fmt.Sprintf("%d bytes that are no UTF-8 are read as the replacement character", invalid))
	}
	return strings.ToValidUTF8(string(data), "\ufffd"), notes, nil
}
