package export

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"nibble/model"
	"nibble/model/output"
)

var killRounds = flag.Int("kill-rounds", 3, "how often TestKilled kills an export")

const victimVariable = "NIBBLE_TEST_EXPORT"

// TestMain exports the demo when it is asked to.
func TestMain(m *testing.M) {
	out := os.Getenv(victimVariable)
	if out == "" {
		os.Exit(m.Run())
	}
	ck, err := model.Open("demo")
	if err == nil {
		_, err = Run(context.Background(), Options{Source: ck, Out: out}, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Killed at any moment, an export leaves the whole file or none under its name, and
// what else it leaves is in nobody's way.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	victim := func(out string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimVariable+"="+out)
		return cmd
	}
	whole := filepath.Join(dir, "whole.gguf")
	begun := time.Now()
	if text, err := victim(whole).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	takes := time.Since(begun)
	want, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range *killRounds {
		out := filepath.Join(dir, fmt.Sprint(i), "x.gguf")
		cmd := victim(out)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(takes))))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(out); err != nil {
			if text, err := victim(out).CombinedOutput(); err != nil {
				t.Fatalf("after a kill: %v: %s", err, text)
			}
		}
		if _, err := output.Take(out, output.File); !errors.Is(err, output.ErrExists) {
			t.Errorf("once more: %v", err)
		}
		if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 1 {
			t.Errorf("left: %v, %v", left, err)
		}
		if got, err := os.ReadFile(out); err != nil || string(got) != string(want) {
			t.Errorf("the file differs from one that was never killed (%v)", err)
		}
	}
}
