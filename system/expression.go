package system

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

// Limits of an expression. The cost is the interpreter's own measure, roughly
// a unit for each value touched: a rule over nine members costs some hundred.
const (
	maxExpression = 4096
	maxCost       = 1_000_000
)

// expression is a compiled expression. It is safe for concurrent use.
type expression struct {
	source string
	prog   cel.Program
	result *cel.Type
	uses   uses
	// clauses are its parts, compiled when it is false for the first time.
	clauses func() []clause
}

// environment is the one CEL environment: strings, lists and math beside the
// standard functions, and no macro that could hide what an expression uses.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(append(append(declarations(),
		cel.EnableMacroCallTracking(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(64),
		ext.Strings(), ext.Lists(), ext.Math(), ext.Sets(),
	), sizes()...)...)
})

// newExpression compiles; the error is for people and says where.
func newExpression(source string) (*expression, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("is an empty expression")
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("expression language: %w", err)
	}
	tree, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, issueError(issues)
	}
	native := tree.NativeRep()
	e := &expression{source: source, result: tree.OutputType(), uses: findUses(native)}
	e.clauses = sync.OnceValue(func() []clause { return clausesOf(native, native.Expr()) })
	var options []cel.ProgramOption
	options = append(options, cel.EvalOptions(cel.OptOptimize))
	if e.uses.costly {
		options = append(options, cel.CostLimit(maxCost))
	}
	e.prog, err = env.Program(tree, options...)
	if err != nil {
		return nil, fmt.Errorf("does not compile: %w", err)
	}
	return e, nil
}

// issueError is the first thing that the compiler found, with its place.
func issueError(issues *cel.Issues) error {
	first := issues.Errors()[0]
	message := strings.TrimSuffix(first.Message, " (in container '')")
	if name, ok := strings.CutPrefix(message, "undeclared reference to "); ok {
		return fmt.Errorf("speaks of %s, which nobody knows", name)
	}
	if strings.HasPrefix(message, "Syntax error: token recognition error at: '=") {
		message = "two values are compared with =="
	}
	return fmt.Errorf("does not compile at %d:%d: %s", first.Location.Line(), first.Location.Column()+1, message)
}

// eval gives the value, or why there is none. Missing data and a runaway
// expression are errors alike: the caller takes them for unknown.
func (e *expression) eval(sc *Scope) (ref.Val, error) {
	value, _, err := e.prog.Eval((*activation)(sc))
	if err != nil {
		return nil, errors.New(e.reason(sc, err))
	}
	return value, nil
}

// is evaluates a yes-or-no expression; the text says why it is not yes.
func (e *expression) is(sc *Scope) (Answer, string) {
	value, err := e.eval(sc)
	if err != nil {
		return Unknown, err.Error()
	}
	switch value {
	case types.True:
		return Yes, ""
	case types.False:
		return No, e.because(sc)
	}
	return Unknown, fmt.Sprintf("%s is %s, not true or false", shorten(e.source), kind(value))
}

// text evaluates an expression whose value is a text.
func (e *expression) text(sc *Scope) (string, bool) {
	value, err := e.eval(sc)
	if err != nil {
		return "", false
	}
	s, ok := value.(types.String)
	return string(s), ok
}

// number evaluates an expression whose value is a number.
func (e *expression) number(sc *Scope) (float64, bool) {
	value, err := e.eval(sc)
	if err != nil {
		return 0, false
	}
	switch v := value.(type) {
	case types.Int:
		return float64(v), true
	case types.Uint:
		return float64(v), true
	case types.Double:
		return float64(v), true
	}
	return 0, false
}

// reason says in words why an expression has no value: mostly, which question
// has no answer.
func (e *expression) reason(sc *Scope, err error) string {
	if missing := e.uses.unanswered(sc); missing != "" {
		return "no answer to " + missing
	}
	message := err.Error()
	if name, ok := strings.CutPrefix(message, "no such attribute(s): "); ok {
		return "there is no " + name + " here"
	}
	var stopped interpreter.EvalCancelledError
	if errors.As(err, &stopped) {
		message = "it does too much work"
	}
	if strings.HasPrefix(message, "no such overload") {
		message = "it uses a value of another type than it expects (" + message + ")"
	}
	return shorten(e.source) + ": " + message
}

// format writes a value into a template.
func format(value ref.Val) (string, error) {
	switch v := value.(type) {
	case types.String:
		return string(v), nil
	case types.Int:
		return strconv.FormatInt(int64(v), 10), nil
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10), nil
	case types.Bool:
		return strconv.FormatBool(bool(v)), nil
	case types.Double:
		return strconv.FormatFloat(float64(v), 'f', -1, 64), nil
	}
	return "", fmt.Errorf("is %s, not a text, number or boolean", kind(value))
}

func kind(value ref.Val) string {
	if value == nil {
		return "nothing"
	}
	return "a " + value.Type().TypeName()
}
