package jinja

// expr is a node that has a value.
type expr interface {
	eval(r *renderer, s *scope) any
}

type (
	literal  struct{ value any }
	nameExpr struct{ name string }
	listExpr struct {
		items []expr
		tuple bool
	}
	dictExpr struct{ keys, values []expr }
	attrExpr struct {
		of   expr
		name string
	}
	indexExpr struct{ of, at expr }
	sliceExpr struct{ of, from, to, step expr } // a part left out is nil
	callExpr  struct {
		callee expr
		args   argExprs
	}
	filterExpr struct {
		of   expr // nil in a filter or set block: the block's text
		name string
		args argExprs
	}
	testExpr struct {
		of     expr
		name   string
		args   argExprs
		negate bool
	}
	condExpr    struct{ test, then, otherwise expr } // otherwise may be nil
	concatExpr  struct{ parts []expr }               // a ~ b ~ c
	signExpr    struct{ of expr }                    // +a
	negateExpr  struct{ of expr }                    // -a
	notExpr     struct{ of expr }
	andExpr     struct{ left, right expr }
	orExpr      struct{ left, right expr }
	compareExpr struct { // a < b <= c
		first expr
		rest  []comparison
	}
	arithExpr struct {
		op          string
		left, right expr
	}
)

type comparison struct {
	op string // "==", "in", "not in", ...
	to expr
}

// argExprs are the arguments of a call.
type argExprs struct {
	pos   []expr
	names []string // of named
	named []expr
}

// stmt is a node that does something.
type stmt interface {
	exec(r *renderer, s *scope) flow
}

// flow says how a statement ended.
type flow uint8

const (
	flowNext flow = iota
	flowBreak
	flowContinue
)

// block is a sequence of statements with their lines.
type block []located

type located struct {
	line int
	stmt stmt
}

type (
	textStmt  struct{ text string }
	printStmt struct{ value expr }
	ifStmt    struct{ branches []branch } // the last may have no test
	branch    struct {
		test expr // nil: else
		body block
	}
	forStmt struct {
		target    target
		in        expr
		where     expr // may be nil
		body      block
		otherwise block
		recursive bool
	}
	setStmt struct {
		target target
		value  expr
	}
	setBlockStmt struct {
		target target
		filter *filterExpr // may be nil
		body   block
	}
	macroStmt struct {
		name   string
		params []param // whose values are notGiven
		body   block
	}
	callStmt struct {
		call   *callExpr
		caller *macroStmt
	}
	filterStmt struct {
		filter *filterExpr
		body   block
	}
	withStmt struct {
		targets []target
		values  []expr
		body    block
	}
	breakStmt    struct{}
	continueStmt struct{}
)

// target is what is assigned to: a name, an attribute of a namespace, or parts
// that take a sequence apart.
type target struct {
	name  string
	attr  string // of the namespace in name
	parts []target
}
