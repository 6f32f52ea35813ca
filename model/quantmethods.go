package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nibble/model/source"
)

// columnsConfig is what a config says of layouts that its tensors do not show.
type columnsConfig struct {
	group  int  // columns that share a scale; not over 0: not said, or all
	offset int  // what is to be added to stored zero points
	guess  bool // whether that is 1 where all are one less than the middle code
	awq    bool // words of codes are AWQ's,
	gemv   bool // along the inputs
}

// quantMethods hold, by quant_method, how a config is read that is none of
// compressed-tensors: the tensors show the layout, the number of bits and the groups.
var quantMethods = map[string]func(f quantFields) (columnsConfig, error){
	"gptq": func(f quantFields) (columnsConfig, error) {
		c := columnsConfig{group: f.Group, offset: 1}
		switch f.CheckpointFormat {
		case "", "gptq":
		case "gptq_v2":
			c.offset = 0
		default:
			return c, fmt.Errorf("%w: checkpoint_format %s (gptq and gptq_v2 are)", ErrUnsupported, source.Quote(f.CheckpointFormat))
		}
		return c, nil
	},
	"awq": func(f quantFields) (columnsConfig, error) {
		c := columnsConfig{group: f.Group, awq: true}
		switch v := strings.ToLower(f.Version); v {
		case "", "gemm":
		case "gemv":
			c.gemv = true
		default:
			return c, fmt.Errorf("%w: AWQ of version %s (gemm and gemv are)", ErrUnsupported, source.Quote(v))
		}
		return c, nil
	},
	"auto-round": autoRoundColumns, "auto_round": autoRoundColumns, "intel/auto-round": autoRoundColumns,
	"bitsandbytes": func(f quantFields) (columnsConfig, error) {
		if f.Int8 {
			return columnsConfig{}, fmt.Errorf("%w: bitsandbytes' 8 bits, which sort out large inputs as they come (its 4 bits are)", ErrUnsupported)
		}
		return columnsConfig{}, nil
	},
	"mlx":   func(f quantFields) (columnsConfig, error) { return columnsConfig{group: f.Group}, nil },
	"fp8":   func(quantFields) (columnsConfig, error) { return columnsConfig{}, nil },
	"mxfp4": func(quantFields) (columnsConfig, error) { return columnsConfig{}, nil }, // which the description's views decode
}

// quantFields are those of all these methods.
type quantFields struct {
	Group            int    `json:"group_size"`
	CheckpointFormat string `json:"checkpoint_format"`
	Version          string `json:"version"`
	Packing          string `json:"packing_format"`
	Int8             bool   `json:"load_in_8bit"`
}

// autoRoundColumns reads AutoRound's own form, which packs as others do.
func autoRoundColumns(f quantFields) (columnsConfig, error) {
	packing := strings.TrimPrefix(strings.TrimPrefix(f.Packing, "auto_round"), ":")
	switch {
	case strings.Contains(packing, "awq"):
		return columnsConfig{group: f.Group, awq: true}, nil
	case strings.Contains(packing, "auto_gptq"):
		return columnsConfig{group: f.Group, offset: 1}, nil
	case packing == "" || strings.Contains(packing, "gptq"):
		return columnsConfig{group: f.Group, guess: true}, nil
	}
	return columnsConfig{}, fmt.Errorf("%w: packing_format %s (auto_gptq, auto_awq and gptqmodel are)", ErrUnsupported, source.Quote(f.Packing))
}

// readMethod reads a config whose method is one of quantMethods.
func readMethod(method string, data json.RawMessage) (columnsConfig, error) {
	read, ok := quantMethods[method]
	if !ok {
		names := slices.Sorted(maps.Keys(quantMethods))
		return columnsConfig{}, fmt.Errorf("%w: method %s (compressed-tensors, %s are)", ErrUnsupported, source.Quote(method), strings.Join(names, ", "))
	}
	var f quantFields
	var lenient struct {
		Version any `json:"version"` // a number where it is not AWQ's
	}
	if json.Unmarshal(data, &lenient) == nil {
		if _, text := lenient.Version.(string); !text && lenient.Version != nil {
			var fields map[string]json.RawMessage
			_ = json.Unmarshal(data, &fields)
			delete(fields, "version")
			data, _ = json.Marshal(fields)
		}
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return columnsConfig{}, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	return read(f)
}
