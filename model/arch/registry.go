package arch

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	f := families[kind]
	if f == nil {
		if inner := families[strings.TrimSuffix(kind, "_text")]; inner != nil {
			f = inner
		} else {
			return nil, fmt.Errorf("%w %q", ErrFamily, kind)
		}
	}
	m := f(c)
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", kind, c.err)
	}
	m.Family = kind
	m.connect()
	return m, m.validate()
}

// TokenIDs reads a token id, a list of them, or nothing, as config.json and
// generation_config.json give them.
func TokenIDs(raw json.RawMessage) ([]int, error) {
	if isNull(raw) {
		return nil, nil
	}
	var one int
	if json.Unmarshal(raw, &one) == nil {
		return []int{one}, nil
	}
	var many []int
	if err := json.Unmarshal(raw, &many); err != nil {
		return nil, fmt.Errorf("%w: %s is neither a number nor a list of numbers", ErrConfig, short(raw))
	}
	return many, nil
}
