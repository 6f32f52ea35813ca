package eval

import (
	"bytes"
	"embed"
	"io/fs"

	"nibble/model"
	"nibble/model/demo"
)

// parts make up the prose, written for nibble.
//
//go:embed prose/*.txt
var parts embed.FS

// DemoText is the demo's story text, held out of its training.
func DemoText() Text { return NewText("demo:eval_stories.txt", demo.EvalText()) }

// Prose is general prose, of which no model has seen anything and no default
// calibration uses anything.
func Prose() Text {
	var all bytes.Buffer
	err := fs.WalkDir(parts, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		part, err := parts.ReadFile(path)
		all.Write(part)
		all.WriteString("\n\n") // as between the pieces of a part
		return err
	})
	if err != nil {
		panic(err) // they are part of the program
	}
	return NewText("built-in prose", all.Bytes())
}

// DefaultText is what a model is measured on unless told otherwise: the demo on
// stories, the only kind of text that it knows, any other on prose.
func DefaultText(ck *model.Checkpoint) Text {
	if IsDemo(ck) {
		return DemoText()
	}
	return Prose()
}

// IsDemo reports whether a checkpoint has the demo's vocabulary: the demo itself or
// what was made of it.
func IsDemo(ck *model.Checkpoint) bool {
	if ck.Name == demo.Name {
		return true
	}
	if ck.Tokenizer == nil {
		return false
	}
	own, err := model.Open(demo.Name)
	if err != nil {
		return false
	}
	defer own.Close()
	return own.Tokenizer != nil && own.Tokenizer.Equal(ck.Tokenizer)
}
