package store

import (
	"os"
	"path/filepath"
	"strings"

	"nibble/model/source"
)

// lmStudioDirs are where LM Studio keeps PUBLISHER/NAME/FILE.
func lmStudioDirs() (dirs []string) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	// A home that was moved is named by a file.
	if data, _, err := source.Read(filepath.Join(home, ".lmstudio-home-pointer"), 4096); err == nil {
		dirs = append(dirs, filepath.Join(strings.TrimSpace(string(data)), "models"))
	}
	for _, below := range []string{".lmstudio/models", ".cache/lm-studio/models"} {
		dirs = append(dirs, filepath.Join(home, filepath.FromSlash(below)))
	}
	return dirs
}

// findLMStudio finds a model by PUBLISHER/NAME, or one of several files in that.
func findLMStudio(name string) (Place, error) {
	ref := "lmstudio:" + name
	if !safe(name) {
		return Place{}, notFound(ref, "a model of LM Studio is PUBLISHER/NAME")
	}
	for _, c := range listLMStudio() {
		if c.ref == ref {
			return Place{Path: c.path, Name: filepath.Base(strings.TrimSuffix(filepath.FromSlash(name), ".gguf"))}, nil
		}
	}
	return Place{}, notFound(ref, "LM Studio has no such model here, or more than one file of it")
}

// listLMStudio lists the models of each folder: by its name if it has one, or else by
// their files.
func listLMStudio() (all []candidate) {
	for _, root := range lmStudioDirs() {
		publishers, _ := os.ReadDir(root)
		for _, p := range publishers {
			folders, _ := os.ReadDir(filepath.Join(root, p.Name()))
			for _, f := range folders {
				found := listDirectory(filepath.Join(root, p.Name(), f.Name()))
				name := "lmstudio:" + p.Name() + "/" + f.Name()
				for _, c := range found {
					c.ref, c.store = name, "lmstudio"
					if len(found) > 1 {
						c.ref += "/" + filepath.Base(c.path)
					}
					all = append(all, c)
				}
			}
		}
	}
	return all
}
