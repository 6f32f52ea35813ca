package quant

import (
	"context"
	"slices"
	"strings"
	"testing"

	"nibble/model/demo/demotest"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/plan"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// Whatever method is registered is understood by recipes, plans and the text that
// helps, stands in for itself or for one that can be tried alone, and quantizes.
func TestEveryMethod(t *testing.T) {
	ck := quanttest.Open(t, demotest.Short(t, 2))
	base := quanttest.Load(t, 2, ck)
	cal := passtest.Calibration(t, ck)
	shortTraining(t, 2)
	if names := recipe.Methods(); len(names) < 8 || len(names) != len(method.All()) {
		t.Fatalf("the methods are %q", names)
	}
	weaker := 0
	for _, m := range method.All() {
		if m.Strength <= weaker {
			t.Errorf("%s is as strong as the one before it", m.Name)
		}
		weaker = m.Strength
		r := passtest.Parse(t, "w4 g32 sym "+m.Name+"; embed_tokens w4 g32 sym "+m.Name+"; *.1.* keep")
		plan, err := plan.For(ck, r, plan.Options{Calibration: cal})
		if err != nil || !(plan.Seconds > 0) || plan.PeakRSSBytes <= 0 || plan.Modules[1].Method != m {
			t.Errorf("%s: plan %+v, %v", m.Name, plan, err)
		}
		if method.Calibrated(r, ck.Config) != m.Calibrates() {
			t.Errorf("%s calibrates: %t", m.Name, m.Calibrates())
		}
		if s := method.StandIn(r.Default); !method.Named(s.Method).Alone() || m.Alone() && s.Method != m.Name {
			t.Errorf("%s is tried as %s", m.Name, s)
		}
		if _, _, err := ApplyCalibrated(context.Background(), base, ck, passtest.Parse(t, "nl4 g32 "+m.Name+"; *.1.* keep"), cal, nil); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if m.Recipe != "" && passtest.Parse(t, m.Recipe).Default != r.Default {
			t.Errorf("%s is %s", m.Recipe, passtest.Parse(t, m.Recipe))
		}
		if m.Stronger != "" && method.Named(m.Stronger).Strength <= m.Strength {
			t.Errorf("%s is no stronger than %s", m.Stronger, m.Name)
		}
		if !(m.Error > 0 && m.Error <= 1) || m.Does == "" || !strings.Contains(Readme, "`"+m.Name+"`") {
			t.Errorf("%s does not say what it does", m.Name)
		}
		done, report, err := ApplyCalibrated(context.Background(), base, ck, r, cal, nil)
		if err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		i := slices.IndexFunc(report.Modules, func(l pass.ModuleReport) bool { return l.Module == plan.Modules[1].Module.Name })
		if l := done.Linear(plan.Modules[1].Module.Name); !l.Quantized() || !(report.Modules[i].MSE > 0) {
			t.Errorf("%s quantizes nothing: %+v", m.Name, report.Modules[i])
		}
	}
}
