package tune

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"nibble/tune/journal"
	"nibble/tune/work"
)

// newRecord describes a run before it starts.
func newRecord(o Options) Record {
	return Record{ID: filepath.Base(o.RunDir), Model: o.Source.Ref, Started: time.Now(), Goal: o.Goal, Version: journal.Version, Out: o.Out, Request: o.Request,
		Fingerprint: work.Hash([]any{journal.Version, o.basis(), o.Eval.Chunks, o.Specs, o.Fused, o.Goal, o.limits()})}
}

// openRun finds the run that goes on with these options, or begins one. Where no
// journal can be kept the search goes on without.
func (s *scheduler) openRun() error {
	s.journal = &journal.Journal{}
	if s.RunDir == "" && s.Runs == "" {
		return nil
	}
	var j *journal.Journal
	var known map[string]Trial
	var err error
	if s.RunDir == "" {
		j, known, err = journal.Find(s.Runs, s.Source.Name, s.asked, s.Resume)
	} else {
		j, known, err = journal.Open(s.RunDir, s.asked)
	}
	switch {
	case err == nil:
		s.journal, s.known, s.asked.ID, s.local.Artifacts.Dir = j, known, j.Run.ID, j.Dir
		s.tell(RunOpened{ID: j.Run.ID, Dir: j.Dir, Resumed: j.Resumed, Known: len(known)})
	case errors.Is(err, journal.ErrLive) || errors.Is(err, journal.ErrRun) || errors.Is(err, journal.ErrNoRun):
		return err
	default:
		s.note(fmt.Sprintf("this run keeps no journal and cannot be resumed: %v", err))
	}
	return nil
}

// journaled takes the error of keeping something: it costs a note, once, and not the
// search.
func (s *scheduler) journaled(err error) {
	if err != nil && !s.unkept {
		s.unkept = true
		s.note(fmt.Sprintf("not everything of this run is kept, to resume it by: %v", err))
	}
}

// note tells what the result will tell as well.
func (s *scheduler) note(text string) {
	s.notes = append(s.notes, text)
	s.tell(Noted{text})
}
