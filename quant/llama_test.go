package quant

import (
	"encoding/json"
	"testing"

	"nibble/model"
	"nibble/model/modeltest"
)

// llama is the config of a model without weights.
func llama(t *testing.T, c modeltest.Config) model.Config {
	t.Helper()
	c.Eps, c.Theta = 1e-5, 10000
	text, err := json.Marshal(c.JSON())
	if err != nil {
		t.Fatal(err)
	}
	config, err := model.ParseConfig(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return config
}
