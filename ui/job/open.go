package job

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
)

// Load selects kernels for a model's products and prepares its weights. Kernels come
// first: what measuring them takes is free again before the weights come.
func Load(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, o kernels.SelectOptions, listen func(kernels.Event)) (*rt.Model, error) {
	if shapes := rt.Shapes(ck.Config.Modules(), eng.Threads(), ck.Scheme); len(shapes) > 0 {
		if _, err := eng.Select(ctx, shapes, o, listen); err != nil {
			return nil, err
		}
	}
	return rt.Load(ctx, eng, ck)
}

// NeedTokenizer reports why a model cannot handle text.
func NeedTokenizer(ck *model.Checkpoint) error {
	if ck.Tokenizer != nil {
		return nil
	}
	return fmt.Errorf("%s: text needs a tokenizer: %w", ck.Ref, ck.TokenizerErr)
}

// Comparable reports why two models cannot be compared token by token.
func Comparable(a, b *model.Checkpoint) error {
	for _, ck := range []*model.Checkpoint{a, b} {
		if err := NeedTokenizer(ck); err != nil {
			return err
		}
	}
	if !a.Tokenizer.Equal(b.Tokenizer) || a.Config.Vocab != b.Config.Vocab {
		return fmt.Errorf("%s and %s have different vocabularies and cannot be compared token by token", a.Ref, b.Ref)
	}
	return nil
}

// Notes are what of a model's files is missing or is not done as they say.
func Notes(ck *model.Checkpoint) []string {
	var notes []string
	if ck.TokenizerErr != nil {
		notes = append(notes, ck.TokenizerErr.Error())
	}
	if ck.TemplateErr != nil {
		notes = append(notes, ck.TemplateErr.Error())
	}
	_, generation := rt.DefaultOptions(ck.Generation)
	return append(append(notes, ck.Notes...), generation...)
}
