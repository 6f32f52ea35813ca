package format

import (
	"errors"
	"testing"
)

func TestParseScheme(t *testing.T) {
	for _, s := range Plain() {
		if got, err := Parse(s.String()); err != nil || got != s {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	if _, err := Parse("w5 g32 sym"); !errors.Is(err, ErrScheme) {
		t.Errorf("five bits: %v", err)
	}
}
