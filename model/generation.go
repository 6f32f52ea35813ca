package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"nibble/model/arch"
)

// Generation is what the checkpoint says of how text is generated: the end tokens
// and the fields of generation_config.json, whose meaning the runtime knows.
// What cannot be read is told, not refused: most of what is done with a model
// needs none of it.
type Generation struct {
	EOS    []int                      // any of them ends a text
	Fields map[string]json.RawMessage // nil if there are none
	Notes  []string                   // what could not be read
}

// openGeneration reads generation_config.json, whose end tokens replace those of
// config.json.
func (c *Checkpoint) openGeneration() {
	g := &c.Generation
	g.EOS = c.Config.EOS
	data, err := c.files.read(generationFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = unmarshalObject(arch.StandardJSON(data), &g.Fields)
	}
	if err != nil {
		g.Fields = nil
		g.Notes = append(g.Notes, fmt.Sprintf("%s cannot be read and is ignored: %v", generationFile, err))
		return
	}
	eos, err := tokenIDs(g.Fields["eos_token_id"])
	switch {
	case err != nil:
		g.Notes = append(g.Notes, fmt.Sprintf("%s: eos_token_id is %v: that of config.json is used", generationFile, err))
	case len(eos) > 0:
		g.EOS = eos
	}
}

const generationFile = "generation_config.json"

// unmarshalObject is json.Unmarshal with an error for people about a value of
// another kind.
func unmarshalObject(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
		return fmt.Errorf("%s is a JSON %s, which does not belong there", cmp.Or(kind.Field, "it"), kind.Value)
	}
	return err
}
