package chat

import (
	"fmt"
	"maps"
	"slices"
)

// Options are what may be asked of a template.
type Options struct {
	Template string // one of several by its name; "" for the default
	Thinking *bool  // reason before the answer; nil: as the template has it
}

// thinkingSwitches are the variables by which templates are told to make a model
// reason before it answers.
var thinkingSwitches = []string{"enable_thinking", "thinking"}

// effortSwitch is the variable of models that always reason, more or less.
const effortSwitch = "reasoning_effort"

// CanThink reports whether the template asks if the model should reason.
func (t *Template) CanThink() bool {
	return slices.ContainsFunc(append([]string{effortSwitch}, thinkingSwitches...), t.jinja.Uses)
}

// With returns the template with options. Thinking reaches a template under the names
// that templates ask for; one that only asks for an effort gets "low" in the place of
// none.
func (t *Template) With(o Options) (*Template, error) {
	out := &Template{jinja: t.jinja, tokens: t.tokens, sources: t.sources, now: t.now, vars: maps.Clone(t.vars)}
	if out.vars == nil {
		out.vars = make(map[string]any)
	}
	if o.Template != "" {
		i := slices.IndexFunc(t.sources, func(n Named) bool { return n.Name == o.Template })
		if i < 0 {
			return nil, fmt.Errorf("%w: there is none called %q (there is: %s)", ErrTemplate, o.Template, spell(t.sources))
		}
		named, err := Parse(t.sources[i].Text, t.tokens)
		if err != nil {
			return nil, err
		}
		out.jinja = named.jinja
	}
	if o.Thinking != nil {
		told := false
		for _, name := range thinkingSwitches {
			out.vars[name] = *o.Thinking
			told = told || out.jinja.Uses(name)
		}
		if !told && !*o.Thinking {
			out.vars[effortSwitch] = "low"
		}
	}
	return out, nil
}
