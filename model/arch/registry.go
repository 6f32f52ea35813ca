package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"nibble/model/source"
)

// family turns a config into a description.
type family func(c *Config) *Model

// families holds every family by its model_type.
var families = map[string]family{}

// register names a family; its config's model_type is one of names. It is called
// by variables of the files of the families.
func register(f family, names ...string) bool {
	for _, n := range names {
		if families[n] != nil {
			panic("arch: family " + n + " is registered twice")
		}
		families[n] = f
	}
	return true
}

// Families lists the values of model_type that [Read] knows.
func Families() []string { return slices.Sorted(maps.Keys(families)) }

// generates refuses classes that do not continue texts, such as classifiers, which
// have the model_type of those that do.
func generates(classes []string) error {
	for _, name := range classes {
		for _, suffix := range generators {
			if strings.HasSuffix(name, suffix) {
				return nil
			}
		}
	}
	if len(classes) == 0 {
		return nil
	}
	return fmt.Errorf("%w %s: it does not continue texts", ErrFamily, source.Quote(classes[0]))
}

// generators end the names of classes that continue texts.
var generators = []string{"ForCausalLM", "LMHeadModel", "ForConditionalGeneration"}

// Read describes the model of a config.json. stored reports whether the model's
// files hold a tensor of that name, for the few things a config leaves open; it
// is nil when only the config is known. Errors wrap [ErrFamily], [ErrConfig] or
// [ErrUnsupported] and do not name the file: the caller does.
func Read(config []byte, stored func(tensor string) bool) (*Model, error) {
	c, err := newConfig(config, stored)
	if err != nil {
		return nil, err
	}
	kind := c.Type()
	if feature := unsupported[kind]; feature != "" {
		return nil, fmt.Errorf("%w: the family %s has %s", ErrUnsupported, kind, feature)
	}
	if err := generates(c.Strings("architectures")); err != nil {
		return nil, err
	}
	f := families[kind]
	if f == nil {
		return nil, fmt.Errorf("%w %s", ErrFamily, source.Quote(kind))
	}
	m := f(c)
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", kind, c.err)
	}
	m.Family = kind
	m.connect()
	return m, m.validate()
}
