package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"nibble/model/source"
)

// Errors of [Read].
var (
	// ErrFamily reports a config of a family that is not known here.
	ErrFamily = errors.New("unknown architecture")
	// ErrConfig reports a config that is wrong.
	ErrConfig = errors.New("config.json is wrong")
	// ErrKeys reports a GGUF file whose keys are wrong.
	ErrKeys = errors.New("a key of the GGUF file is wrong")
	// ErrUnsupported reports a feature that no step can express.
	ErrUnsupported = errors.New("not supported")
)

// Limits that no model comes near. They bound every product of dimensions below
// 2^53, so that sizes computed from a config never overflow.
const (
	maxDim       = 1 << 20
	maxVocab     = 1 << 22
	maxLayers    = 1 << 12
	maxExperts   = 1 << 12
	maxPositions = 1 << 24
)

// Config is config.json as a family reads it: values by name, those of an inner
// text_config before the outer ones, class defaults after both. The first
// mistake is kept and reported by [Read]; what was asked for is then zero.
type Config struct {
	values   map[string]json.RawMessage
	defaults map[string]json.RawMessage
	stored   func(tensor string) bool
	err      error
}

// newConfig parses config.json. stored tells whether a tensor is in the model's
// files; nil when only the config is known.
func newConfig(data []byte, stored func(string) bool) (*Config, error) {
	values, err := Flatten(data)
	return &Config{stored: stored, values: values}, err
}

// Flatten returns the values of a config.json. Those of the language model inside
// a model that also sees or hears, such as text_config, come before the outer ones,
// but for tie_word_embeddings, which is the whole model's.
func Flatten(data []byte) (map[string]json.RawMessage, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(StandardJSON(data), &values); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrConfig, err)
	}
	for _, wrapper := range []string{"text_config", "llm_config", "language_config"} {
		inner := map[string]json.RawMessage{}
		if !isNull(values[wrapper]) && json.Unmarshal(values[wrapper], &inner) == nil {
			maps.DeleteFunc(inner, func(k string, v json.RawMessage) bool { return isNull(v) && !isNull(values[k]) })
			delete(values, wrapper)
			tied := values["tie_word_embeddings"] // said of the whole model
			maps.Copy(values, inner)
			if !isNull(tied) {
				values["tie_word_embeddings"] = tied
			}
		}
	}
	return values, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// Default gives values for keys that the config leaves out, as a JSON object: a
// config may omit what equals the default of its class.
func (c *Config) Default(object string) {
	if err := json.Unmarshal([]byte(object), &c.defaults); err != nil {
		panic(err) // a family's own text
	}
}

// fail keeps the first mistake.
func (c *Config) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Refuse reports a feature that the description cannot express.
func (c *Config) Refuse(format string, args ...any) {
	c.fail(fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...)))
}

// Stored reports whether the model's files hold a tensor. It is false when only
// the config is known.
func (c *Config) Stored(tensor string) bool { return c.stored != nil && c.stored(tensor) }

// holds reports whether the files hold a matrix in some form.
func (c *Config) holds(path string) bool {
	return c.Stored(path+".weight") || c.Stored(path+".weight_packed") || c.Stored(path+".qweight")
}

// natively reports whether the files hold one of the tensors that the family's
// own files have; without files, that they would. Quantized files hold each
// matrix by its path instead.
func (c *Config) natively(tensors ...string) bool {
	return c.stored == nil || slices.ContainsFunc(tensors, c.stored)
}

// Prefix returns the first of several prefixes with which the files hold a
// tensor, and the first of all when they hold none.
func (c *Config) Prefix(tensor string, prefixes ...string) string {
	for _, p := range prefixes {
		if c.Stored(p + tensor) {
			return p
		}
	}
	return prefixes[0]
}

// lookup returns the value of the first key that has one that is not null. A null is no
// value, whatever the class has by default.
func (c *Config) lookup(keys []string) json.RawMessage {
	given := false
	for _, k := range keys {
		v, ok := c.values[k]
		if !isNull(v) {
			return v
		}
		given = given || ok
	}
	for _, k := range keys {
		if v := c.defaults[k]; !given && !isNull(v) {
			return v
		}
	}
	return nil
}

// Has reports whether a key is there and not null.
func (c *Config) Has(keys ...string) bool { return c.lookup(keys) != nil }

// decode reads the value of the first key present into v and reports whether
// there is one.
func (c *Config) decode(v any, keys []string) bool {
	raw := c.lookup(keys)
	if raw == nil {
		return false
	}
	if err := json.Unmarshal(raw, v); err != nil {
		c.fail(fmt.Errorf("%w: %s is %s", ErrConfig, keys[0], source.Quote(string(raw))))
		return false
	}
	return true
}

// Float returns a number, or the default when no key is there.
func (c *Config) Float(def float64, keys ...string) float64 {
	v := def
	if !c.decode(&v, keys) {
		return def
	}
	return v
}

// Int returns a whole number, which may be written as 50.0, or the default when
// no key is there.
func (c *Config) Int(def int, keys ...string) int {
	v := float64(def)
	if !c.decode(&v, keys) {
		return def
	}
	if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
		c.fail(fmt.Errorf("%w: %s is %v, not a whole number", ErrConfig, keys[0], v))
		return def
	}
	return int(v)
}

// Dim returns a dimension: a key that must be there, between 1 and 2^20.
func (c *Config) Dim(keys ...string) int { return c.bounded(maxDim, keys...) }

// DimOr is Dim with a default.
func (c *Config) DimOr(def int, keys ...string) int {
	if !c.Has(keys...) {
		return def
	}
	return c.Dim(keys...)
}

// bounded returns a whole number from 1 to most that must be there, and 1 after
// a mistake.
func (c *Config) bounded(most int, keys ...string) int {
	if !c.Has(keys...) {
		c.fail(fmt.Errorf("%w: %s is missing", ErrConfig, keys[0]))
		return 1
	}
	v := c.Int(1, keys...)
	if v < 1 || v > most {
		c.fail(fmt.Errorf("%w: %s is %d, not between 1 and %d", ErrConfig, keys[0], v, most))
		return 1
	}
	return v
}

// Bool returns a truth value, or the default when no key is there.
func (c *Config) Bool(def bool, keys ...string) bool {
	v := def
	if !c.decode(&v, keys) {
		return def
	}
	return v
}

// String returns a text, or the default when no key is there.
func (c *Config) String(def string, keys ...string) string {
	v := def
	if !c.decode(&v, keys) {
		return def
	}
	return v
}

// Floats returns a list of numbers, nil when no key is there.
func (c *Config) Floats(keys ...string) (v []float64) {
	c.decode(&v, keys)
	return v
}

// Ints returns a list of whole numbers, nil when no key is there.
func (c *Config) Ints(keys ...string) (v []int) {
	c.decode(&v, keys)
	return v
}

// Strings returns a list of texts, nil when no key is there.
func (c *Config) Strings(keys ...string) (v []string) {
	c.decode(&v, keys)
	return v
}

// Sub returns the object of a key as a config of its own whose mistakes are this
// one's when taken back with Join; it is empty when the key is not there.
func (c *Config) Sub(keys ...string) *Config {
	s := &Config{stored: c.stored}
	c.decode(&s.values, keys)
	return s
}

// Join takes over the first mistake of a Sub.
func (c *Config) Join(s *Config) {
	if s.err != nil {
		c.fail(s.err)
	}
}

// Activation returns the activation of the first key present.
func (c *Config) Activation(def Activation, keys ...string) Activation {
	name := c.String(string(def), keys...)
	switch name {
	case "silu", "swish":
		return SiLU
	case "gelu":
		return GELU
	case "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_tanh":
		return GELUTanh
	case "relu":
		return ReLU
	case "relu2", "relu_squared":
		return ReLUSquared
	}
	c.Refuse("activation %s (silu, gelu, gelu_new, relu and relu2 are)", source.Quote(name))
	return def
}

// LayerTypes returns what each of n layers is, by layer_types, or by def where
// that is not there.
func (c *Config) LayerTypes(n int, def func(layer int) string) []string {
	types := c.Strings("layer_types")
	if types == nil {
		types = make([]string, n)
		for i := range types {
			types[i] = def(i)
		}
	}
	if len(types) < n {
		c.fail(fmt.Errorf("%w: layer_types has %d entries for %d layers", ErrConfig, len(types), n))
		types = append(types, slices.Repeat([]string{fullAttention}, n-len(types))...)
	}
	for i, t := range types[:n] {
		switch t {
		case fullAttention, slidingAttention, linearAttention, convolution:
		case "attention":
			types[i] = fullAttention
		case "mamba":
			types[i] = linearAttention
		default:
			c.Refuse("layers of type %s", source.Quote(t))
		}
	}
	return types[:n]
}

// The values of layer_types. Older files call full attention beside Mamba layers
// attention, and these mamba.
const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
	linearAttention  = "linear_attention"
	convolution      = "conv"
)

// everyNth says that every nth layer has full attention and the others slide.
func everyNth(n int) func(int) string {
	return func(layer int) string {
		if n > 0 && (layer+1)%n == 0 {
			return fullAttention
		}
		return slidingAttention
	}
}

// always is the same for every layer.
func always(kind string) func(int) string { return func(int) string { return kind } }

// Type returns model_type, that of a text_config without its "_text", and for
// configs without one what the name of the architecture suggests.
func (c *Config) Type() string {
	if t := c.String("", "model_type"); t != "" {
		return strings.TrimSuffix(t, "_text")
	}
	for _, a := range c.Strings("architectures") {
		for _, suffix := range generators {
			if name, ok := strings.CutSuffix(a, suffix); ok {
				return strings.ToLower(name)
			}
		}
	}
	return ""
}
