package work

import (
	"os"
	"path/filepath"
	"strings"

	"nibble/quant"
)

// Artifacts keeps what takes long to make, which is what training makes: models
// lie in a run's directory, where they are measured and from where they are saved.
// Saving copies what was measured, and a search that was killed does not train
// again. Of all of them only the best stays.
type Artifacts struct{ Dir string } // of the run; "" keeps nothing

// artifactPrefix begins their names.
const artifactPrefix = "artifact-"

// Of is where the model of a recipe is kept, "" if none is.
func (a Artifacts) Of(r quant.Recipe) string {
	if a.Dir == "" {
		return ""
	}
	return filepath.Join(a.Dir, artifactPrefix+Hash(r.String())[:16])
}

// KeepOnly removes the models of all recipes but one.
func (a Artifacts) KeepOnly(r quant.Recipe) {
	keep := filepath.Base(a.Of(r))
	a.discard(func(name string) bool { return strings.HasPrefix(name, artifactPrefix) && name != keep })
}

// Clear removes all models, and what is left of trainings that were interrupted.
func (a Artifacts) Clear() { a.discard(IsArtifact) }

// IsArtifact reports whether a name in a run's directory is of a model, or of what is
// left of a training that was interrupted.
func IsArtifact(name string) bool {
	return strings.HasPrefix(strings.TrimPrefix(name, "."), artifactPrefix)
}

// discard removes some of what is in the run's directory. What cannot be removed
// goes with the run.
func (a Artifacts) discard(unwanted func(name string) bool) {
	if a.Dir == "" {
		return
	}
	entries, _ := os.ReadDir(a.Dir)
	for _, e := range entries {
		if unwanted(e.Name()) {
			os.RemoveAll(filepath.Join(a.Dir, e.Name()))
		}
	}
}
