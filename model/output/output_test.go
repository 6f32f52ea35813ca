package output

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes files, directories (names that end with /) and links (name to target).
func tree(t *testing.T, names []string, links map[string]string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("mine"), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Skip(err)
		}
	}
	return root
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

// What a path comes to is known before any work, and nothing is written to find out.
func TestFind(t *testing.T) {
	root := tree(t, []string{"empty/", "full/file", "file", "here/", "deep/er/"},
		map[string]string{"toempty": "empty", "tofull": "full", "tonew": "deep/new", "twice": "tonew", "todeeper": "deep/er", "loop": "loop"})
	t.Chdir(filepath.Join(root, "here"))
	before := names(t, root)
	for _, x := range []struct {
		path     string
		kind     Kind
		want     error
		occupied bool
		real     string // under root
		says     string
	}{
		{"new", Directory, nil, false, "here/new", ""},
		{"../new", Directory, nil, false, "new", ""},
		{"new/", Directory, nil, false, "here/new", ""},
		{"a/b/c", Directory, nil, false, "here/a/b/c", ""},
		{"../empty", Directory, nil, false, "empty", ""},
		{"../toempty", Directory, nil, false, "empty", ""},
		{"../tonew", Directory, nil, false, "deep/new", ""},
		{"../twice", Directory, nil, false, "deep/new", ""},
		{"../todeeper/x", Directory, nil, false, "deep/er/x", ""},
		{"../todeeper/../x", Directory, nil, false, "deep/x", ""},
		{"../full", Directory, ErrNotEmpty, true, "full", "new name"},
		{"../tofull", Directory, ErrNotEmpty, true, "full", "new name"},
		{"..", Directory, ErrNotEmpty, true, "", "../model"},
		{"/", Directory, ErrNotEmpty, true, "", "/model"},
		{".", Directory, ErrUnwritable, false, "", "current directory"},
		{"../here", Directory, ErrUnwritable, false, "", "current directory"},
		{"../file", Directory, ErrUnwritable, false, "", "in the way"},
		{"../file/x", Directory, ErrUnwritable, false, "", "not a directory"},
		{"../loop", Directory, ErrUnwritable, false, "", "link"},
		{"", Directory, ErrUnwritable, false, "", "no output"},
		{"x.gguf", File, nil, false, "here/x.gguf", ""},
		{"no/x.gguf", File, nil, false, "here/no/x.gguf", ""},
		{"../tonew", File, nil, false, "deep/new", ""},
		{"../file", File, ErrExists, true, "file", "new name"},
		{"../empty", File, ErrExists, true, "empty", "new name"},
		{"x/", File, ErrUnwritable, false, "", "names a directory"},
		{"../file/x", File, ErrUnwritable, false, "", "not a directory"},
	} {
		p, err := Find(x.path, x.kind)
		got := errors.Join(err, p.Occupied)
		if !errors.Is(got, x.want) || (p.Occupied != nil) != x.occupied || got != nil && !strings.Contains(got.Error(), x.says) {
			t.Errorf("%q: %v, occupied: %v; want %v that says %q", x.path, err, p.Occupied, x.want, x.says)
		}
		if x.real != "" && p.real != filepath.Join(root, x.real) {
			t.Errorf("%q comes to %s, want %s", x.path, p.real, x.real)
		}
	}
	if after := names(t, root); after != before || names(t, ".") != "" {
		t.Errorf("left: %s, and here %s", after, names(t, "."))
	}
}

// A mount point cannot be replaced; /dev/shm and /proc are such where they are.
func TestMount(t *testing.T) {
	for _, dir := range []string{"/proc", "/dev/shm", "/dev"} {
		if _, err := os.Stat(dir); err == nil && isMount(dir) {
			if isMount(t.TempDir()) {
				t.Error("a new directory is a mount point")
			}
			return
		}
	}
	t.Skip("no mount point is known here")
}

func TestOutside(t *testing.T) {
	root := tree(t, []string{"model/config.json", "model2/", "elsewhere/"}, map[string]string{"link": "model"})
	for _, x := range []struct {
		path, source string
		kind         Kind
		inside       bool
	}{
		{"model", "model", Directory, true},
		{"link", "model", Directory, true},
		{"model", "link", Directory, true},
		{"model/int4", "model", Directory, true},
		{"link/deep/int4", "model", Directory, true},
		{"model2", "model", Directory, false},
		{"elsewhere/int4", "model", Directory, false},
		{"model/x.gguf", "model", File, false}, // as is usual
		{"model/int4", "no/such", Directory, false},
	} {
		p, err := Find(filepath.Join(root, x.path), x.kind)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Outside(filepath.Join(root, x.source)); errors.Is(err, ErrSource) != x.inside {
			t.Errorf("%s from %s: %v", x.path, x.source, err)
		}
	}
}

func TestRoom(t *testing.T) {
	p, err := Find(filepath.Join(t.TempDir(), "not", "there", "yet"), Directory)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Room(1); err != nil {
		t.Error(err)
	}
	if err := p.Room(math.MaxInt64 - 1e6); !errors.Is(err, ErrDisk) || !strings.Contains(err.Error(), "MB are free") {
		t.Errorf("eight exabytes: %v", err)
	}
}

// A place belongs to one at a time; what is made there appears whole, through links
// where they lead, and nothing else stays.
func TestClaim(t *testing.T) {
	root := tree(t, []string{"disk/"}, map[string]string{"out": "disk/out", "x.gguf": "disk/x.gguf"})
	for name, kind := range map[string]Kind{"out": Directory, "x.gguf": File} {
		path := filepath.Join(root, name)
		c, err := Take(path, kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, same := range []string{path, filepath.Join(root, "disk", name)} {
			if _, err := Take(same, kind); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "process ") {
				t.Errorf("%s is taken twice: %v", same, err)
			}
		}
		if err := c.Busy(); !errors.Is(err, ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
		made := filepath.Join(c.Work(), "made")
		if kind == Directory {
			made = filepath.Join(made, "config.json")
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(made), 0o755), os.WriteFile(made, []byte("made"), 0o644), c.Publish("made"), c.Clear()); err != nil {
			t.Fatal(err)
		}
		c.Release()
		c.Release()
		if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link %s was replaced (%v)", name, err)
		}
	}
	(*Claim)(nil).Release()
	if got := names(t, filepath.Join(root, "disk")); got != "out x.gguf" {
		t.Errorf("left: %s", got)
	}
}

// What is unfinished stays for the next claim of the place, until it is cleared.
func TestKept(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	c, err := Take(out, Directory)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Work(), "half"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Release()
	if got := names(t, c.Work()); got != "half" {
		t.Errorf("left: %s", got)
	}
	if c, err = Take(out, Directory); err != nil {
		t.Fatal(err)
	}
	if got := names(t, c.Work()); got != "half lock" {
		t.Errorf("found: %s", got)
	}
	c.Forget() // is another's at present: nothing
	if got := names(t, c.Work()); got != "half lock" {
		t.Errorf("found: %s", got)
	}
	c.Release()
	c.Forget()
	if got := names(t, filepath.Dir(out)); got != "" {
		t.Errorf("left: %s", got)
	}
}

// What comes into being while the work lasts is not lost.
func TestPublishRefuses(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a file":           func(path string) error { return os.WriteFile(path, []byte("mine"), 0o644) },
		"a full directory": func(path string) error { return os.MkdirAll(filepath.Join(path, "mine"), 0o755) },
		"a link":           func(path string) error { return os.Symlink("nowhere", path) },
	} {
		for _, kind := range []Kind{Directory, File} {
			path := filepath.Join(t.TempDir(), "out")
			c, err := Take(path, kind)
			if err != nil {
				t.Fatal(err)
			}
			made := filepath.Join(c.Work(), "made")
			if kind == Directory {
				err = os.Mkdir(made, 0o755)
			} else {
				err = os.WriteFile(made, nil, 0o644)
			}
			if err = errors.Join(err, put(path)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			if err := c.Publish("made"); !errors.Is(err, ErrUnwritable) {
				t.Errorf("%s in the way: %v", name, err)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("%s was replaced (%v)", name, err)
			}
			if _, err := os.Lstat(made); err != nil {
				t.Errorf("what was made is lost: %v", err)
			}
			c.Release()
		}
	}
}
