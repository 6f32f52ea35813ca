package tokenizer

import (
	"encoding/json"
	"fmt"
)

// template is what a post-processor says of whole texts: which tokens begin and
// end one.
type template struct {
	Single []struct {
		SpecialToken *struct{ ID string } `json:"SpecialToken"`
		Sequence     *struct{ ID string } `json:"Sequence"`
	} `json:"single"`
	SpecialTokens map[string]struct{ IDs []int32 } `json:"special_tokens"`
	CLS           namedID                          `json:"cls"` // of BertProcessing and RobertaProcessing
	SEP           namedID                          `json:"sep"`
}

// namedID is a token as a pair of its text and its id.
type namedID struct{ id int32 }

func (n *namedID) UnmarshalJSON(data []byte) error {
	var name string
	return json.Unmarshal(data, &[]any{&name, &n.id})
}

// maxAround bounds the tokens that are put around a text.
const maxAround = 1 << 10

// postProcess reads which tokens are put around a text.
func (t *Tokenizer) postProcess(c *component) error {
	if c == nil {
		return nil
	}
	switch c.Type {
	case "Sequence":
		for i := range c.Processors {
			if err := t.postProcess(&c.Processors[i]); err != nil {
				return err
			}
		}
		return nil
	case "ByteLevel": // only trims offsets
		return nil
	case "BertProcessing", "RobertaProcessing":
		return t.around([]int32{c.CLS.id}, []int32{c.SEP.id})
	case "TemplateProcessing":
		return t.fill(c.template)
	}
	return fmt.Errorf("%w: post-processor %q", ErrUnsupported, c.Type)
}

func (t *Tokenizer) fill(c template) error {
	var before, after []int32
	texts := 0
	for _, e := range c.Single {
		if e.Sequence != nil {
			texts++
			continue
		}
		if e.SpecialToken == nil {
			continue
		}
		token, ok := c.SpecialTokens[e.SpecialToken.ID]
		if !ok {
			return fmt.Errorf("%w: the template names %q and does not say what it is", ErrCorrupt, e.SpecialToken.ID)
		}
		if len(before)+len(after)+len(token.IDs) > maxAround {
			return fmt.Errorf("%w: the template puts more than %d tokens around a text", ErrUnsupported, maxAround)
		}
		if texts == 0 {
			before = append(before, token.IDs...)
		} else {
			after = append(after, token.IDs...)
		}
	}
	if texts != 1 {
		return fmt.Errorf("%w: the template has the text %d times", ErrUnsupported, texts)
	}
	return t.around(before, after)
}

// around puts tokens before and after texts, and what is there already.
func (t *Tokenizer) around(before, after []int32) error {
	for _, ids := range [][]int32{before, after} {
		for _, id := range ids {
			if id < 0 || int(id) >= len(t.pieces) {
				return fmt.Errorf("%w: the post-processor names token %d", ErrCorrupt, id)
			}
		}
	}
	if len(t.prefix)+len(t.suffix) > 0 {
		return fmt.Errorf("%w: two post-processors that put tokens around a text", ErrUnsupported)
	}
	t.prefix, t.suffix = before, after
	return nil
}
