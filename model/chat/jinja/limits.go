package jinja

// Limits bound a rendering. A zero or negative field takes its default.
type Limits struct {
	// Work bounds time and memory, in steps: one for each node evaluated, scope
	// searched, element of a list made or looked at and 64 bytes of text, four
	// for each entry of a dictionary. By default one million, which take some
	// twentieth of a second and less than 128 MiB; real templates take some
	// hundred for each message and ten for each kilobyte of text.
	Work int
	// Output bounds the text, in bytes; by default 16 MiB.
	Output int
	// Depth bounds nesting: of expressions, statements, calls and values; by
	// default 1000. A level takes about a kilobyte of stack.
	Depth int
	// Range bounds the elements of a range; by default 100000, as in Jinja2's
	// sandbox.
	Range int
}

const (
	textUnit   = 64   // bytes of text that cost a step
	dictEntry  = 4    // steps for an entry of a dictionary
	checkEvery = 4096 // steps between looks at the context
)

// Bounds of Parse.
const (
	maxSource  = 1 << 18 // bytes of a template
	maxNesting = 200     // blocks and brackets inside each other
)

func (l Limits) withDefaults() Limits {
	set := func(p *int, value int) {
		if *p <= 0 {
			*p = value
		}
	}
	set(&l.Work, 1_000_000)
	set(&l.Output, 16<<20)
	set(&l.Depth, 1000)
	set(&l.Range, 100_000)
	return l
}

// spend pays for work that is about to be done.
func (r *renderer) spend(steps int) {
	if steps > r.work {
		r.failLimit("more than %d steps of work", r.limits.Work)
	}
	r.work -= steps
	if r.work < r.nextCheck {
		r.nextCheck = r.work - checkEvery
		if err := r.ctx.Err(); err != nil {
			panic(&Error{Kind: err, Line: r.line})
		}
	}
}

// spendText pays for looking at or making a text of n bytes.
func (r *renderer) spendText(n int) { r.spend(1 + n/textUnit) }

// spendTimes pays for n times size bytes of text, whose product may overflow.
func (r *renderer) spendTimes(n, size int) {
	if n <= 0 || size <= 0 {
		return
	}
	if n > r.limits.Work*textUnit/size {
		r.failLimit("more than %d steps of work", r.limits.Work)
	}
	r.spendText(n * size)
}

// enter goes one level deeper; leave returns. A failure need not leave.
func (r *renderer) enter() {
	if r.depth++; r.depth > r.limits.Depth {
		r.failLimit("nested deeper than %d", r.limits.Depth)
	}
}

func (r *renderer) leave() { r.depth-- }
