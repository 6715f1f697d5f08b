package system

import (
	"fmt"
	"slices"
	"strconv"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// clause is a part of an expression that is false by itself where the whole is: an operand of &&.
type clause struct {
	expression
	sides []*expression // of a comparison: what people want to know the values of
	not   *expression   // of all(): the names of those for whom it is false
}

var compares = []string{operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals}

// clausesOf takes an expression apart. What cannot be is left out: it is said less then, and nothing wrong.
func clausesOf(tree *ast.AST, e ast.Expr) []clause {
	name, args := "", []ast.Expr(nil)
	if e.Kind() == ast.CallKind {
		name, args = e.AsCall().FunctionName(), e.AsCall().Args()
	}
	if name == operators.LogicalAnd {
		return slices.Concat(clausesOf(tree, args[0]), clausesOf(tree, args[1]))
	}
	whole := partOf(tree, e)
	if whole == nil {
		return nil
	}
	c := clause{expression: *whole}
	if slices.Contains(compares, name) {
		for _, side := range args {
			if side.Kind() != ast.LiteralKind {
				c.sides = append(c.sides, partOf(tree, side))
			}
		}
	}
	if call, macro := tree.SourceInfo().GetMacroCall(e.ID()); macro && call.AsCall().FunctionName() == operators.All {
		c.not = namesOf(tree, call.AsCall())
	}
	return []clause{c}
}

// namesOf is what all() asks, turned into the names of those for whom it is not so.
func namesOf(tree *ast.AST, all ast.CallExpr) *expression {
	each, asked := all.Args()[0].AsIdent(), all.Args()[1]
	of, err := cel.ExprToString(all.Target(), tree.SourceInfo())
	if err != nil {
		return nil
	}
	source, err := cel.ExprToString(asked, tree.SourceInfo())
	return compiled(fmt.Sprintf("%s.filter(%s, !(%s)).map(%s, string(%s.name)).join(', ')", of, each, source, each, each), err)
}

// partOf compiles a part; nil where it does not stand alone.
func partOf(tree *ast.AST, e ast.Expr) *expression {
	return compiled(cel.ExprToString(e, tree.SourceInfo()))
}

// compiled is an expression, nil where it could not be written down or does not compile.
func compiled(source string, err error) *expression {
	if err != nil {
		return nil
	}
	e, err := newExpression(source)
	if err != nil {
		return nil
	}
	return e
}

// because says why an expression is false that is: which of its parts is, and what the values are that it compares.
func (e *expression) because(sc *Scope) string {
	for _, c := range e.clauses() {
		if value, err := c.eval(sc); err == nil && value == types.False {
			return shorten(c.source) + " is false" + c.found(sc)
		}
	}
	return shorten(e.source) + " is false"
}

// found is for whom all() is false, or the values of both sides of a comparison, but for those that stand there already, and for what is true or false itself.
func (c *clause) found(sc *Scope) string {
	if c.not != nil {
		if names, known := c.not.text(sc); known && names != "" {
			return ": not for " + names
		}
	}
	var all []string
	for _, side := range c.sides {
		if side == nil {
			return ""
		}
		value, err := side.eval(sc)
		if err != nil || value.Type() == types.BoolType {
			return ""
		}
		found, err := format(value)
		if err != nil {
			return ""
		}
		if value.Type() == types.StringType {
			found = strconv.Quote(shortValue(found))
		}
		all = append(all, found)
	}
	switch len(all) {
	case 1:
		return ": it is " + all[0]
	case 2:
		return ": they are " + all[0] + " and " + all[1]
	}
	return ""
}

// shortValue is a value as far as it is read in passing.
func shortValue(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
