package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"nibble/model"
	"nibble/model/source"
)

// Ollama's store: manifests/HOST/NAMESPACE/MODEL/TAG say which of blobs/sha256-HEX
// belong to a model. What is called by its last parts alone is of these.
const (
	ollamaHost, ollamaNamespace, ollamaTag = "registry.ollama.ai", "library", "latest"
	maxManifest                            = 1 << 20
)

// ollamaDirs are where Ollama keeps models, for this user or as a service.
func ollamaDirs() []string {
	if dir := os.Getenv("OLLAMA_MODELS"); dir != "" {
		return []string{dir}
	}
	dirs := []string{"/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models"}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append([]string{filepath.Join(home, ".ollama", "models")}, dirs...)
	}
	return dirs
}

// findOllama finds a model by NAME[:TAG], NAMESPACE/NAME[:TAG] or with the host before.
func findOllama(name string) (Place, error) {
	ref := "ollama:" + name
	parts := strings.Split(name, "/")
	last, tag, _ := strings.Cut(parts[len(parts)-1], ":")
	if tag == "" {
		tag = ollamaTag
	}
	parts[len(parts)-1] = last
	switch len(parts) {
	case 1:
		parts = append([]string{ollamaHost, ollamaNamespace}, parts...)
	case 2:
		parts = append([]string{ollamaHost}, parts...)
	case 3:
	default:
		return Place{}, notFound(ref, "a model of Ollama is NAME:TAG")
	}
	at := strings.Join(append(parts, tag), "/")
	for _, part := range append(parts, tag) {
		if part == "" || !safe(part) {
			return Place{}, notFound(ref, "a model of Ollama is NAME:TAG")
		}
	}
	for _, dir := range ollamaDirs() {
		path, err := ollamaBlob(dir, filepath.Join(dir, "manifests", filepath.FromSlash(at)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return Place{path, last + "-" + tag}, err
	}
	return Place{}, notFound(ref, "Ollama has no such model here")
}

var digestForm = regexp.MustCompile(`^sha256[:-]([0-9a-f]{64})$`)

// ollamaBlob returns the GGUF file of a manifest. A manifest that is not there is
// fs.ErrNotExist.
func ollamaBlob(dir, manifest string) (string, error) {
	data, _, err := source.Read(manifest, maxManifest)
	if err != nil {
		return "", err
	}
	var m struct {
		Layers []struct {
			Type   string `json:"mediaType"`
			Digest string `json:"digest"`
		} `json:"layers"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("%s: %w: %v", manifest, model.ErrCorrupt, err)
	}
	var weights []string
	for _, l := range m.Layers {
		switch kind := strings.TrimPrefix(l.Type, "application/vnd.ollama.image."); kind {
		case "model":
			digest := digestForm.FindStringSubmatch(l.Digest)
			if digest == nil {
				return "", fmt.Errorf("%s: %w: a layer %s", manifest, model.ErrCorrupt, source.Quote(l.Digest))
			}
			weights = append(weights, filepath.Join(dir, "blobs", "sha256-"+digest[1]))
		case "tensor", "adapter":
			return "", fmt.Errorf("%s: %w: a model of Ollama with a layer of kind %q (a single GGUF file is)", manifest, model.ErrUnsupported, kind)
		}
	}
	if len(weights) != 1 {
		return "", fmt.Errorf("%s: %w: a model of Ollama with %d GGUF files (one is)", manifest, model.ErrUnsupported, len(weights))
	}
	if _, err := os.Stat(weights[0]); err != nil {
		return "", fmt.Errorf("%s: %w: its file %s is not there: 'ollama pull' brings it", manifest, model.ErrNotFound, weights[0])
	}
	return weights[0], nil
}

// listOllama lists the manifests.
func listOllama() (all []candidate) {
	for _, dir := range ollamaDirs() {
		root := filepath.Join(dir, "manifests")
		walk(root, 4, func(path string, depth int) {
			if depth != 4 {
				return
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return
			}
			name, tag := filepath.ToSlash(filepath.Dir(rel)), filepath.Base(rel)
			name = strings.TrimPrefix(strings.TrimPrefix(name, ollamaHost+"/"), ollamaNamespace+"/")
			blob, err := ollamaBlob(dir, path)
			if errors.Is(err, fs.ErrNotExist) {
				return
			}
			all = append(all, candidate{ref: "ollama:" + name + ":" + tag, store: "ollama", path: blob, err: err})
		})
	}
	return all
}
