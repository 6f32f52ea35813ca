package workbench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"nibble/eval"
	"nibble/kernels"
	"nibble/kernels/panics"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/tune"
	"nibble/ui/job"
	"nibble/ui/term"
)

// errCancelled ends a job that the user stopped.
var errCancelled = errors.New("cancelled")

// engines is what the pages ask for; every call starts a job and returns at
// once. The fake of the tests stands in for it.
type engines interface {
	load()
	listModels()
	switchTo(ref string)
	plan(o job.Quantize)
	quantize(o job.Quantize)
	evaluate(o job.Evaluate)
	tune(o job.Tune)
	pause()
	use(t tune.Trial)
	measureKernels()
	measureCurve(of kernels.Shape)
	force(kernel string)
	send(r chatRequest)
	compare(r compareRequest)
	improve(recipe quant.Recipe, r compareRequest)
	cancel() bool
	busy() string
	box() *mailbox
}

// backend drives the real engines. Its own fields belong to the running job;
// jobs run one at a time.
type backend struct {
	o       Options
	mail    *mailbox
	jobs    *jobs
	pausing tune.Pause // holds the tuner

	ck      *model.Checkpoint
	eng     *kernels.Engine
	live    atomic.Pointer[kernels.Engine] // eng, for what needs no job
	base    *rt.Model                      // the checkpoint as it is
	int4    *rt.Model                      // quantized; nil until then
	written *model.Checkpoint              // that int4 was loaded from; nil if it was made in memory
	made    quant.Report                   // of int4
	judge   job.Evaluate                   // what the INT4 model is measured on
	ref     *eval.Reference
	refOf   job.Evaluate       // of ref
	refText eval.Text          // of refOf
	tuneOn  *quant.Calibration // of the trials; nil is the default one
	tuned   tune.Result        // of the last search
	talks   []conversation

	effort  time.Duration          // for measuring kernels; 0 is the usual one
	decoded *rt.Model              // whose decode speeds are on the Kernels page
	forced  atomic.Pointer[string] // the kernel that was forced last; nil is none
}

func newBackend(ctx context.Context, o Options) *backend {
	mail := newMailbox()
	return &backend{o: o, mail: mail, jobs: &jobs{ctx: ctx, box: mail, crash: func(c *panics.Carried) { o.Owner.End(c) }}}
}

func (b *backend) box() *mailbox { return b.mail }
func (b *backend) busy() string  { return b.jobs.running() }
func (b *backend) cancel() bool  { return b.jobs.interrupt() }

func (b *backend) close() {
	b.forget()
	if b.eng != nil {
		b.eng.Close()
	}
}

// start runs a job, or says why it cannot.
func (b *backend) start(name string, f func(context.Context) error) {
	if !b.jobs.start(name, f) {
		running := b.jobs.running()
		b.mail.fact(func(s *state) { s.say(fmt.Sprintf("%s is running: press x to cancel it", running)) })
	}
}

// progress shows a share of the running job.
func (b *backend) progress(eta *term.ETA, share float64, detail string) {
	eta.Add(time.Now(), share)
	left := eta.Left()
	b.mail.sample("progress", func(s *state) { s.job.share, s.job.detail, s.job.left = share, detail, left })
}

func newETA() *term.ETA { return term.NewETA(10 * time.Second) }

// ready reports that no model is loaded.
func (b *backend) ready() error {
	if b.base == nil {
		return errors.New("no model is loaded")
	}
	return nil
}
