package tune

import (
	"fmt"
	"slices"
	"strings"

	"nibble/model"
	"nibble/quant"
)

// DefaultSpace is the ways to store a matrix that are offered if none are given,
// as ParseSpace reads them.
const DefaultSpace = "w4 g32/g64/g128/channel sym/asym gptq/mse/rtn/autoround, " + tokenRows + ", w8 g32/g128/channel sym rtn, keep"

// tokenRows is ways between 4 and 8 bits for matrices whose rows are tokens.
const tokenRows = "w4 g32/g128 sym gptq/mse top2%/top5%/top10%/top20%/top40%/top70%"

// maxSpace bounds the ways offered for a matrix.
const maxSpace = 256

// ParseSpace reads the ways to store a matrix that the search may use: specs with
// commas between, as recipes have them. Slashes stand for several specs:
// "w4 g32/g128 gptq, keep" are three.
func ParseSpace(s string) ([]quant.Spec, error) {
	var space []quant.Spec
	for _, clause := range strings.Split(s, ",") {
		variants := []string{""}
		for _, word := range strings.Fields(clause) {
			var next []string
			for _, v := range variants {
				for _, w := range strings.Split(word, "/") {
					if w == "" {
						return nil, fmt.Errorf("%w: %q: there is nothing on one side of a slash", ErrOptions, word)
					}
					next = append(next, strings.TrimSpace(v+" "+w))
				}
			}
			if variants = next; len(variants) > maxSpace {
				return nil, fmt.Errorf("%w: more than %d ways to store a matrix", ErrOptions, maxSpace)
			}
		}
		for _, v := range variants {
			r, err := quant.ParseRecipe(v)
			if err != nil || len(r.Rules) > 0 || strings.HasSuffix(v, ".json") {
				if err == nil {
					err = fmt.Errorf("%q is a whole recipe", v)
				}
				return nil, fmt.Errorf("%w: the ways to store a matrix are specs with commas between, such as %q: %w", ErrOptions, "w4 g32/g128 gptq, w8 rtn, keep", err)
			}
			if !slices.Contains(space, r.Default) {
				space = append(space, r.Default)
			}
		}
	}
	return space, checkSpace(space)
}

func checkSpace(space []quant.Spec) error {
	if len(space) == 0 || len(space) > maxSpace {
		return fmt.Errorf("%w: %d ways to store a matrix (1 to %d)", ErrOptions, len(space), maxSpace)
	}
	for _, s := range space {
		if err := s.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	return nil
}

// option is one way to store the matrices of a class, with what is known of it.
type option struct {
	spec  quant.Spec
	bytes int64   // of tensors
	file  int64   // of tensors and about their entries in the file's header
	ns    float64 // of a decoded token
	rss   int64   // bytes in memory as the kernels read them
	alone float64 // KL divergence of the model with all else float
	each  []share // of every matrix of the class
}

// share is a matrix's part of an option.
type share struct {
	bytes int64
	alone float64
}

// class is matrices that share a spec: one, unless they are fused.
type class struct {
	modules []model.Module
	options []option
}

// kld is what an option is expected to add to the KL divergence of a quantized
// model: what it causes alone. Measured in the quantized model instead it tells
// less, of the demo and of stories260K: there it contains how the errors of this
// matrix happen to meet those of the others, which every other choice changes.
func (c class) kld(i int) float64 { return c.options[i].alone }

// fusedWith names the class of a matrix when matrices that share their inputs
// also share a spec.
func fusedWith(m model.Module) string {
	switch m.Kind {
	case "q", "k", "v":
		return fmt.Sprint(m.Layer, " q k v")
	case "gate", "up":
		return fmt.Sprint(m.Layer, " gate up")
	}
	return m.Name
}

// newClasses lists the matrices of a model with the ways to store each: those
// offered, less those that come to the same as another.
func newClasses(ck *model.Checkpoint, space []quant.Spec, fused bool) ([]class, error) {
	var classes []class
	at := map[string]int{}
	for _, m := range ck.Config.Modules() {
		key := m.Name
		if fused {
			key = fusedWith(m)
		}
		i, ok := at[key]
		if !ok {
			i = len(classes)
			at[key] = i
			classes = append(classes, class{})
			for _, s := range offered(m, reachable(ck, m, space)) {
				classes[i].options = append(classes[i].options, option{spec: s})
			}
		}
		classes[i].modules = append(classes[i].modules, m)
	}
	for _, s := range space {
		p, err := quant.NewPlan(ck, uniform(ck.Config, s))
		if err != nil {
			return nil, err
		}
		entry := (p.SizeBytes - tensorBytes(p, ck.Params())) / int64(len(p.Modules))
		for _, m := range p.Modules {
			key := m.Module.Name
			if fused {
				key = fusedWith(m.Module)
			}
			c := &classes[at[key]]
			for j := range c.options {
				if o := &c.options[j]; o.spec == s {
					o.bytes, o.file = o.bytes+m.Bytes, o.file+m.Bytes+entry
					o.each = append(o.each, share{bytes: m.Bytes})
				}
			}
		}
	}
	return classes, nil
}

// reachable leaves out specs whose scales do not hold a matrix's weights, if there
// are others: it would be kept by them all.
func reachable(ck *model.Checkpoint, m model.Module, space []quant.Spec) []quant.Spec {
	var out []quant.Spec
	for _, s := range space {
		if beyond, err := s.Beyond(ck, m); err != nil || !beyond { // the plan has the error
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return space
	}
	return out
}

// offered lists the specs that differ for a matrix.
func offered(m model.Module, space []quant.Spec) []quant.Spec {
	var out []quant.Spec
	for _, s := range space {
		is := comesTo(m, s)
		if is != s && slices.Contains(space, is) || slices.ContainsFunc(out, func(t quant.Spec) bool { return comesTo(m, t) == is }) {
			continue
		}
		out = append(out, s)
	}
	return out
}

// comesTo is what a spec does to a matrix: groups as wide as it are channels, and
// methods that cannot work are replaced.
func comesTo(m model.Module, s quant.Spec) quant.Spec {
	if s = quant.Planned(s, m, false).Spec; s.Group >= m.Cols {
		s.Group = 0
	}
	return s
}

// uniform is the recipe that stores every matrix alike.
func uniform(c model.Config, s quant.Spec) quant.Recipe {
	r := quant.Recipe{Default: s, Rules: []quant.Rule{{Match: c.Embed.Path, Spec: s}}}
	if !c.Tied {
		r.Rules = append(r.Rules, quant.Rule{Match: c.Head.Path, Spec: s})
	}
	r.Name = r.String()
	return r
}
