package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model/modeltest"
	rt "nibble/runtime"
)

// alphabet is what the tiny models read: a token for every character, and one
// that begins texts.
const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,"

// tokens of a text.
func tokens(text string) []int32 {
	var ids []int32
	for _, r := range text {
		if r == ' ' {
			ids = append(ids, int32(len(alphabet)))
		} else {
			ids = append(ids, int32(strings.IndexRune(alphabet, r)))
		}
	}
	return ids
}

const begin = int32(len(alphabet) + 1) // the token that begins texts

// letters loads a tiny random model that reads characters.
func letters(t *testing.T, tiny *modeltest.Model, bos bool) *rt.Model {
	t.Helper()
	vocab := map[string]int{"Ġ": len(alphabet), "<s>": int(begin)}
	for i, r := range alphabet {
		vocab[string(r)] = i
	}
	spec := map[string]any{
		"added_tokens":  []any{map[string]any{"id": begin, "content": "<s>", "special": true}},
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
		"decoder":       map[string]any{"type": "ByteLevel"},
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}},
	}
	if bos {
		spec["post_processor"] = map[string]any{"type": "TemplateProcessing",
			"single":         []any{map[string]any{"SpecialToken": map[string]any{"id": "<s>"}}, map[string]any{"Sequence": map[string]any{"id": "A"}}},
			"special_tokens": map[string]any{"<s>": map[string]any{"ids": []int32{begin}}}}
	}
	dir := tiny.Write(t, nil)
	for name, v := range map[string]any{"tokenizer.json": spec, "tokenizer_config.json": map[string]any{"bos_token": "<s>"}} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, m := load(t, dir)
	return m
}

// pairOfModels are a tiny model and one that is a little off.
func pairOfModels() (base, off *modeltest.Model) {
	c := modeltest.Small()
	c.AttentionBias = true
	base, off = modeltest.New(1, c), modeltest.New(1, c)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, name := range []string{"model.layers.0.self_attn.v_proj.weight", "model.layers.1.mlp.down_proj.weight", "lm_head.weight"} {
		w := off.Tensors[name].Data
		for i := range w {
			w[i] += float64(rng.IntN(5)-2) / 64
		}
	}
	return base, off
}

// logSoftmax is the logarithm of probabilities.
func logSoftmax(x []float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v)
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v - math.Log(sum)
	}
	return out
}

func highest(x []float64) int {
	at := 0
	for i, v := range x {
		if v > x[at] {
			at = i
		}
	}
	return at
}

// meanAndError of values.
func meanAndError(values []float64) (mean, se float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		se += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(se / (n - 1) / n)
}

// randomText draws characters.
func randomText(n int) string {
	rng := rand.New(rand.NewPCG(uint64(n), 8))
	var b strings.Builder
	for range n {
		b.WriteByte((alphabet + " ")[rng.IntN(len(alphabet)+1)])
	}
	return b.String()
}

// Perplexity, divergence and their errors are what the definitions make of the
// logits of windows, of which the second half counts.
func TestRunIsAsDefined(t *testing.T) {
	ctx := context.Background()
	base, off := pairOfModels()
	for _, c := range []struct {
		bos           bool
		window, count int
	}{{false, 33, 3}, {true, 32, 3}, {true, 601, 1}} { // the last has more positions than are scored at once
		bos, window, count := c.bos, c.window, c.count
		text := randomText(window*count + 20)
		ids := tokens(text)
		if bos {
			ids = append([]int32{begin}, ids...)
		}
		var own, ref, diff, kld, same, dp, dp2 []float64
		var worst WorstToken
		for w := range count {
			in := slices.Clone(ids[w*window : (w+1)*window])
			if bos {
				in[0] = begin
			}
			p, q := base.Forward(in).Logits, off.Forward(in).Logits
			for j := window / 2; j < window-1; j++ {
				lp, lq, target := logSoftmax(p[j]), logSoftmax(q[j]), in[j+1]
				own, ref, diff = append(own, -lq[target]), append(ref, -lp[target]), append(diff, lp[target]-lq[target])
				k := 0.0
				for i := range lp {
					k += math.Exp(lp[i]) * (lp[i] - lq[i])
				}
				if k > worst.KLD {
					worst = WorstToken{Window: w, Position: j + 1, KLD: k, Token: Guess{ID: target, P: math.Exp(lq[target]), BaseP: math.Exp(lp[target])},
						Says: []Guess{{ID: int32(highest(q[j]))}}, BaseSays: []Guess{{ID: int32(highest(p[j]))}}}
				}
				d := math.Exp(lq[target]) - math.Exp(lp[target])
				kld, dp, dp2 = append(kld, k), append(dp, d), append(dp2, d*d)
				same = append(same, bit(highest(p[j]) == highest(q[j])))
			}
		}
		a, b := letters(t, base, bos), letters(t, off, bos)
		o := Options{Text: NewText("text", []byte(text)), Ctx: window, Worst: 3}
		reference, err := NewReference(ctx, a, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Run(ctx, b, reference, Options{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		alone, err := Run(ctx, b, nil, o, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Tokens != len(own) || alone.Tokens != len(own) || got.Ctx != window || reference.Windows() != count || reference.Result.Tokens != len(own) {
			t.Errorf("%d and %d tokens scored of %d windows, want %d of %d", got.Tokens, alone.Tokens, reference.Windows(), len(own), count)
		}
		if x := got.WorstTokens[0]; len(got.WorstTokens) != 3 || x.Window != worst.Window || x.Position != worst.Position || math.Abs(x.KLD-worst.KLD) > 1e-4*worst.KLD ||
			x.Token.ID != worst.Token.ID || math.Abs(x.Token.P-worst.Token.P) > 1e-5 || math.Abs(x.Token.BaseP-worst.Token.BaseP) > 1e-5 ||
			x.Says[0].ID != worst.Says[0].ID || x.BaseSays[0].ID != worst.BaseSays[0].ID {
			t.Errorf("the worst token is %+v, want %+v", x, worst)
		}
		early, err := Run(ctx, b, reference, Options{}, nil, func(Result) bool { return true })
		if !errors.Is(err, ErrStopped) || early.Tokens != len(own)/count || math.Abs(early.KLDMax-slices.Max(kld[:early.Tokens])) > 1e-4*early.KLDMax {
			t.Errorf("stopped after %d tokens, the largest divergence %g, %v", early.Tokens, early.KLDMax, err)
		}
		lnOwn, lnOwnSE := meanAndError(own)
		lnRef, lnRefSE := meanAndError(ref)
		lnRatio, lnRatioSE := meanAndError(diff)
		kldMean, kldSE := meanAndError(kld)
		sameMean, sameSE := meanAndError(same)
		dpMean, dpSE := meanAndError(dp)
		dp2Mean, _ := meanAndError(dp2)
		ppl, basePPL := math.Exp(lnOwn), math.Exp(lnRef)
		for name, c := range map[string][2]float64{
			"ppl": {got.PPL, ppl}, "ppl_se": {got.PPLSE, ppl * lnOwnSE}, "ppl alone": {alone.PPL, ppl}, "ppl_se alone": {alone.PPLSE, ppl * lnOwnSE},
			"the base's own ppl": {reference.Result.PPL, basePPL}, "and ppl_se": {reference.Result.PPLSE, basePPL * lnRefSE},
			"base_ppl": {got.BasePPL, basePPL}, "base_ppl_se": {got.BasePPLSE, basePPL * lnRefSE},
			"ppl_ratio": {got.PPLRatio, math.Exp(lnRatio)}, "ppl_ratio_se": {got.PPLRatioSE, math.Exp(lnRatio) * lnRatioSE},
			"kld_mean": {got.KLDMean, kldMean}, "kld_se": {got.KLDSE, kldSE}, "kld_max": {got.KLDMax, slices.Max(kld)}, "kld_min": {got.KLDMin, slices.Min(kld)},
			"same_top": {got.SameTop, sameMean}, "same_top_se": {got.SameTopSE, sameSE},
			"dp_mean": {got.DPMean, dpMean}, "dp_mean_se": {got.DPMeanSE, dpSE}, "rms_dp": {got.RMSDP, math.Sqrt(dp2Mean)},
		} {
			if math.Abs(c[0]-c[1]) > 1e-4*(1e-3+math.Abs(c[1])) {
				t.Errorf("bos %v: %s is %g, want %g", bos, name, c[0], c[1])
			}
		}
		if sameMean == 0 || sameMean == 1 || kldMean < 0.01 {
			t.Errorf("the models are not apart enough to tell: same top %g, KL divergence %g", sameMean, kldMean)
		}
	}
}

// Models that cut a text into other tokens are not compared token by token, and
// those that cut it alike are, whoever loaded their tokenizers.
func TestOtherTokensAreRefused(t *testing.T) {
	ctx := context.Background()
	base, off := pairOfModels()
	ref, err := NewReference(ctx, letters(t, base, true), Options{Text: NewText("text", []byte(randomText(40))), Ctx: 16}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(ctx, letters(t, off, false), ref, Options{}, nil, nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("other tokens: %v, want ErrMismatch", err)
	}
	if _, err := Run(ctx, letters(t, off, true), ref, Options{}, nil, nil); err != nil {
		t.Errorf("the same tokens: %v", err)
	}
}

// What is kept of a text is known by all of its tokens and by its windows.
func TestWindowsHash(t *testing.T) {
	seen := map[string][][]int32{}
	for _, w := range [][][]int32{{{1, 2, 3, 4}}, {{1, 2, 3, 5}}, {{2, 2, 3, 4}}, {{1, 2}, {3, 4}}, {{1, 2, 3, 4}, {1, 2, 3, 4}}, {{3, 4}, {1, 2}}} {
		h := hashWindows(w)
		if same, ok := seen[h]; ok {
			t.Errorf("%v and %v have one hash", w, same)
		}
		seen[h] = w
	}
}

// Questions are answered as the definitions say: summed log-probabilities of each
// choice's tokens after its context, the highest and the highest per character.
func TestTasksAreAsDefined(t *testing.T) {
	base, off := pairOfModels()
	for _, bos := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(3, 4))
		word := func(n int) string { return strings.ReplaceAll(randomText(n + 100*rng.IntN(50))[:n], " ", "x") }
		set := TaskSet{Name: "all"}
		for i := range 12 {
			item := Item{Task: fmt.Sprint("task ", i%2), Gold: rng.IntN(3)}
			context := "Examples " + word(5) + ":" // which questions share, in part
			context = strings.ReplaceAll(context, ":", ",") + " " + word(2+rng.IntN(6))
			for range 3 {
				c := Choice{context, " " + word(1+rng.IntN(6))}
				item.Choices, item.Alone = append(item.Choices, c), append(item.Alone, Choice{"Answer,", c.Continuation})
			}
			set.Items = append(set.Items, item)
		}
		judged := func(tiny *modeltest.Model) (acc, norm, uncond []bool) {
			for _, item := range set.Items {
				var sums, per, more []float64
				for i, c := range item.Choices {
					sum := logProbOf(tiny, c, bos)
					sums, per = append(sums, sum), append(per, sum/float64(len(c.Continuation)-1))
					more = append(more, sum-logProbOf(tiny, item.Alone[i], bos))
				}
				acc, norm, uncond = append(acc, highest(sums) == item.Gold), append(norm, highest(per) == item.Gold), append(uncond, highest(more) == item.Gold)
			}
			return acc, norm, uncond
		}
		acc, norm, uncond := judged(off)
		baseAcc, baseNorm, _ := judged(base)
		share := func(right []bool, task int) (mean, se float64) {
			var values []float64
			for i, r := range right {
				if task < 0 || i%2 == task {
					values = append(values, bit(r))
				}
			}
			return meanAndError(values)
		}
		ctx := context.Background()
		reference, err := NewReference(ctx, letters(t, base, bos), Options{Tasks: []TaskSet{set}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := Run(ctx, letters(t, off, bos), reference, Options{}, nil, nil)
		if err != nil || len(res.Tasks) != 3 || len(reference.Result.Tasks) != 3 {
			t.Fatalf("%d results, %v", len(res.Tasks), err)
		}
		for i, r := range res.Tasks {
			task, name := i, fmt.Sprint("task ", i)
			if i == 2 {
				task, name = -1, "all"
			}
			a, aSE := share(acc, task)
			n, nSE := share(norm, task)
			ba, _ := share(baseAcc, task)
			bn, _ := share(baseNorm, task)
			u, uSE := share(uncond, task)
			if r.Unconditioned == nil || r.LastWord != nil {
				t.Fatalf("%s: %+v", name, r)
			}
			got := [...]float64{r.Acc, r.AccSE, r.AccNorm, r.AccNormSE, r.AccUncond, r.AccUncondSE, r.BaseAcc, r.BaseAccNorm, reference.Result.Tasks[i].Acc}
			if want := [...]float64{a, aSE, n, nSE, u, uSE, ba, bn, ba}; r.Name != name || !slices.EqualFunc(got[:], want[:], func(x, y float64) bool { return math.Abs(x-y) < 1e-12 }) {
				t.Errorf("bos %v, %s: %v, want %v", bos, name, got, want)
			}
			worse, better := 0, 0
			for j := range acc {
				if task < 0 || j%2 == task {
					worse += int(bit(baseAcc[j] && !acc[j]))
					better += int(bit(!baseAcc[j] && acc[j]))
				}
			}
			if r.Worse != worse || r.Better != better || r.Flips != worse+better {
				t.Errorf("bos %v, %s: %d worse, %d better, want %d and %d", bos, name, r.Worse, r.Better, worse, better)
			}
		}
		if slices.Equal(acc, norm) || slices.Equal(acc, baseAcc) {
			t.Error("the questions tell nothing apart")
		}
	}
}

// logProbOf is the log-probability of a choice's continuation.
func logProbOf(tiny *modeltest.Model, c Choice, bos bool) (sum float64) {
	ids, split := tokens(c.Context+c.Continuation), len(c.Context)
	if bos {
		ids, split = append([]int32{begin}, ids...), split+1
	}
	logits := tiny.Forward(ids).Logits
	for j := split; j < len(ids); j++ {
		sum += logSoftmax(logits[j-1])[ids[j]]
	}
	return sum
}

// A question of one answer is right when greedy decoding gives it, and the
// perplexity is that of whole answers.
func TestLastWordIsAsDefined(t *testing.T) {
	ctx := context.Background()
	_, tiny := pairOfModels()
	m := letters(t, tiny, false)
	set := TaskSet{Name: "last words"}
	var right, loss []float64
	for i := 0; len(right) < 8; i++ {
		c := Choice{Context: strings.ReplaceAll(randomText(9 + i)[i:], " ", "x")}
		likeliest := func() int {
			logits := tiny.Forward(tokens(c.Context + c.Continuation)).Logits
			return highest(logits[len(logits)-1])
		}
		first := likeliest()
		if first >= len(alphabet) {
			continue // no character
		}
		c.Continuation = alphabet[first : first+1]
		second := likeliest()
		if second >= len(alphabet) {
			continue
		}
		greedy := len(right)%2 == 0
		if !greedy {
			second = (second + 1) % len(alphabet)
		}
		c.Continuation += alphabet[second : second+1]
		right, loss = append(right, bit(greedy)), append(loss, -logProbOf(tiny, c, false))
		set.Items = append(set.Items, Item{Task: "last words", Choices: []Choice{c}, Greedy: true})
	}
	res, err := Run(ctx, m, nil, Options{Tasks: []TaskSet{set}}, nil, nil)
	if err != nil || len(res.Tasks) != 1 || res.Tasks[0].LastWord == nil || res.Tasks[0].Unconditioned != nil {
		t.Fatalf("%+v, %v", res.Tasks, err)
	}
	acc, _ := meanAndError(right)
	ln, lnSE := meanAndError(loss)
	if r := res.Tasks[0]; r.Acc != acc || math.Abs(r.PPL/math.Exp(ln)-1) > 1e-4 || math.Abs(r.PPLSE/(math.Exp(ln)*lnSE)-1) > 1e-3 {
		t.Errorf("%+v, %+v, want accuracy %g, perplexity %g ± %g", r, *r.LastWord, acc, math.Exp(ln), math.Exp(ln)*lnSE)
	}
}
