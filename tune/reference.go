package tune

import (
	"context"
	"fmt"
	"time"

	"nibble/eval"
	"nibble/tune/search"
)

// referenceShare is the part of the budget that one evaluation of the whole text
// may take; of a longer text as many windows are used as fit.
const referenceShare = 0.08

// reference measures the float model.
func (s *scheduler) reference(ctx context.Context) error {
	s.tell(Phase{"reference", "measuring the float model"})
	judge := s.Eval
	var ref *eval.Reference
	var pace time.Duration // of a window, which the cache would hide
	if s.Budget > 0 {
		one := s.Eval
		one.Chunks, one.CacheDir = 1, ""
		begun := s.clock.Elapsed()
		var err error
		if ref, err = eval.NewReference(ctx, s.Base, one, nil); err != nil {
			return err
		}
		pace = s.clock.Elapsed() - begun
		fit := max(1, int(referenceShare*float64(s.Budget)/float64(pace)))
		if judge.Chunks = s.Eval.Chunks; judge.Chunks == 0 || judge.Chunks > fit {
			judge.Chunks = fit
		}
	}
	begun := s.clock.Elapsed()
	if ref == nil || judge.Chunks != 1 {
		var err error
		if ref, err = eval.NewReference(ctx, s.Base, judge, func(e eval.Event) { s.tell(e) }); err != nil {
			return err
		}
	}
	s.evaluation = max(s.clock.Elapsed()-begun, pace*time.Duration(ref.Windows()))
	s.window = s.evaluation / time.Duration(max(1, ref.Windows()))
	if s.Budget > 0 && ref.Windows() == judge.Chunks && judge.Chunks != s.Eval.Chunks {
		s.note(fmt.Sprintf("judged by %d of the text's windows, from the first on: more do not fit the budget", judge.Chunks))
	}
	s.judgeBy(ref)
	s.tell(ReferenceDone{ref.Result.PPL, ref.Result.PPLSE, s.Source.Bytes(), s.Goal})
	return nil
}

// judgeBy makes a reference the one that trials are compared with.
func (s *scheduler) judgeBy(ref *eval.Reference) {
	s.local.Reference = ref
	windows := ref.Result.WindowsInText
	if s.Eval.Chunks > 0 {
		windows = min(windows, s.Eval.Chunks)
	}
	s.policy = search.Policy{Goal: s.Goal, Tokens: ref.Result.Tokens, Windows: windows}
}
