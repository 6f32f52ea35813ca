package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nibble/kernels/durable/durabletest"
)

func TestWriteFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	path := filepath.Join(dir, "file")
	for _, want := range []string{"old", "new and longer"} {
		if err := WriteFile(path, []byte(want[:2]), []byte(want[2:])); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	// What killed writers left goes when it is old; a living writer's stays.
	for name, age := range map[string]time.Duration{".file.new-1-0": 2 * abandoned, ".file.new-2-0": 0, ".other.new-3-0": 2 * abandoned} {
		left := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(left, nil, 0o644), os.Chtimes(left, time.Now().Add(-age), time.Now().Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	// A directory cannot be replaced by a file: nothing half-written stays.
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "taken"), []byte("x")); err == nil {
		t.Error("a directory was replaced")
	}
	if err := WriteFile(filepath.Join(path, "below", "file"), nil); err == nil {
		t.Error("a file was taken for a directory")
	}
	var names []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".file.new-2-0", ".other.new-3-0", "file", "taken"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("left: %q, %v, want %q", names, err, want)
	}
}

// sample is a JSON value that differs with n.
func sample(n int) []byte {
	return fmt.Appendf(nil, `{"name":"<%d> \u00e9\n","number":%v,"list":[%d,-3]}`, n, 1/float64(n+3), n)
}

// Damaged content is refused or, where it means the same, read as it was.
func TestSealed(t *testing.T) {
	want := sample(7)
	for name, seal := range map[string]func([]byte) ([]byte, error){"a line": Seal, "indented": SealIndent} {
		data, err := seal(want)
		if err != nil || !json.Valid(data) {
			t.Fatal(name, err)
		}
		if got, err := Unseal(data); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		durabletest.Damage(data, 80, func(how string, bad []byte) {
			if got, err := Unseal(bad); err == nil && !bytes.Equal(got, want) || err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: %s, %v", name, how, got, err)
			}
		})
		if _, err := seal([]byte("no JSON")); err == nil {
			t.Errorf("%s: what is no JSON was sealed", name)
		}
	}
	for _, not := range []string{"", "{}", "null", "[]", `{"content":{"name":"x"}}`, `{"crc32c":"","content":null}`, `{"crc32c":"00000000","content":1}`} {
		if _, err := Unseal([]byte(not)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", not, err)
		}
	}
}

// A damaged log gives values that were added, in their order, and never others. What
// is added to it afterwards is read back.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var all [][]byte
	for i := range 6 {
		all = append(all, sample(i))
	}
	write := func(values ...[]byte) {
		t.Helper()
		l, err := OpenLog(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Add(values...), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
	read := func() [][]byte {
		t.Helper()
		got, err := ReadLog(path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	write(all[:4]...)
	write(all[4:]...)
	if got := read(); len(got) != len(all) || !bytes.Equal(got[5], all[5]) {
		t.Fatalf("%+v", got)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	durabletest.Damage(data, 80, func(how string, bad []byte) {
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		got := read()
		for i, v := range got {
			if !slices.ContainsFunc(all, func(x []byte) bool { return bytes.Equal(x, v) }) {
				t.Errorf("%s: value %d is %s", how, i, v)
			}
		}
		cut := bytes.HasPrefix(data, bad)
		if whole := bytes.Count(bad, []byte("\n")); cut && len(got) < whole || !cut && len(got) < len(all)-3 {
			t.Errorf("%s: %d values are left", how, len(got))
		}
		write(sample(99))
		if more := read(); len(more) != len(got)+1 || !bytes.Equal(more[len(got)], sample(99)) {
			t.Errorf("%s: %d values, and after one more %d", how, len(got), len(more))
		}
	})
	if got, err := ReadLog(path, 10); err != nil || len(got) > 0 {
		t.Errorf("ten bytes give %+v, %v", got, err)
	}
}

// A write that fails half-way costs its own line.
func TestLogFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	path := filepath.Join(t.TempDir(), "log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Skip(err)
	}
	l, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Add(sample(1)); err == nil || !l.torn {
		t.Errorf("a full disk: %v", err)
	}
}

const holderVariable = "NIBBLE_TEST_HOLD"

// TestMain holds a lock until it is killed, when it is asked to.
func TestMain(m *testing.M) {
	if path := os.Getenv(holderVariable); path != "" {
		if _, err := TryLock(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		time.Sleep(time.Minute)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	free := func(want bool) {
		t.Helper()
		if o, held := HeldBy(path); held == want {
			t.Fatalf("held %v by %s", held, o)
		}
	}
	free(true)
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	free(false)
	var held *Held
	if _, err := TryLock(path); !errors.As(err, &held) || held.Owner.PID != os.Getpid() || !strings.Contains(err.Error(), filepath.Base(os.Args[0])) {
		t.Errorf("a second hold: %v", err)
	}
	l.Unlock()
	l.Unlock()
	(*Lock)(nil).Unlock()
	free(true)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file stays: %v", err)
	}
	// What lies there, of whatever content, is no lock.
	if err := os.WriteFile(path, []byte(`{"pid":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	free(true)
	if l, err = TryLock(path); err != nil {
		t.Fatal(err)
	}
	// Nobody removes the lock of another.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
	free(false)
	other.Unlock()
	if _, err := TryLock(filepath.Join(path, "none", "lock")); err == nil {
		t.Error("a lock in no directory")
	}
}

// A killed process holds nothing.
func TestLockOfTheKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holderVariable+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4)
	if _, err := out.Read(line); err != nil || string(line) != "held" {
		t.Fatalf("%q, %v", line, err)
	}
	var held *Held
	if _, err := TryLock(path); !errors.As(err, &held) || held.Owner.PID != cmd.Process.Pid {
		t.Errorf("while it lives: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if o, held := HeldBy(path); held {
		t.Errorf("held by %s", o)
	}
	l, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

func TestFreeDisk(t *testing.T) {
	if n := FreeDisk(t.TempDir()); n == 0 || n < -1 {
		t.Errorf("%d bytes", n)
	}
}
