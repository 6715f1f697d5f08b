package system

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// uses is what an expression speaks of, found in its tree.
type uses struct {
	variables []string
	// chains are the selections from members, then, options and reply, as deep as the tree tells: m.health.json.
	chains []chain
	// costly is set where the work depends on the data, so that it must be bounded.
	costly bool
	// dynamic is set where a key of a member is computed, so that nobody can tell which answer is used.
	dynamic bool
}

// chain is a root and the keys selected from it. The root of a member that a
// comprehension over all goes through is "x".
type chain struct {
	root string
	keys []string
}

// cheap are the functions whose work is bounded by the expression's own size.
var cheap = []string{
	operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.NotStrictlyFalse,
	operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
	operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate,
	operators.Index, operators.In, operators.Add,
	"quantity", "jvmSize", "size", "startsWith", "endsWith", "contains", "matches", "int", "uint", "double", "string", "bool",
}

func findUses(tree *ast.AST) uses {
	f := finder{tree: tree}
	f.visit(tree.Expr(), nil)
	return f.found
}

// finder walks a tree. locals are the variables of comprehensions, innermost
// last; they hide what is called like them outside.
type finder struct {
	tree  *ast.AST
	found uses
}

type local struct {
	name   string
	member bool
}

func (f *finder) visit(e ast.Expr, locals []local) {
	switch e.Kind() {
	case ast.IdentKind, ast.SelectKind:
		f.chain(e, locals)
	case ast.CallKind:
		f.call(e, locals)
	case ast.ComprehensionKind:
		f.comprehension(e.AsComprehension(), locals)
	case ast.ListKind:
		f.visitAll(e.AsList().Elements(), locals)
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			f.visit(entry.AsMapEntry().Key(), locals)
			f.visit(entry.AsMapEntry().Value(), locals)
		}
	}
}

func (f *finder) visitAll(list []ast.Expr, locals []local) {
	for _, e := range list {
		f.visit(e, locals)
	}
}

func (f *finder) call(e ast.Expr, locals []local) {
	call := e.AsCall()
	if _, constant := constantKey(e); constant {
		f.chain(e, locals)
		return
	}
	if call.FunctionName() == operators.Index && call.Args()[0].Kind() == ast.IdentKind {
		f.found.dynamic = f.found.dynamic || call.Args()[0].AsIdent() != "all" && call.Args()[0].AsIdent() != "options"
	}
	if !slices.Contains(cheap, call.FunctionName()) {
		f.found.costly = true
	}
	if call.IsMemberFunction() {
		f.visit(call.Target(), locals)
	}
	f.visitAll(call.Args(), locals)
}

func (f *finder) comprehension(c ast.ComprehensionExpr, locals []local) {
	// Two loops over members are at most 99 times 99 turns; the size of anything else is not known.
	if !f.isMembers(c.IterRange(), locals) || len(locals) > 2 {
		f.found.costly = true
	}
	f.visit(c.IterRange(), locals)
	f.visit(c.AccuInit(), locals)
	inner := append(slices.Clip(locals), local{c.AccuVar(), false})
	f.visit(c.Result(), inner)
	inner = append(inner, local{c.IterVar(), !c.HasIterVar2() && f.isMembers(c.IterRange(), locals)})
	if c.HasIterVar2() {
		inner = append(inner, local{c.IterVar2(), f.isMembers(c.IterRange(), locals)})
	}
	f.visit(c.LoopCondition(), inner)
	f.visit(c.LoopStep(), inner)
}

// chain records a selection from its root on, or goes on where the root is
// something computed.
func (f *finder) chain(e ast.Expr, locals []local) {
	var keys []string
	for {
		if e.Kind() == ast.SelectKind {
			keys = append(keys, e.AsSelect().FieldName())
			e = e.AsSelect().Operand()
			continue
		}
		key, ok := constantKey(e)
		if !ok {
			break
		}
		if f.isMembers(e.AsCall().Args()[0], locals) {
			f.visit(e.AsCall().Args()[0], locals)
			f.record("x", keys)
			return
		}
		keys = append(keys, key)
		e = e.AsCall().Args()[0]
	}
	if e.Kind() != ast.IdentKind {
		f.visit(e, locals)
		return
	}
	f.ident(e.AsIdent(), keys, locals)
}

func (f *finder) ident(name string, keys []string, locals []local) {
	for _, l := range slices.Backward(locals) {
		if l.name == name {
			if l.member {
				f.record("x", keys)
			}
			return
		}
	}
	if !slices.Contains(f.found.variables, name) {
		f.found.variables = append(f.found.variables, name)
	}
	f.record(name, keys)
}

// record keeps a chain; its keys were collected from the end.
func (f *finder) record(root string, keys []string) {
	keys = slices.Clone(keys)
	slices.Reverse(keys)
	f.found.chains = append(f.found.chains, chain{root, keys})
}

// constantKey is the key of e["key"], or of e[0], which ends what can be told
// about a chain and is recorded as a key that nothing has.
func constantKey(e ast.Expr) (string, bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.Index {
		return "", false
	}
	index := e.AsCall().Args()[1]
	if index.Kind() != ast.LiteralKind {
		return "", false
	}
	switch key := index.AsLiteral().(type) {
	case types.String:
		return string(key), true
	case types.Int:
		return listIndex, true
	}
	return "", false
}

// listIndex stands in a chain for a selection by number.
const listIndex = "\x00"

// isMembers says whether an expression is a list of members: all, or a part of it.
func (f *finder) isMembers(e ast.Expr, locals []local) bool {
	switch e.Kind() {
	case ast.IdentKind:
		hidden := slices.ContainsFunc(locals, func(l local) bool { return l.name == "all" })
		return e.AsIdent() == "all" && !hidden
	case ast.ComprehensionKind:
		call, ok := f.tree.SourceInfo().GetMacroCall(e.ID())
		filter := ok && call.Kind() == ast.CallKind && call.AsCall().FunctionName() == operators.Filter
		return filter && f.isMembers(e.AsComprehension().IterRange(), locals)
	case ast.CallKind:
		call := e.AsCall()
		part := call.IsMemberFunction() && slices.Contains([]string{"slice", "reverse"}, call.FunctionName())
		return part && f.isMembers(call.Target(), locals)
	}
	return false
}

func (u *uses) variable(name string) bool { return slices.Contains(u.variables, name) }

// questions are the questions that an expression asks of a root.
func (u *uses) questions(root string) []string {
	var list []string
	for _, c := range u.chains {
		if c.root == root && len(c.keys) > 0 && !slices.Contains(memberFields, c.keys[0]) {
			list = append(list, c.keys[0])
		}
	}
	return list
}

// unanswered names the first question without an answer among those that the
// expression needs, or nothing.
func (u *uses) unanswered(sc *Scope) string {
	if sc.M != nil {
		if q := firstMissing(sc.M.Answers, u.questions("m")); q != "" {
			return q
		}
		if q := firstMissing(sc.Then[sc.M.Name], u.questions("then")); q != "" {
			return q + " of " + sc.M.Name + " when the step began"
		}
	}
	members := sc.All
	if sc.To != nil {
		if q := firstMissing(sc.To.Answers, append(u.questions("to"), u.questions("hand")...)); q != "" {
			return q + " of " + sc.To.Name
		}
	}
	questions := u.questions("x")
	for _, m := range members {
		if q := firstMissing(m.Answers, questions); q != "" {
			return q + " of " + m.Name
		}
	}
	return ""
}

func firstMissing(answers Answers, questions []string) string {
	for _, q := range questions {
		if _, ok := answers[q]; !ok {
			return q
		}
	}
	return ""
}
