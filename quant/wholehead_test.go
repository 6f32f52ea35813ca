package quant

import (
	"context"
	"errors"
	"strings"
	"testing"

	"nibble/model"
	"nibble/quant/block"
)

// A head whose rows are brought to length 1 has no gradient here, and training
// through it is refused before it begins.
func TestNormalizedHeadIsNotTrained(t *testing.T) {
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	ck.Config.Head.Normalize = true
	p := &pass{ck: ck}
	if _, err := p.newWholeHead(context.Background(), block.Parts{}); !errors.Is(err, model.ErrUnsupported) || !strings.HasPrefix(err.Error(), "demo: ") {
		t.Errorf("%v", err)
	}
}
