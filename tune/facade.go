package tune

import (
	"fmt"

	"nibble/quant"
	"nibble/tune/journal"
	"nibble/tune/score"
	"nibble/tune/search"
	"nibble/tune/solve"
	"nibble/tune/space"
	"nibble/tune/work"
)

// What callers of Run meet of the rooms.
type (
	Trial      = search.Trial      // one recipe measured
	State      = search.State      // how a trial ended
	Point      = search.Point      // a trial on the front
	Prediction = search.Prediction // what a recipe is expected to give
	Choice     = solve.Choice      // how one matrix is stored, and why
	Screening  = score.Screening   // opens the measurement of a matrix
	Score      = score.Scored      // what one spec for one matrix loses
	Record     = journal.Record    // what is kept of a run
	Pause      = work.Pause        // holds a search
)

// The states of a trial.
const (
	Running   = search.Running
	Reached   = search.Reached
	Missed    = search.Missed
	Stopped   = search.Stopped
	Failed    = search.Failed
	Undecided = search.Undecided
	Promising = search.Promising
	Measured  = search.Measured
	Untested  = search.Untested
)

// The states of a run.
const (
	Live    = journal.Live
	Dead    = journal.Dead
	Done    = journal.Done
	Old     = journal.Old
	Damaged = journal.Damaged
)

// What can be wrong with a run.
var (
	ErrRun   = journal.ErrRun
	ErrLive  = journal.ErrLive
	ErrNoRun = journal.ErrNoRun
)

// DefaultSpecs is the specs that are offered if none are given, as ParseSpecs reads
// them.
const DefaultSpecs = space.Default

// ParseSpecs reads the specs that a search may use: as recipes have them, with commas
// between. Slashes stand for several specs: "w4 g32/g128 gptq, keep" are three.
func ParseSpecs(s string) ([]quant.Spec, error) {
	specs, err := space.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return specs, nil
}

// Front lists the measured trials that no other beats in both size and loss, smallest
// first.
func Front(trials []Trial) []Point { return search.Front(trials) }

// Best returns the smallest trial that reached the goal, or else the most accurate
// one, of those measured in full if there are any; nil if there is none at all.
func Best(trials []Trial) *Trial { return search.Best(trials) }

// LoadRun reads a run's directory. Trials whose lines are damaged are left out.
func LoadRun(dir string) (Record, error) { return journal.LoadRun(dir) }

// Runs lists the runs under a directory, the newest first. Of a damaged one there is
// no more than its name.
func Runs(root string) ([]Record, error) { return journal.Runs(root) }

// DeleteRun removes a run's directory, unless the run is live.
func DeleteRun(root, id string) error { return journal.DeleteRun(root, id) }
