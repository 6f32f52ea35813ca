package quant

import (
	"context"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/grid"
	"nibble/quant/journal"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/plan"
	"nibble/quant/recipe"
	"nibble/quant/train"
)

// What callers need of the packages below, by the names that they know it by.
type (
	Spec   = recipe.Spec
	Rule   = recipe.Rule
	Recipe = recipe.Recipe
	Method = pass.Method

	Calibration        = calib.Calibration
	CalibrationOptions = calib.Options

	Plan          = plan.Plan
	PlanOptions   = plan.Options
	PlannedModule = pass.PlannedModule
	Rates         = cost.Rates

	Stats        = grid.Stats
	Report       = journal.Report
	ModuleReport = pass.ModuleReport
	Unfinished   = journal.Unfinished

	Event      = pass.Event
	Listener   = pass.Listener
	ModuleDone = pass.ModuleDone
	Progress   = pass.Progress
	Trained    = train.Trained
	Measuring  = plan.Measuring
	Unkept     = plan.Unkept
)

// The methods that callers name themselves.
const (
	RTN            = method.RTN
	MSE            = method.MSE
	IMatrix        = method.IMatrix
	AWQ            = method.AWQ
	GPTQ           = method.GPTQ
	AutoRound      = method.AutoRound
	AutoRoundLight = method.AutoRoundLight
)

const (
	// DefaultSamples is how many samples a calibration has unless told otherwise.
	DefaultSamples = calib.DefaultSamples
	// MethodsVersion changes with anything that changes what a method writes.
	MethodsVersion = journal.MethodsVersion
	// Requantized is what results say whose source was quantized before.
	Requantized = plan.Requantized
)

var (
	// Keep leaves a matrix as it is stored.
	Keep = recipe.Keep
	// ErrNotFinite reports NaN or infinite weights.
	ErrNotFinite = grid.ErrNotFinite
)

// ParseRecipe reads a recipe: see [recipe.Parse].
func ParseRecipe(s string) (Recipe, error) { return recipe.Parse(s) }

// DefaultRecipe is used when none is given.
func DefaultRecipe() Recipe { return recipe.Default() }

// Named lists the recipes that have names.
func Named() []Recipe { return recipe.Named() }

// Compact writes the specs of a model's matrices as a short recipe.
func Compact(c model.Config, specs map[string]Spec) Recipe { return recipe.Compact(c, specs) }

// Schemes returns the storage schemes a recipe gives the matrices of a model; kept
// ones are not listed.
func Schemes(c model.Config, r Recipe) map[string]kernels.Scheme { return recipe.Schemes(c, r) }

// Methods lists the methods, the weakest first.
func Methods() []*Method { return method.All() }

// MethodNamed returns the method of a name; nil if there is none.
func MethodNamed(name string) *Method { return method.Named(name) }

// Planned returns what is done with a matrix by its spec: see [method.Planned].
func Planned(s Spec, m model.Module, whole bool) PlannedModule { return method.Planned(s, m, whole) }

// StandIn returns the spec that a spec is tried as on a matrix alone.
func StandIn(s Spec) Spec { return method.StandIn(s) }

// Calibrated reports whether a matrix of the model needs a calibration.
func Calibrated(r Recipe, c model.Config) bool { return method.Calibrated(r, c) }

// Samples returns how many samples a recipe is calibrated with unless told otherwise.
func Samples(r Recipe, c model.Config) int { return method.Samples(r, c) }

// NewCalibration draws samples from a text: see [calib.New].
func NewCalibration(ck *model.Checkpoint, o CalibrationOptions) (*Calibration, error) {
	return calib.New(ck, o)
}

// NewPlan works out the plan for a typical machine; it reads a few weights.
func NewPlan(ck *model.Checkpoint, r Recipe) (Plan, error) { return plan.New(ck, r) }

// PlanFor works out the plan; it reads a few weights.
func PlanFor(ck *model.Checkpoint, r Recipe, o PlanOptions) (Plan, error) { return plan.For(ck, r, o) }

// MeasureRates measures this machine, or recalls what was measured: see
// [plan.MeasureRates].
func MeasureRates(ctx context.Context, eng *kernels.Engine, dir string, refresh bool, l Listener) (Rates, error) {
	return plan.MeasureRates(ctx, eng, dir, refresh, l)
}

// ReadReport reads the report that Run left in a model's directory.
func ReadReport(dir string) (Report, error) { return journal.ReadReport(dir) }

// ByDamage returns the matrices that are quantized, the most damaged first.
func ByDamage(lines []ModuleReport) []ModuleReport { return journal.ByDamage(lines) }

// One quantizes a single matrix of a checkpoint by a method that needs no calibration.
func One(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, m model.Module, s Spec) (*kernels.QTensor, Stats, error) {
	return method.One(ctx, eng, ck, m, s)
}
