package quant

import (
	"nibble/model/demo"
	"nibble/model/output"
	"nibble/quant/journal"
)

// Place checks where a run is to write: outside of the directory of its model.
func Place(out, source string) (output.Place, error) {
	p, err := output.Find(out, output.Directory)
	if err == nil && source != demo.Name {
		err = p.Outside(source)
	}
	return p, err
}

// Claim checks and claims an output directory before anything is loaded. It is nil
// for one that a run may have made before: Run finds out.
func Claim(out, source string) (*output.Claim, error) {
	p, err := Place(out, source)
	if err != nil {
		return nil, err
	}
	if p.Occupied == nil {
		return p.Claim()
	}
	if _, err := journal.ReadReport(out); err != nil {
		return nil, p.Occupied
	}
	return nil, nil
}
