package quant

import (
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/journal"
	"nibble/quant/plan"
)

// Prospect is what Run would meet and give, before any work.
type Prospect struct {
	Plan        plan.Plan
	Calibration *calib.Calibration // nil if the recipe needs none
	Earlier     *Earlier           // what an unfinished run left for the directory; nil if nothing
	Found       bool               // the directory holds already what Run would write
	Refusal     error              // why Run would refuse all the same; nil if it would not
}

// Earlier is what an unfinished run left.
type Earlier struct {
	Done        int      // matrices
	Differences []string // of its arguments from these, in words; Run goes on only if there are none
}

// Look works out what Run would meet, for a machine with these rates; without a
// directory, what ApplyCalibrated would. It writes nothing.
func Look(o Options, rates cost.Rates) (Prospect, error) {
	var err error
	if o.Recipe, err = plan.Check(o.Source, o.Recipe); err != nil {
		return Prospect{}, err
	}
	j := job{eng: o.Engine, ck: o.Source, recipe: o.Recipe, calibration: o.Calibration}
	if err := j.prepare(); err != nil {
		return Prospect{}, err
	}
	plan, err := plan.For(o.Source, o.Recipe, plan.Options{Rates: rates, Calibration: j.calibration})
	if err != nil {
		return Prospect{}, err
	}
	p := Prospect{Plan: plan, Calibration: j.calibration}
	if o.Out == "" {
		p.Refusal = checkMemory(plan, o.Force)
		return p, nil
	}
	at, err := Place(o.Out, o.Source.Ref)
	switch {
	case err != nil:
		p.Refusal = err
		return p, nil
	case at.Occupied != nil:
		if _, p.Found = journal.FinishedBefore(o.Out, j.fingerprint()); !p.Found {
			p.Refusal = at.Occupied
		}
		return p, nil
	}
	if p.Refusal = at.Busy(); p.Refusal != nil {
		return p, nil
	}
	if records := journal.ReadJournal(at.Work()); len(records) > 0 {
		p.Earlier = &Earlier{Differences: records[0].Fingerprint.Differences(j.fingerprint())}
		done := map[string]bool{}
		for _, r := range records {
			if r.Line != nil {
				done[r.Name] = true
			}
		}
		p.Earlier.Done = len(done)
		return p, nil // what is there has its room
	}
	p.Refusal = room(at, plan, o.Force)
	return p, nil
}
