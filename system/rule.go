package system

import "theseus.dev/api/v1alpha1"

// Rule is something that must hold, compiled.
type Rule struct {
	api       *v1alpha1.Rule
	condition *expression
	left      *expression // nil where the rule does not say
	bring     string      // path of the action, "" where there is none
	perMember bool
	usesThen  bool
}

// Name that waits and overrides use.
func (r *Rule) Name() string { return r.api.Rule }

// Source is the expression, for people.
func (r *Rule) Source() string { return r.condition.source }

// PerMember says whether the rule is asked of each member: it speaks of m or of then.
func (r *Rule) PerMember() bool { return r.perMember }

// UsesThen says whether the rule compares with the answers when the step began.
func (r *Rule) UsesThen() bool { return r.usesThen }

// Is says whether the rule holds, and for people why it is not yes.
func (r *Rule) Is(sc *Scope) (Answer, string) { return r.condition.is(sc) }

// Left is how much is left to do; false where the rule does not say or it is not known.
func (r *Rule) Left(sc *Scope) (float64, bool) {
	if r.left == nil {
		return 0, false
	}
	return r.left.number(sc)
}

// Bring is the action that brings the rule about, nil where there is none.
func (r *Rule) Bring() *v1alpha1.Action { return r.api.Bring }

// BringPath is the path of that action, "" where there is none.
func (r *Rule) BringPath() string { return r.bring }

// Component whose members the rule speaks of.
func (r *Rule) Component() string { return r.api.Component }
