package score

import (
	"context"
	"math"
	"time"

	"nibble/model"
	"nibble/quant"
	"nibble/tune/space"
	"nibble/tune/work"
)

// Windows is how many windows judge a single matrix: enough to rank, since KL
// divergence varies far less between windows than perplexity. Of five sizes of the
// demo, recipes chosen by all 38 windows of a text lose 2 % less on other text than
// those chosen by four, some of them more: how the errors of the matrices meet, which
// no sum tells, weighs as much.
const Windows = 4

// Event is anything screening reports.
type Event interface{ EventName() string }

// Screening opens the measurement of a matrix, or of the experts of a layer, which
// begins with what outputs lose: scores come after that.
type Screening struct {
	Matrix string `json:"matrix"`
	Specs  int    `json:"specs"` // offered for it
	Done   int    `json:"done"`  // of all matrices' specs, before it
	Total  int    `json:"total"`
}

// Scored is what one spec for one matrix does to the model, all else float. Of the
// experts of a layer the figures are each one's part.
type Scored struct {
	Matrix   string   `json:"matrix"`
	Matrices []string `json:"-"` // all that it is of
	Spec     string   `json:"spec"`
	KLD      float64  `json:"kld"`
	Bytes    int64    `json:"bytes"` // of the matrix
	Cached   bool     `json:"cached,omitempty"`
	Done     int      `json:"done"` // of all that are to be measured
	Total    int      `json:"total"`
}

// EventName implements Event.
func (Screening) EventName() string { return "tune_screening" }

// EventName implements Event.
func (Scored) EventName() string { return "tune_score" }

// Screen measures options.
type Screen struct {
	Config  model.Config
	Worker  work.Worker
	Cache   *Cache
	Basis   work.Basis
	Windows []int                // of the text
	Checked func() error         // whether a score may be kept: the model must be as it was when it was opened
	Elapsed func() time.Duration // of the search
	Until   time.Duration        // when screening should be over; 0: it takes as long as it takes
	Listen  func(Event)
}

// Run fills in what every option of the classes loses.
func (s Screen) Run(ctx context.Context, classes []space.Class) error {
	r := screenRun{Screen: s, ratios: ratios{}}
	all := units(s.Config, classes)
	costs := newCosts(s.Config)
	efforts := make([]float64, len(all))
	rest := 0.0
	for i, u := range all {
		efforts[i] = costs.of(u.sample)
		rest += efforts[i]
		r.total += len(u.class.Options)
	}
	for i, u := range all {
		until := time.Duration(math.MaxInt64)
		if s.Until > 0 {
			now := s.Elapsed()
			until = now + time.Duration(float64(s.Until-now)*efforts[i]/rest)
		}
		rest -= efforts[i]
		klds, err := r.unit(ctx, u, until)
		if err != nil {
			return err
		}
		u.take(klds)
	}
	return nil
}

// screenRun is a call of Run.
type screenRun struct {
	Screen
	ratios ratios
	total  int // options of all units
	done   int
}

// unit returns the divergence that each option of a unit is expected to cause.
func (r *screenRun) unit(ctx context.Context, u *unit, until time.Duration) ([]float64, error) {
	specs, bytes := u.options()
	r.Listen(Screening{u.name(), len(specs), r.done, r.total})
	errs, err := r.errors(ctx, u, specs, bytes, until)
	if err != nil {
		return nil, err
	}
	r.done += len(specs)
	alive := survivors(bytes, errs)
	r.done -= len(alive)
	klds := make([]float64, len(specs))
	for j := range klds {
		klds[j] = math.NaN()
	}
	var names []string
	for i := range u.at {
		names = append(names, u.matrix(i).Name)
	}
	for _, a := range farFirst(pick(bytes, alive)) {
		j := alive[a]
		r.done++
		if specs[j].Kept() {
			klds[j] = 0
			continue
		}
		k := key{u.name(), specs[j].String()}
		klds[j] = r.Cache.get(k).KLD
		cached := !math.IsNaN(klds[j])
		if !cached {
			if r.Elapsed() > until {
				continue
			}
			out, err := r.Worker.Do(ctx, work.Work{Kind: work.Divergence, Basis: r.Basis, Matrices: u.names(), Spec: k.Spec, Windows: r.Screen.Windows}, work.Watcher{})
			if err != nil {
				return nil, err
			}
			klds[j] = out.Value * float64(len(u.at)) / float64(len(u.sample))
			if err := r.keep(k, nil, &klds[j]); err != nil {
				return nil, err
			}
		}
		n := len(u.at)
		r.Listen(Scored{Matrix: u.name(), Matrices: names, Spec: k.Spec, KLD: klds[j] / float64(n), Bytes: bytes[j] / int64(n), Cached: cached, Done: r.done, Total: r.total})
	}
	r.ratios.estimate(u.matrix(0), specs, errs, klds)
	return klds, nil
}

// errors returns the error of each option's outputs: the mean over the matrices that
// are measured.
func (r *screenRun) errors(ctx context.Context, u *unit, specs []quant.Spec, bytes []int64, until time.Duration) ([]float64, error) {
	errs := make([]float64, len(specs))
	var missing []int
	for _, j := range farFirst(bytes) {
		if specs[j].Kept() {
			continue
		}
		if errs[j] = r.Cache.get(key{u.name(), specs[j].String()}).Err; math.IsNaN(errs[j]) {
			missing = append(missing, j)
		}
	}
	sums, counts := make([]float64, len(specs)), make([]int, len(specs))
	for _, m := range u.sample { // all of one matrix together: they share what is known of its inputs
		for _, j := range missing {
			if r.Elapsed() >= until {
				break
			}
			out, err := r.Worker.Do(ctx, work.Work{Kind: work.Error, Basis: r.Basis, Matrices: []string{m.Name}, Spec: specs[j].String()}, work.Watcher{})
			if err != nil {
				return nil, err
			}
			sums[j], counts[j] = sums[j]+out.Value, counts[j]+1
			if counts[j] < len(u.sample) {
				continue
			}
			errs[j] = sums[j] / float64(counts[j])
			if err := r.keep(key{u.name(), specs[j].String()}, &errs[j], nil); err != nil {
				return nil, err
			}
		}
	}
	for _, j := range missing {
		if math.IsNaN(errs[j]) && counts[j] > 0 { // of part of the sample, which is not kept
			errs[j] = sums[j] / float64(counts[j])
		}
	}
	complete(errs, specs, u.matrix(0))
	return errs, nil
}

// keep keeps a score, for later runs as well.
func (r *screenRun) keep(k key, err, kld *float64) error {
	if err := r.Checked(); err != nil {
		return err
	}
	r.Cache.add(k, err, kld)
	return nil
}

// costs tells roughly what it takes to measure matrices, in weights that a token
// meets.
type costs struct {
	after []float64 // by layer: of the layers from it on, and the head
	head  float64
}

func newCosts(c model.Config) costs {
	met := make([]float64, c.Layers()+1)
	census := c.Census()
	for _, l := range c.Linears() {
		n := float64(l.Rows) * float64(l.Cols)
		if l.Expert >= 0 {
			n *= float64(census.TopK) / float64(max(1, census.Experts))
		}
		if l.Layer >= 0 {
			met[l.Layer] += n
		}
	}
	out := costs{after: met, head: float64(c.Hidden) * float64(c.Vocab)}
	for i := len(met) - 2; i >= 0; i-- {
		met[i] += met[i+1]
	}
	return out
}

// of is the cost of measuring matrices of one layer: quantizing them, and going
// through the layers from their own on.
func (c costs) of(ms []model.Module) float64 {
	sum := c.head
	for _, m := range ms {
		sum += float64(m.Rows) * float64(m.Cols)
	}
	if m := ms[0]; m.Layer >= 0 || m.Kind != "head" {
		sum += c.after[max(m.Layer, 0)]
	}
	return sum
}
