package quant

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"nibble/kernels/slowtest"
	"nibble/quant/calib"
	"nibble/quant/journal"
	"nibble/quant/train"
)

var killRounds = flag.Int("kill-rounds", 1, "how often TestKilled kills each recipe's run until it completes")

// victim is a quantization in a process of its own. It prints the most memory that it
// took.
type victim struct {
	Source              string // the demo if it is empty
	Out, Recipe         string
	Threads, Iterations int // of training
	Samples, Length     int // of the calibration
}

const victimVariable = "NIBBLE_TEST_QUANTIZE"

// TestMain is the victim when it is asked to.
func TestMain(m *testing.M) {
	asked := os.Getenv(victimVariable)
	if asked == "" {
		os.Exit(m.Run())
	}
	var v victim
	err := json.Unmarshal([]byte(asked), &v)
	if err == nil {
		trainFor(v.Iterations)
		train.SaveEvery, train.SaveShare = 0, 1
		err = quantizeModel(cmp.Or(v.Source, "demo"), v.Threads, calib.Options{Samples: v.Samples, Length: v.Length}, v.Out, v.Recipe, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status, _ := os.ReadFile("/proc/self/status")
	if _, peak, ok := bytes.Cut(status, []byte("VmHWM:")); ok {
		os.Stdout.Write(peak)
	}
	os.Exit(0)
}

// run reports whether the victim completed before it was killed, after some time,
// and what it printed.
func (v victim) run(t *testing.T, after time.Duration) (printed string, completed bool) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVariable+"="+string(data))
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	timer.Stop()
	if err != nil && cmd.ProcessState.Exited() {
		t.Fatalf("it fails: %s", text.String())
	}
	return out.String(), err == nil
}

// Killed at random moments, again and again, a run ends with the bytes of one
// that was left alone, whatever is in work when it dies.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	for name, v := range map[string]victim{
		"matrices":  {Recipe: killedRecipe},
		"awq":       {Recipe: "w4 g32 sym rtn; *.[012].* w4 g32 sym awq; *.0.mlp.up_proj keep; *.1.self_attn.v_proj w4 channel asym gptq"},
		"layers":    {Recipe: "w4 channel sym autoround; *.1.mlp.* w8 g32 asym autoround-light; *.3.* keep", Iterations: 12},
		"the whole": {Recipe: "w4 g64 asym autoround-best; *.1.* w4 g32 sym awq; *.2.self_attn.q_proj keep; embed_tokens w4 g32 sym gptq top10%", Iterations: 25},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "matrices" && !slowtest.On() {
				t.Skip("slow: NIBBLE_SLOW=1 asks for it")
			}
			v.Out, v.Threads, v.Samples, v.Length = filepath.Join(dir, name), 2, 3, 32
			begin := time.Now()
			if _, ok := v.run(t, 10*time.Minute); !ok {
				t.Fatal("it takes more than ten minutes")
			}
			takes, want := time.Since(begin), v.Out
			for round := range *killRounds {
				v.Out = filepath.Join(dir, fmt.Sprint(name, round))
				killed(t, v, takes)
				same(t, v.Out, want)
			}
		})
	}
}

// killed runs a victim that takes some time alone until it completes, and lets it
// live longer the more often it was killed.
func killed(t *testing.T, v victim, takes time.Duration) {
	t.Helper()
	work := workOf(t, v.Out)
	seed := uint64(time.Now().UnixNano()) // other moments each time
	rng, kills, found := rand.New(rand.NewPCG(seed, 0)), 0, map[string]int{}
	for ; ; kills++ {
		if kills == 200 {
			t.Fatal("200 runs do not complete it")
		}
		v.Threads = 1 + kills%2
		if _, ok := v.run(t, time.Duration(rng.Int64N(int64(takes)*int64(10+kills)/20))); ok {
			break
		}
		left, err := os.ReadDir(work)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, f := range left {
			found[f.Name()]++
		}
		if n := len(journal.ReadJournal(work)); n > 1 {
			found["finished matrices"]++
		}
	}
	t.Logf("killed %d times, left: %v", kills, found)
}
