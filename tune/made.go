package tune

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
)

// What training made is kept in the run's directory, where it is measured and from
// where it is saved: saving copies what was measured, and a search that was killed
// does not train again. Of all that was made only the best stays.

// madePrefix begins the names of the directories in a run's.
const madePrefix = "made-"

// keeps reports whether what quantizing makes of a candidate is kept: if it takes
// long and there is a place for it.
func (s *search) keeps(c candidate) bool { return c.refined && s.RunDir != "" }

// madeOf is where what a recipe makes is kept, "" if nothing is.
func (s *search) madeOf(r quant.Recipe) string {
	if s.RunDir == "" {
		return ""
	}
	return filepath.Join(s.RunDir, madePrefix+fingerprint(r.String())[:16])
}

// quantization is the order for a recipe's model.
func (s *search) quantization(r quant.Recipe, out string) quant.Options {
	return quant.Options{Engine: s.Base.Engine, Source: s.Source, Base: s.Base, Recipe: r, Out: out, Calibration: s.Calibration}
}

// make quantizes into the run's directory, or finds that done, and loads the result.
func (s *search) make(ctx context.Context, r quant.Recipe, l quant.Listener) (*rt.Model, func(), error) {
	res, err := quant.Run(ctx, s.quantization(r, s.madeOf(r)), l)
	if err != nil {
		return nil, nil, err
	}
	ck, err := model.Open(res.Path)
	if err != nil {
		return nil, nil, err
	}
	m, err := rt.Load(ctx, s.Base.Engine, ck)
	if err != nil {
		ck.Close()
		return nil, nil, err
	}
	return m, func() { ck.Close() }, nil
}

// tidy removes what the best so far does not need. A search that goes on has its
// trials before it, one after the other.
func (s *search) tidy() {
	all := slices.Concat(slices.Collect(maps.Values(s.known)), s.trials)
	if best := Best(all); best != nil {
		s.discard(func(name string) bool {
			return strings.HasPrefix(name, madePrefix) && name != filepath.Base(s.madeOf(best.Recipe))
		})
	}
}

// discard removes some of what is in the run's directory. What cannot be removed
// goes with the run.
func (s *search) discard(unwanted func(name string) bool) {
	if s.RunDir == "" {
		return
	}
	entries, _ := os.ReadDir(s.RunDir)
	for _, e := range entries {
		if unwanted(e.Name()) {
			os.RemoveAll(filepath.Join(s.RunDir, e.Name()))
		}
	}
}

// allMade reports whether a name in a run's directory is of what training made, or
// of what is left of a training that was interrupted.
func allMade(name string) bool { return strings.HasPrefix(strings.TrimPrefix(name, "."), madePrefix) }
