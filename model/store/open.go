package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nibble/model"
	"nibble/model/demo"
	"nibble/model/hub"
	"nibble/model/source"
)

// Place is where a model lies.
type Place struct {
	Path string // for model.Open
	Name string // "" is what the path says
}

// names are the stores whose models have a name of their own, by the prefix of it.
var names = map[string]func(name string) (Place, error){
	"ollama:":   findOllama,
	"lmstudio:": findLMStudio,
}

// Find says where a model lies that is called ref: a path, "demo", ollama:NAME[:TAG],
// lmstudio:PUBLISHER/NAME[/FILE], or ORG/NAME[@REVISION][:FILE] on the hub. What lies
// at a path goes before a name. Of the hub, what is in its cache is taken as it is;
// what is not, or not whole, is downloaded.
func Find(ctx context.Context, ref string, listen hub.Listener) (Place, error) {
	if isPath(ref) {
		return Place{Path: ref}, nil
	}
	for prefix, find := range names {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return find(name)
		}
	}
	r, err := hub.Parse(ref)
	if err != nil {
		return Place{Path: ref}, nil // whose opening says what is wrong
	}
	s, err := hub.FromEnv()
	if err != nil {
		return Place{}, err
	}
	found, ok := s.Find(r)
	switch {
	case ok && (found.Texts || s.Offline):
		return Place{found.Path, r.Name()}, nil
	case !ok && !strings.Contains(r.Repo, "/"): // more likely a path that is misspelt
		return Place{Path: ref}, nil
	}
	res, err := hub.Pull(ctx, r, s, listen)
	switch {
	case err == nil:
		return Place{res.Path, r.Name()}, nil
	case ok && (errors.Is(err, hub.ErrNetwork) || errors.Is(err, hub.ErrBusy)):
		return Place{found.Path, r.Name()}, nil
	case errors.Is(err, hub.ErrNotFound) || errors.Is(err, hub.ErrToken) || errors.Is(err, hub.ErrNetwork) || errors.Is(err, hub.ErrOffline):
		return Place{}, fmt.Errorf("%w (there is no such path either)", err)
	}
	return Place{}, err
}

// isPath reports whether ref is a path or built in.
func isPath(ref string) bool {
	_, err := os.Stat(ref)
	return err == nil || ref == demo.Name
}

// Known reports whether ref calls a model, though it may not be there.
func Known(ref string) bool {
	if isPath(ref) {
		return true
	}
	for prefix := range names {
		if strings.HasPrefix(ref, prefix) {
			return true
		}
	}
	r, err := hub.Parse(ref)
	if err != nil {
		return false
	}
	if strings.Contains(r.Repo, "/") {
		return true
	}
	s, err := hub.FromEnv()
	if err != nil {
		return false
	}
	_, ok := s.Find(r)
	return ok
}

// Open opens a model by what it is called.
func Open(ctx context.Context, ref string, listen hub.Listener) (*model.Checkpoint, error) {
	return open(ctx, ref, listen, model.Open)
}

// Look is Open for saying what a model is: see [model.Look].
func Look(ctx context.Context, ref string, listen hub.Listener) (*model.Checkpoint, error) {
	return open(ctx, ref, listen, model.Look)
}

func open(ctx context.Context, ref string, listen hub.Listener, with func(string) (*model.Checkpoint, error)) (*model.Checkpoint, error) {
	at, err := Find(ctx, ref, listen)
	if err != nil {
		return nil, err
	}
	ck, err := with(at.Path)
	if err != nil {
		return nil, err
	}
	ck.Ref = ref
	if at.Name != "" {
		ck.Name = at.Name
	}
	return ck, nil
}

// safe reports whether a name with slashes stays inside of a directory.
func safe(name string) bool {
	return filepath.IsLocal(filepath.FromSlash(name)) && !strings.ContainsAny(name, "\\\x00")
}

func notFound(ref, why string) error {
	return fmt.Errorf("%s: %w: %s; 'nibble models' lists what there is", source.Quote(ref), model.ErrNotFound, why)
}
