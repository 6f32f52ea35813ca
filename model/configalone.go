package model

import (
	"errors"
	"fmt"
	"io/fs"

	"nibble/model/source"
)

// ReadConfig describes the model of a reference by its config.json alone, whether
// there are weights or not. name is the last element of the path.
func ReadConfig(ref string) (name string, c Config, err error) {
	src, name, err := locate(ref)
	if err != nil {
		return "", Config{}, err
	}
	defer src.close() //nolint:errcheck // nothing was written
	err = source.Guard(func() (err error) {
		_, c, err = readConfig(src, ref)
		return err
	})
	return name, c, err
}

// readConfig reads config.json, and what it says without the weights.
func readConfig(src files, ref string) (data []byte, c Config, err error) {
	data, err = src.read("config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, c, fmt.Errorf("%s: %w: it has no config.json; give a Hugging Face model directory", ref, ErrNoConfig)
	} else if err != nil {
		return nil, c, err
	}
	if c, err = ParseConfig(data, nil); err != nil {
		return nil, c, fmt.Errorf("%s: %w", src.path("config.json"), err)
	}
	return data, c, nil
}
