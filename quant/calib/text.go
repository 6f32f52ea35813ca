package calib

import (
	"bytes"
	"embed"

	"nibble/model"
	"nibble/model/demo"
)

// pieces make up the general text, written for nibble: prose of many kinds,
// dialogues, code, tables, mathematics, a little of other languages.
//
//go:embed text/*.md text/*.txt
var pieces embed.FS

// GeneralNote is what a calibration with the general text says of itself.
const GeneralNote = "calibrated with nibble's general text; text like your own use (--calib FILE) is better"

// defaultText is what a model is calibrated with unless told otherwise: the demo
// with stories like those that it was trained on, any other with the general text.
func defaultText(ck *model.Checkpoint) (name string, text []byte, note string) {
	if ck.Ref == demo.Name {
		return "built-in stories", demo.CalibText(), ""
	}
	return "built-in general text", GeneralText(), GeneralNote
}

// GeneralText joins the pieces in the order of their names.
func GeneralText() []byte {
	const dir = "text"
	files, err := pieces.ReadDir(dir)
	var all bytes.Buffer
	for _, f := range files {
		piece, e := pieces.ReadFile(dir + "/" + f.Name())
		if e != nil {
			err = e
		}
		all.Write(piece)
		all.WriteByte('\n')
	}
	if err != nil {
		panic(err) // they are part of the program
	}
	return all.Bytes()
}
