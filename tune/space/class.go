package space

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
)

// Option is a spec offered for a class, with what it takes and loses.
type Option struct {
	Spec  quant.Spec
	Bytes int64   // of tensors
	File  int64   // of tensors and about their entries in the file's header
	NS    float64 // of a decoded token; 0 until it is measured
	RSS   int64   // bytes in memory as the kernels read them; 0 until it is measured
	KLD   float64 // divergence of the model with all else float; 0 until it is scored
	Parts []Part  // by matrix of the class
}

// Part is a matrix's part of an option.
type Part struct {
	Bytes int64
	KLD   float64
}

// Class is matrices that share a spec.
type Class struct {
	Matrices []model.Module
	Options  []Option
}

// Classes lists the matrices of a model with the options of each: the specs
// offered, less those that come to the same as another. The experts of a layer that
// play the same role share a class; fused, so do matrices that read the same inputs.
func Classes(ck *model.Checkpoint, specs []quant.Spec, fused bool) ([]Class, error) {
	var classes []Class
	at := map[string]int{}
	for _, m := range ck.Config.Modules() {
		key := classOf(m, fused)
		i, ok := at[key]
		if !ok {
			i = len(classes)
			at[key] = i
			classes = append(classes, Class{})
			for _, s := range different(m, reachable(ck, m, specs)) {
				classes[i].Options = append(classes[i].Options, Option{Spec: s})
			}
		}
		classes[i].Matrices = append(classes[i].Matrices, m)
	}
	byScheme := map[kernels.Scheme]sizes{}
	for _, s := range specs {
		size, ok := byScheme[s.Scheme()]
		if !ok {
			var err error
			if size, err = sizesOf(ck, s); err != nil {
				return nil, err
			}
			byScheme[s.Scheme()] = size
		}
		for i := range classes {
			for j := range classes[i].Options {
				if o := &classes[i].Options[j]; o.Spec == s {
					for _, m := range classes[i].Matrices {
						o.Bytes, o.File = o.Bytes+size.bytes[m.Name], o.File+size.bytes[m.Name]+size.entry
						o.Parts = append(o.Parts, Part{Bytes: size.bytes[m.Name]})
					}
				}
			}
		}
	}
	return classes, nil
}

// sizes is what matrices take by one scheme.
type sizes struct {
	bytes map[string]int64 // of tensors, by the matrix's name
	entry int64            // about what a matrix's entries in the file's header take
}

func sizesOf(ck *model.Checkpoint, s quant.Spec) (sizes, error) {
	p, err := quant.NewPlan(ck, Uniform(ck.Config, s))
	if err != nil {
		return sizes{}, err
	}
	out := sizes{bytes: map[string]int64{}, entry: (p.SizeBytes - TensorBytes(p, ck)) / int64(len(p.Modules))}
	for _, m := range p.Modules {
		out.bytes[m.Module.Name] = m.Bytes
	}
	return out, nil
}

// classOf names the class of a matrix.
func classOf(m model.Module, fused bool) string {
	switch l := m.Linear; {
	case m.Layer < 0 || l == nil:
	case l.Expert >= 0 && fused:
		return "inputs " + strings.Replace(l.Input, fmt.Sprintf("expert%d.", l.Expert), "experts.", 1)
	case l.Expert >= 0:
		return fmt.Sprintf("layer %d experts %s", m.Layer, l.Role)
	case fused:
		return "inputs " + l.Input
	}
	return m.Name
}

// TensorBytes is what the tensors of a plan take, without the file's header.
func TensorBytes(p quant.Plan, ck *model.Checkpoint) int64 {
	return int64(math.Round(p.BPW * float64(ck.Params()) / 8))
}

// reachable leaves out specs whose scales do not hold a matrix's weights, if there
// are others: the matrix would be kept by them all.
func reachable(ck *model.Checkpoint, m model.Module, specs []quant.Spec) []quant.Spec {
	var out []quant.Spec
	for _, s := range specs {
		if beyond, err := s.Beyond(ck, m); err != nil || !beyond { // the plan reports the error
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return specs
	}
	return out
}

// different lists the specs that differ for a matrix.
func different(m model.Module, specs []quant.Spec) []quant.Spec {
	var out []quant.Spec
	for _, s := range specs {
		is := Effective(m, s)
		if is != s && slices.Contains(specs, is) || slices.ContainsFunc(out, func(t quant.Spec) bool { return Effective(m, t) == is }) {
			continue
		}
		out = append(out, s)
	}
	return out
}

// Effective is what a spec does to a matrix: groups as wide as the matrix are
// channels, and methods that cannot work are replaced.
func Effective(m model.Module, s quant.Spec) quant.Spec {
	if s = quant.Planned(s, m, false).Spec; s.Group >= m.Cols {
		s.Group = 0
	}
	return s
}

// Uniform is the recipe that stores every matrix alike.
func Uniform(c model.Config, s quant.Spec) quant.Recipe {
	r := quant.Recipe{Default: s, Rules: []quant.Rule{{Match: c.Embed.Path, Spec: s}}}
	if !c.Tied {
		r.Rules = append(r.Rules, quant.Rule{Match: c.Head.Path, Spec: s})
	}
	r.Name = r.String()
	return r
}
