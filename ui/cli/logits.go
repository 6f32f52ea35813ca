package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nibble/model/source"
	"nibble/model/tokenizer"
	rt "nibble/runtime"
	"nibble/ui/term"
)

// logitsResult is the result of 'nibble logits': Logits[i] are those after the
// token at Positions[i], one for each row of the output head.
type logitsResult struct {
	Model     string      `json:"model"`
	IDs       []int32     `json:"ids"`
	Positions []int       `json:"positions"`
	Logits    [][]float32 `json:"logits"`
}

// maxLogits bounds the numbers of a result: 512 positions of the largest
// vocabularies.
const maxLogits = 1 << 27

func (a *app) logitsCmd() *cobra.Command {
	var ids, positions string
	cmd := &cobra.Command{
		Use: "logits MODEL --ids LIST|FILE", Short: "a model's logits for token ids, to compare with other programs", Args: args(1, 1),
		Long: `logits runs token ids through the model's float path and prints the logits after
some of them. No BOS is added; quantized weights count as the floats that their
codes stand for; keys and values are cached in F32.`,
		Example: `  nibble logits demo --ids "1, 2, 3"
  nibble logits demo --ids ids.json --positions all --json
  echo 1 2 3 | nibble logits demo --ids - --positions 0,2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.logits(cmd.Context(), args[0], ids, positions)
		},
	}
	cmd.Flags().StringVar(&ids, "ids", "", "the text as token ids: numbers with commas or blanks between, a JSON array, or a file of either; - reads standard input")
	cmd.Flags().StringVar(&positions, "positions", "", "positions to print the logits of, from 0, or all (default: the last)")
	return cmd
}

func (a *app) logits(ctx context.Context, ref, idsText, positionsText string) error {
	ids, err := a.readIDs(idsText)
	if err != nil {
		return err
	}
	positions, err := parsePositions(positionsText, len(ids))
	if err != nil {
		return err
	}
	ck, err := a.open(ctx, ref)
	if err != nil {
		return err
	}
	defer ck.Close()
	c := ck.Config
	if len(ids) > c.Positions {
		return fmt.Errorf("--ids: %d ids are more than %s's context of %d", len(ids), ref, c.Positions)
	}
	if i := slices.IndexFunc(ids, func(id int32) bool { return int(id) >= c.Vocab }); i >= 0 {
		return fmt.Errorf("--ids: id %d is outside the vocabulary of %s, whose last is %d", ids[i], ref, c.Vocab-1)
	}
	if len(positions) > maxLogits/c.Vocab {
		return fmt.Errorf("--positions: %d positions of %d logits are too many at once; give at most %d", len(positions), c.Vocab, maxLogits/c.Vocab)
	}
	eng, err := a.engine()
	if err != nil {
		return err
	}
	defer eng.Close()
	m, err := rt.LoadFloat(ctx, eng, ck)
	if err != nil {
		return err
	}
	hidden, err := m.NewExactSession(len(ids)).Forward(ctx, ids)
	if err != nil {
		return err
	}
	r := logitsResult{ref, ids, positions, make([][]float32, len(positions))}
	acts := eng.NewActs()
	for i, p := range positions {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.Logits[i] = make([]float32, c.Vocab)
		m.Logits(acts, r.Logits[i], hidden[p*c.Hidden:(p+1)*c.Hidden], 1)
		if slices.ContainsFunc(r.Logits[i], notFinite) {
			return fmt.Errorf("after position %d: %w", p, m.Diagnose(ctx))
		}
	}
	a.report.result(r, func(w io.Writer) { r.text(w, ck.Tokenizer) })
	return nil
}

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }

// likeliestShown is how many tokens of a position the text names.
const likeliestShown = 10

// text prints the likeliest tokens after each position.
func (r logitsResult) text(w io.Writer, tok *tokenizer.Tokenizer) {
	name := func(id int32) string {
		if tok == nil {
			return ""
		}
		return strconv.Quote(term.OneLine(tok.Decode([]int32{id})))
	}
	for i, p := range r.Positions {
		fmt.Fprintf(w, "after position %d, token %d %s\n", p, r.IDs[p], name(r.IDs[p]))
		logits := r.Logits[i]
		ids := make([]int32, len(logits))
		for id := range ids {
			ids[id] = int32(id)
		}
		slices.SortStableFunc(ids, func(a, b int32) int { return cmp.Compare(logits[b], logits[a]) })
		for _, id := range ids[:min(likeliestShown, len(ids))] {
			fmt.Fprintf(w, "%8d  %12.6f  %s\n", id, logits[id], name(id))
		}
	}
}

// maxIDs bounds a file of ids.
const maxIDs = 64 << 20

// readIDs reads what --ids says: the ids themselves, or the file that holds them.
func (a *app) readIDs(arg string) ([]int32, error) {
	if strings.TrimSpace(arg) == "" {
		return nil, usagef("give the text as --ids, such as --ids \"1,2,3\"")
	}
	if arg != "-" && strings.Trim(arg, "-0123456789,[] \t\r\n") == "" {
		ids, err := parseIDs(arg)
		if err != nil {
			return nil, usagef("--ids: %w", err)
		}
		return ids, nil
	}
	from, in := "standard input", a.in
	if arg != "-" {
		f, err := source.Open(arg)
		if errors.Is(err, source.ErrSpecial) {
			return nil, fmt.Errorf("--ids: %w; give a file of ids, or - for standard input", err)
		} else if err != nil {
			return nil, fmt.Errorf("--ids: neither a list of ids nor a file: %w", err)
		}
		defer f.Close()
		from, in = arg, f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxIDs+1))
	if err != nil {
		return nil, fmt.Errorf("--ids: %s: %w", from, err)
	}
	if len(data) > maxIDs {
		return nil, fmt.Errorf("--ids: %s has more than %d MiB", from, maxIDs>>20)
	}
	ids, err := parseIDs(strings.TrimPrefix(string(data), "\ufeff"))
	if err != nil {
		return nil, fmt.Errorf("--ids: %s: %w", from, err)
	}
	return ids, nil
}

// noID is where a list lacks an id.
var noID = regexp.MustCompile(`(^|,)\s*,`)

// parseIDs reads token ids: a JSON array, or numbers with commas or blanks between.
func parseIDs(text string) ([]int32, error) {
	text = strings.TrimSpace(text)
	var ids []int32
	if strings.HasPrefix(text, "[") {
		if err := json.Unmarshal([]byte(text), &ids); err != nil {
			return nil, errors.New("no JSON array of token ids")
		}
	} else {
		for _, field := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
			id, err := strconv.ParseInt(field, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%s is no token id", term.CleanLine(shortened(field)))
			}
			ids = append(ids, int32(id))
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("there are no token ids")
	}
	if noID.MatchString(text) {
		return nil, errors.New("there is a comma without a token id before it")
	}
	if i := slices.IndexFunc(ids, func(id int32) bool { return id < 0 }); i >= 0 {
		return nil, fmt.Errorf("%d is no token id", ids[i])
	}
	return ids, nil
}

// shortened quotes the beginning of a text that may be long.
func shortened(s string) string {
	const most = 20
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}

// parsePositions reads which of n positions are wanted.
func parsePositions(text string, n int) ([]int, error) {
	switch strings.TrimSpace(text) {
	case "":
		return []int{n - 1}, nil
	case "all":
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	list, err := parseIDs(text)
	if err != nil {
		return nil, usagef("--positions %s: give numbers from 0 to %d with commas between, or all", shortened(text), n-1)
	}
	positions := make([]int, len(list))
	for i, p := range list {
		if positions[i] = int(p); positions[i] >= n {
			return nil, usagef("--positions: %d is beyond the last of %d ids, %d", p, n, n-1)
		}
	}
	return positions, nil
}
