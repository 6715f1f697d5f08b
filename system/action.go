package system

import (
	"fmt"
	"net/http"

	"theseus.dev/api/v1alpha1"
)

// Paths of actions. An intent in the journal names its action by one, so they
// are stable: the System's own field names, and names instead of indices but
// for edges, which have none.

// NamedActionPath is the path of an entry of actions.
func NamedActionPath(name string) string { return "actions." + name }

// NeedBringPath is the path of what brings a need about.
func NeedBringPath(need string) string { return "needs." + need + ".bring" }

// HandoverPath is the path of the action that gives a role away.
func HandoverPath(component, role string) string {
	return "components." + component + ".roles." + role + ".handover"
}

// SettledBringPath is the path of what brings a settled rule about.
func SettledBringPath(component, rule string) string {
	return "components." + component + ".settled." + rule + ".bring"
}

// DrainPath is the path of the hook that drains a member.
func DrainPath(component string) string { return "components." + component + ".drain" }

// MemberBeforePath is the path of a hook before the replacement of a member.
func MemberBeforePath(component, hook string) string {
	return "components." + component + ".before." + hook
}

// MemberAfterPath is the path of a hook after the replacement of a member.
func MemberAfterPath(component, hook string) string {
	return "components." + component + ".after." + hook
}

// HopBeforePath is the path of a hook before a hop.
func HopBeforePath(edge int, hook string) string {
	return fmt.Sprintf("edges.%d.before.%s", edge, hook)
}

// HopAfterPath is the path of a hook after a hop.
func HopAfterPath(edge int, hook string) string { return fmt.Sprintf("edges.%d.after.%s", edge, hook) }

// VerifyBringPath is the path of what brings a verify rule about.
func VerifyBringPath(edge int, rule string) string {
	return fmt.Sprintf("edges.%d.verify.%s.bring", edge, rule)
}

// Action finds an action by its path.
func (s *System) Action(path string) (*v1alpha1.Action, error) {
	if a := s.actions[path]; a != nil {
		return a, nil
	}
	return nil, fmt.Errorf("system %s has no action %q", s.Name(), path)
}

// Expect says whether sc.Reply means that the action worked: by its expect
// expression, else by an HTTP status of 2xx or the exit code 0. The other sorts
// of call have no reply when they did not work.
func (s *System) Expect(a *v1alpha1.Action, sc *Scope) (Answer, string) {
	if sc.Reply == nil {
		return Unknown, "no reply"
	}
	if a.Expect != "" {
		e, err := s.expressionOf(a.Expect)
		if err != nil {
			return Unknown, err.Error()
		}
		return e.is(sc)
	}
	if a.Get == "" && a.Post == "" && a.Put == "" && len(a.Run) == 0 {
		return Yes, ""
	}
	status, ok := statusOf(sc.Reply["status"])
	switch {
	case !ok:
		return Unknown, "the reply has no status"
	case len(a.Run) > 0 && status != 0:
		return No, fmt.Sprintf("exit code %d", status)
	case len(a.Run) == 0 && (status < http.StatusOK || status >= http.StatusMultipleChoices):
		return No, fmt.Sprintf("HTTP status %d", status)
	}
	return Yes, ""
}

func statusOf(value any) (int64, bool) {
	switch v := value.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case float64:
		return int64(v), true
	}
	return 0, false
}

func (s *System) expressionOf(source string) (*expression, error) {
	if e := s.compiled[source]; e != nil {
		return e, nil
	}
	return newExpression(source)
}

// Expand fills in a template of the System or of a Cluster. The error names
// the template and the expression.
func (s *System) Expand(source string, sc *Scope) (string, error) {
	t, err := s.templateOf(source)
	if err != nil {
		return "", fmt.Errorf("template %q %w", shorten(source), err)
	}
	return t.expand(sc)
}
