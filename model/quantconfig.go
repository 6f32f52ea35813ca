package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dlclark/regexp2/v2"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/source"
)

// quantConfig is config.json's quantization_config in the compressed-tensors
// form (https://github.com/vllm-project/compressed-tensors): groups of modules
// that share a scheme.
type quantConfig struct {
	groups  []quantGroup  // in their order, which decides between targets alike
	columns columnsConfig // of other methods
	notes   []string      // what it asks for and does not get
}

type quantGroup struct {
	names   []string        // of modules
	regexps []*targetRegexp // "re:..." targets, matched from the start of the name
	classes []string        // of modules, such as "Linear"
	weights rawWeights
	scheme  kernels.Scheme // that the weights may be in as they are; the zero value: none
}

type rawQuantConfig struct {
	Method string                   `json:"quant_method"`
	Format string                   `json:"format"`
	Groups map[string]rawQuantGroup `json:"config_groups"`
	Ignore []string                 `json:"ignore"`
	Status string                   `json:"quantization_status,omitempty"`
}

type rawQuantGroup struct {
	Targets []string        `json:"targets"`
	Weights *rawWeights     `json:"weights"`
	Format  string          `json:"format,omitempty"`
	Input   json.RawMessage `json:"input_activations"`
	Output  json.RawMessage `json:"output_activations"`
}

type rawWeights struct {
	Bits     int    `json:"num_bits"`
	Type     string `json:"type"`
	Sym      bool   `json:"symmetric"`
	Strategy string `json:"strategy"`
	Group    *int   `json:"group_size"`
	Dynamic  bool   `json:"dynamic"`
	ActOrder any    `json:"actorder"`
}

// The keys that nibble reads or that say nothing of what the model computes:
// others are told of.
var (
	quantKeys = []string{"quant_method", "format", "config_groups", "ignore", "quantization_status", "global_compression_ratio", "version",
		"run_compressed", "kv_cache_scheme", "sparsity_config", "transform_config"}
	groupKeys  = []string{"targets", "weights", "format", "input_activations", "output_activations"}
	weightKeys = []string{"num_bits", "type", "symmetric", "strategy", "group_size", "dynamic", "actorder", "block_structure", "observer",
		"observer_kwargs", "scale_dtype", "zp_dtype"}
)

// parseQuantConfig reads quantization_config, or compression_config, as it was
// called in 2024. What would change what the model computes and is not done is
// refused by name.
func parseQuantConfig(data json.RawMessage) (quantConfig, error) {
	var qc quantConfig
	if isNull(data) {
		return qc, nil
	}
	fields, err := flatQuantConfig(data)
	if err != nil {
		return qc, err
	}
	var raw struct {
		rawQuantConfig
		Groups json.RawMessage `json:"config_groups"`
	}
	flat, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(flat, &raw)
	}
	if err != nil {
		return qc, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if fields["config_groups"] == nil && fields["format"] == nil && raw.Method != "compressed-tensors" {
		method := raw.Method
		if method == "" && fields["bits"] != nil {
			method = "mlx"
		}
		qc.columns, err = readMethod(method, flat)
		return qc, err
	}
	if raw.Method != "compressed-tensors" && (raw.Method != "" || fields["config_groups"] == nil) {
		return qc, fmt.Errorf("%w: method %s (compressed-tensors is)", ErrUnsupported, source.Quote(raw.Method))
	}
	if !readFormat(raw.Format) && raw.Format != "mixed-precision" && raw.Format != "dense" {
		return qc, fmt.Errorf("%w: format %s (%s are)", ErrUnsupported, source.Quote(raw.Format), strings.Join(readFormats, ", "))
	}
	for _, key := range []string{"kv_cache_scheme", "transform_config"} {
		if asksFor(fields[key], "config_groups") {
			return qc, fmt.Errorf("%w: %s, which changes what the model computes", ErrUnsupported, key)
		}
	}
	if f := fields["sparsity_config"]; asksFor(f, "") {
		var sparsity struct{ Format string }
		if json.Unmarshal(f, &sparsity) != nil || sparsity.Format != "dense" {
			return qc, fmt.Errorf("%w: sparsity_config of format %s (dense is)", ErrUnsupported, source.Quote(sparsity.Format))
		}
	}
	qc.tellOthers("", fields, quantKeys)
	names, groups, err := orderedObject(raw.Groups)
	if err != nil {
		return qc, fmt.Errorf("%w: config_groups: %v", ErrCorrupt, err)
	}
	for i, name := range names {
		if err := qc.add(name, groups[i]); err != nil {
			return qc, fmt.Errorf("%s: %w", source.Quote(name), err)
		}
	}
	return qc, nil
}

// flatQuantConfig returns the fields, of which some versions put all but the
// sparsity into an object of its own.
func flatQuantConfig(data json.RawMessage) (map[string]json.RawMessage, error) {
	var fields, inner map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if nested, ok := fields["quantization_config"]; ok {
		if err := json.Unmarshal(nested, &inner); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
		}
		delete(fields, "quantization_config")
		maps.Copy(fields, inner)
	}
	return fields, nil
}

// readFormats are those of compressed-tensors whose tensors are read.
var readFormats = []string{"pack-quantized", "int-quantized", "naive-quantized", "float-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized"}

func readFormat(format string) bool { return format == "" || slices.Contains(readFormats, format) }

// asksFor reports whether a field asks for something: it is there and neither
// empty nor, if it has a part of that name, empty there.
func asksFor(raw json.RawMessage, part string) bool {
	if isNull(raw) || string(raw) == "false" {
		return false
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(raw, &o) != nil {
		return string(raw) != "[]"
	}
	if inner, ok := o[part]; ok {
		return asksFor(inner, "")
	}
	return len(o) > 0
}

// orderedObject returns the keys of a JSON object in their order and the values.
func orderedObject(data json.RawMessage) (keys []string, values []json.RawMessage, err error) {
	if isNull(data) {
		return nil, nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, fmt.Errorf("no object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, nil, err
		}
		keys, values = append(keys, key.(string)), append(values, v)
	}
	return keys, values, nil
}

// tellOthers tells of fields that have a value and are not among the known keys.
func (qc *quantConfig) tellOthers(where string, fields map[string]json.RawMessage, known []string) {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, key) && asksFor(fields[key], "") {
			qc.notes = append(qc.notes, fmt.Sprintf("quantization_config: %s%s is not known to nibble and is ignored", where, key))
		}
	}
}

// add reads one group.
func (qc *quantConfig) add(name string, data json.RawMessage) error {
	var fields, weights map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	// What compressed-tensors takes for what is left out.
	g := rawQuantGroup{Weights: &rawWeights{Bits: 8, Type: "int", Sym: true}}
	if err := json.Unmarshal(data, &g); err != nil {
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	qc.tellOthers(name+".", fields, groupKeys)
	if g.Weights == nil || isNull(fields["weights"]) {
		return fmt.Errorf("%w: activations alone are quantized", ErrUnsupported)
	}
	if err := json.Unmarshal(fields["weights"], &weights); err == nil {
		qc.tellOthers(name+".weights.", weights, weightKeys)
	}
	if !readFormat(g.Format) {
		return fmt.Errorf("%w: format %s (%s are)", ErrUnsupported, source.Quote(g.Format), strings.Join(readFormats, ", "))
	}
	if err := qc.checkActivations(name, g); err != nil {
		return err
	}
	group := quantGroup{weights: *g.Weights}
	var err error
	if group.scheme, err = g.Weights.kernelScheme(); err != nil {
		return err
	}
	for _, t := range g.Targets {
		expr, isRegexp := strings.CutPrefix(t, "re:")
		switch {
		case isRegexp:
			re, err := regexp2.Compile(`\A(?:` + expr + ")")
			if err != nil {
				return fmt.Errorf("%w: target %s: %v", ErrCorrupt, source.Quote(t), err)
			}
			re.MatchTimeout = matchTimeout
			if group.regexps = append(group.regexps, &targetRegexp{re: re}); len(group.regexps) > maxRegexps {
				return fmt.Errorf("%w: more than %d regular expressions", ErrUnsupported, maxRegexps)
			}
		case slices.Contains(classNames, t):
			group.classes = append(group.classes, t)
		default:
			group.names = append(group.names, t)
		}
	}
	qc.groups = append(qc.groups, group)
	return nil
}

// checkActivations tells of activations that are quantized as they come, with
// more than four bits, and refuses others. Without that the model is nearer to
// the one that was quantized.
func (qc *quantConfig) checkActivations(name string, g rawQuantGroup) error {
	if asksFor(g.Output, "") {
		return fmt.Errorf("%w: output_activations are quantized", ErrUnsupported)
	}
	if !asksFor(g.Input, "") {
		return nil
	}
	in := struct {
		Bits    int             `json:"num_bits"`
		Dynamic json.RawMessage `json:"dynamic"`
	}{Bits: 8}
	if err := json.Unmarshal(g.Input, &in); err != nil {
		return fmt.Errorf("%w: input_activations: %v", ErrCorrupt, err)
	}
	if string(in.Dynamic) != "true" || in.Bits < 8 {
		return fmt.Errorf("%w: input_activations of %d bits, dynamic: %s (dynamic ones of 8 bits are left as floats)", ErrUnsupported, in.Bits, in.Dynamic)
	}
	qc.notes = append(qc.notes, fmt.Sprintf("quantization_config: %s asks for inputs of %d bits, which nibble quantizes in its own way", name, in.Bits))
	return nil
}

// tableNames are the types of codes that stand for the values of a table. Other programs
// do not have them, and refuse a model that does.
var tableNames = map[string]kernels.CodeTable{"nl4": kernels.NL4, "mxfp4": kernels.FP4}

// kernelScheme returns what the kernels know it as, the zero value if they do not.
func (w rawWeights) kernelScheme() (kernels.Scheme, error) {
	s := kernels.Scheme{Bits: w.Bits, Sym: w.Sym}
	if t, ok := tableNames[w.Type]; ok {
		s.Table, w.Type = t, "int"
	}
	if w.Type != "int" && w.Type != "float" || w.Dynamic || w.Bits < 2 || w.Bits > 8 {
		return s, fmt.Errorf("%w: weights of type %s with %d bits, dynamic: %v (stored integers and floats of 2 to 8 bits are)", ErrUnsupported, source.Quote(w.Type), w.Bits, w.Dynamic)
	}
	switch order := w.ActOrder.(type) {
	case nil:
	case bool: // true is "group", whose index is looked at with the tensors
	case string:
		if !slices.Contains([]string{"static", "weight", "group", "dynamic"}, order) {
			return s, fmt.Errorf("%w: activation ordering %s", ErrUnsupported, source.Quote(order))
		}
	default:
		return s, fmt.Errorf("%w: actorder is %v", ErrCorrupt, order)
	}
	size := 0
	if w.Group != nil {
		size = *w.Group
	}
	switch {
	case w.Strategy == "channel", w.Strategy == "" && size == -1:
	case (w.Strategy == "group" || w.Strategy == "tensor_group" || w.Strategy == "") && size > 0:
		s.Group = size
	case w.Strategy == "tensor", w.Strategy == "block":
		return kernels.Scheme{}, nil
	default:
		return s, fmt.Errorf("%w: strategy %s with groups of %d (group, channel, tensor and block are supported)", ErrUnsupported, source.Quote(w.Strategy), size)
	}
	if w.Type == "float" || s.Validate() != nil {
		return kernels.Scheme{}, nil // the layout's reader finds another
	}
	return s, nil
}

// Bounds of the regular expressions of a hostile file: the time of a match, and how
// many there are. Real files have one or two.
const (
	matchTimeout = 20 * time.Millisecond
	maxRegexps   = 1000
)

// targetRegexp matches names of modules until it has taken too long once: it matches
// none from then on.
type targetRegexp struct {
	re   *regexp2.Regexp
	slow atomic.Bool
}

func (t *targetRegexp) matches(module string) bool {
	if t.slow.Load() {
		return false
	}
	ok, err := t.re.MatchString(module)
	if err != nil {
		t.slow.Store(true)
	}
	return ok && err == nil
}

// classNames are the classes of modules that a target may name.
var classNames = []string{linearClass, embeddingClass}

const (
	linearClass    = "Linear" // every matrix but embeddings
	embeddingClass = "Embedding"
)

// find returns the group of a module, by the most specific kind of target.
// Whether a matrix is quantized at all, as ignore says in other words, its tensors
// show.
func (qc quantConfig) find(m Module) (quantGroup, bool) {
	class, module := linearClass, m.Name
	if m.Kind == string(arch.RoleEmbed) {
		class = embeddingClass
	}
	for _, matches := range []func(quantGroup) bool{
		func(g quantGroup) bool { return slices.Contains(g.names, module) },
		func(g quantGroup) bool {
			return slices.ContainsFunc(g.regexps, func(re *targetRegexp) bool { return re.matches(module) })
		},
		func(g quantGroup) bool { return slices.Contains(g.classes, class) },
	} {
		if i := slices.IndexFunc(qc.groups, matches); i >= 0 {
			return qc.groups[i], true
		}
	}
	return quantGroup{}, false
}
