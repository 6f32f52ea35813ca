package workbench

import (
	"context"
	"errors"
	"fmt"

	"nibble/eval"
	"nibble/kernels/panics"
	"nibble/model/chat"
	"nibble/model/tokenizer"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/ui/job"
	"nibble/ui/term"
)

// compareRequest asks both models for an answer to the same prompt, with the same seed.
type compareRequest struct {
	system, text string
	settings     job.Generation
	begun        []int32 // how both answers begin; nil is freely
}

// compareState is the last comparison.
type compareState struct {
	request     compareRequest
	begun       string // in words
	float, int4 side
	steps       []eval.Step // on the float model's answer, after its beginning
	own         []eval.Step // of the INT4 model's answer, where it is a text of its own
	split       int         // the first step whose token the INT4 model did not take; len(steps) if there is none
	temp        float64
	seed        uint64
}

// side is one model's answer.
type side struct {
	name, answer, stats string
}

var errNoPair = errors.New("there is no INT4 model to compare with: press z on the Model page, or t")

// compare lets both models answer, and then compares what they say at each token of the
// float model's answer.
func (b *backend) compare(r compareRequest) {
	b.start("comparing", func(ctx context.Context) error { return b.doCompare(ctx, r) })
}

// improve makes another INT4 model and compares again.
func (b *backend) improve(recipe quant.Recipe, r compareRequest) {
	b.start("quantizing", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		if err := b.apply(ctx, recipe, nil); err != nil {
			return err
		}
		return b.doCompare(ctx, r)
	})
}

func (b *backend) doCompare(ctx context.Context, r compareRequest) error {
	if err := b.ready(); err != nil {
		return err
	}
	if b.int4 == nil {
		return errNoPair
	}
	if err := job.NeedTokenizer(b.ck); err != nil {
		return err
	}
	prompt, err := b.encode(ctx, r)
	if err != nil {
		return err
	}
	o, _ := r.settings.For(b.ck.Generation)
	begun := b.ck.Tokenizer.Decode(r.begun)
	b.mail.fact(func(s *state) {
		s.compare = compareState{request: r, begun: term.Clean(begun), temp: o.Temp, seed: o.Seed,
			float: side{name: b.ck.DType() + " float"}, int4: side{name: "INT4 " + s.model.recipe}}
	})
	models := []*rt.Model{b.base, b.int4}
	sides := func(s *state) []*side { return []*side{&s.compare.float, &s.compare.int4} }
	said, errs := make([][]int32, len(models)), make([]error, len(models))
	var both []*panics.Goroutine
	for i, m := range models {
		both = append(both, panics.Go(func() {
			session := m.NewSession(0)
			res, err := m.Generate(ctx, session, prompt, o, func(part string) {
				b.mail.fact(func(s *state) { sides(s)[i].answer += term.Clean(part) })
			})
			if errs[i] = err; err != nil {
				return
			}
			said[i] = append([]int32(nil), session.Tokens()[len(prompt):]...)
			stats := fmt.Sprintf("%d tokens, %s/s beside the other, ended by %s", res.Tokens, term.Digits(res.DecodeTPS), res.StopReason)
			b.mail.fact(func(s *state) { sides(s)[i].stats = stats })
		}))
	}
	for _, g := range both {
		g.Wait()
	}
	if err := errors.Join(errs...); err != nil || ctx.Err() != nil {
		return err
	}
	trace := func(answer []int32) ([]eval.Step, error) {
		steps, err := eval.Trace(ctx, b.base, b.int4, append(prompt[:len(prompt):len(prompt)], answer...), len(prompt))
		for i, s := range steps {
			steps[i] = s.Clean(term.Clean)
		}
		return steps, err
	}
	steps, err := trace(said[0])
	if err != nil {
		return err
	}
	own, err := trace(said[1])
	if err != nil {
		return err
	}
	split := 0
	for split < len(said[0]) && split < len(said[1]) && said[0][split] == said[1][split] {
		split++
	}
	if split == len(said[0]) && split < len(said[1]) {
		split = len(said[0]) - 1 // one ended where the other went on
	}
	b.mail.fact(func(s *state) {
		c := &s.compare
		c.steps, c.own, c.split = steps, own, split
		if split == len(steps) {
			s.say("both models say the same")
		} else {
			s.say(fmt.Sprintf("the answers part at token %d of %d", split+1, len(steps)))
		}
	})
	return nil
}

// encode is what both models go on from.
func (b *backend) encode(ctx context.Context, r compareRequest) ([]int32, error) {
	var ids []int32
	if b.base.Template == nil {
		ids = b.ck.Tokenizer.Encode(r.text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	} else {
		var messages []chat.Message
		if r.system != "" {
			messages = append(messages, chat.Message{Role: "system", Content: r.system})
		}
		var err error
		if ids, err = rt.EncodeChat(ctx, b.base, append(messages, chat.Message{Role: "user", Content: r.text})); err != nil {
			return nil, err
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("the model has no tokens for this prompt")
	}
	return append(ids, r.begun...), nil
}
