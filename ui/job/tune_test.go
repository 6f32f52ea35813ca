package job

import (
	"strings"
	"testing"

	"nibble/tune"
)

// What a run was asked for is read back, unless another version of nibble kept it.
func TestAsked(t *testing.T) {
	run := tune.Record{ID: "a", Request: []byte(`{"model": "demo", "specs": "keep"}`), State: tune.Dead}
	if got, err := Asked(run); err != nil || got.Model != "demo" || got.Specs != "keep" {
		t.Errorf("%+v, %v", got, err)
	}
	run.State = tune.Old
	if _, err := Asked(run); err == nil || !strings.Contains(err.Error(), "another version of nibble") {
		t.Errorf("an old run: %v", err)
	}
	run.State, run.Request = tune.Dead, nil
	if _, err := Asked(run); err == nil || !strings.Contains(err.Error(), "give its command again") {
		t.Errorf("without a request: %v", err)
	}
}
