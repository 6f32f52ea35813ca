package job

import (
	"nibble/model/store"
	"nibble/tune"
)

// WrittenDirs are the directories that the searches of a directory of runs wrote.
func WrittenDirs(runsDir string) (dirs []store.Dir) {
	runs, _ := tune.Runs(runsDir) // without one there are no models either
	for _, run := range runs {
		if asked, err := Asked(run); err == nil && asked.Out != "" {
			dirs = append(dirs, store.Dir{Path: asked.Out, Store: "runs"})
		}
	}
	return dirs
}
