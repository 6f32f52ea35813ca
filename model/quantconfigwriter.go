package model

import (
	"fmt"
	"regexp"

	"nibble/kernels"
)

// newQuantConfig describes schemes for config.json: one group for each scheme,
// its modules named by regular expressions, the rest of the matrices ignored.
func newQuantConfig(modules []Module, schemes map[string]kernels.Scheme) rawQuantConfig {
	raw := rawQuantConfig{Method: "compressed-tensors", Format: "pack-quantized",
		Status: "compressed", Groups: make(map[string]rawQuantGroup), Ignore: []string{}}
	var order []kernels.Scheme
	targets := make(map[kernels.Scheme][]string)
	for _, m := range modules {
		s, ok := schemes[m.Name]
		if !ok {
			raw.Ignore = append(raw.Ignore, m.Name)
			continue
		}
		if len(targets[s]) == 0 {
			order = append(order, s)
		}
		targets[s] = append(targets[s], "re:"+regexp.QuoteMeta(m.Name)+"$")
	}
	for i, s := range order {
		w := &rawWeights{Bits: s.Bits, Type: "int", Sym: s.Sym, Strategy: "channel"}
		for name, table := range tableNames {
			if s.Table == table {
				w.Type = name
			}
		}
		if s.Group > 0 {
			w.Strategy, w.Group = "group", &s.Group
		}
		raw.Groups[fmt.Sprintf("group_%d", i)] = rawQuantGroup{Targets: targets[s], Weights: w, Format: "pack-quantized"}
	}
	return raw
}
