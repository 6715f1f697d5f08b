package system

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

// Defaults of durations, and how long things may take at most.
const (
	defaultQuestionTimeout = 2 * time.Second
	maxQuestionTimeout     = 30 * time.Second
	defaultActionTimeout   = 30 * time.Second
	defaultBackupTimeout   = 10 * time.Minute
	defaultGrace           = 30 * time.Second
	defaultSoak            = 5 * time.Second
	maxTimeout             = 7 * 24 * time.Hour
)

// setDefaults fills in what a System leaves out, in place.
func setDefaults(s *v1alpha1.System) {
	orElse(&s.Versions.Scheme, v1alpha1.Numeric)
	orElse(&s.Versions.Suffix, v1alpha1.SuffixRefuse)
	orElse(&s.Versions.Unlisted, v1alpha1.UnlistedRefuse)
	for i := range s.Components {
		defaultComponent(&s.Components[i])
	}
	first := ""
	if len(s.Components) > 0 {
		first = s.Components[0].Name
	}
	for i := range s.Edges {
		defaultEdge(&s.Edges[i], first)
	}
	for name, action := range s.Actions {
		defaultAction(&action, v1alpha1.OnAny, first)
		s.Actions[name] = action
	}
	for name, rule := range s.Needs {
		rule.Rule = name
		defaultRule(&rule, first)
		s.Needs[name] = rule
	}
	if b := s.Backup; b != nil {
		orElse(&b.Where, v1alpha1.OnAny)
		orElse(&b.Component, first)
		defaultDuration(&b.Timeout, defaultBackupTimeout)
	}
	if r := s.Restore; r != nil {
		orElse(&r.Into, v1alpha1.IntoFolders)
		orElse(&r.Component, first)
		defaultDuration(&r.Timeout, defaultBackupTimeout)
	}
}

func defaultEdge(e *v1alpha1.Edge, first string) {
	orElse(&e.Strategy, v1alpha1.Rolling)
	orElse(&e.Backup, v1alpha1.BackupIfPossible)
	orElse(&e.Finalizes, v1alpha1.FinalizesNobody)
	defaultHooks(e.Before, v1alpha1.OnAny, first)
	defaultHooks(e.After, v1alpha1.OnAny, first)
	for i := range e.Verify {
		defaultRule(&e.Verify[i], first)
	}
	for i := range e.Moves {
		m := &e.Moves[i]
		orElse(&m.Claims, v1alpha1.KeepClaims)
		if m.By == nil {
			one := int32(1)
			m.By = &one
		}
	}
}

func defaultComponent(c *v1alpha1.Component) {
	if c.Replicas == nil {
		one := int32(1)
		c.Replicas = &one
	}
	if c.Stop == nil {
		c.Stop = &v1alpha1.Stop{}
	}
	orElse(&c.Stop.Signal, "SIGTERM")
	defaultDuration(&c.Stop.Grace, defaultGrace)
	defaultDuration(&c.Soak, defaultSoak)
	for name, q := range c.Ask {
		defaultQuestion(&q)
		c.Ask[name] = q
	}
	for i := range c.Roles {
		if h := c.Roles[i].Handover; h != nil {
			orElse(&h.OnUnknown, v1alpha1.RepeatOnUnknown)
			defaultAction(h, v1alpha1.OnMember, c.Name)
		}
	}
	for i := range c.Settled {
		defaultRule(&c.Settled[i], c.Name)
	}
	if c.Drain != nil {
		orElse(&c.Drain.Name, "drain")
		defaultHook(c.Drain, v1alpha1.OnMember, c.Name)
	}
	defaultHooks(c.Before, v1alpha1.OnMember, c.Name)
	defaultHooks(c.After, v1alpha1.OnMember, c.Name)
}

func defaultQuestion(q *v1alpha1.Question) {
	format := v1alpha1.FormatText
	if q.Get != "" || q.Post != "" || q.Put != "" {
		format = v1alpha1.FormatJSON
	}
	orElse(&q.As, format)
	defaultDuration(&q.Timeout, defaultQuestionTimeout)
}

// defaultRule lets bring act on the member that the rule does not hold for
// where the rule is asked of each, which compile finds out: see placeBring.
func defaultRule(r *v1alpha1.Rule, component string) {
	orElse(&r.Component, component)
	if r.Bring != nil {
		orElse(&r.Bring.OnUnknown, v1alpha1.RepeatOnUnknown)
		defaultAction(r.Bring, "", r.Component)
	}
}

func defaultHooks(hooks []v1alpha1.Hook, on v1alpha1.Where, component string) {
	for i := range hooks {
		defaultHook(&hooks[i], on, component)
	}
}

// defaultHook leaves the timeout empty: a hook must say how long it may take.
func defaultHook(h *v1alpha1.Hook, on v1alpha1.Where, component string) {
	timeout := h.Timeout
	defaultAction(&h.Action, on, component)
	h.Timeout = timeout
	orElse(&h.OnFailure, v1alpha1.HookPauses)
	if h.Retries == nil {
		two := int32(2)
		h.Retries = &two
	}
}

func defaultAction(a *v1alpha1.Action, on v1alpha1.Where, component string) {
	orElse(&a.Where, on)
	orElse(&a.Component, component)
	orElse(&a.OnUnknown, v1alpha1.StopOnUnknown)
	if a.Times == 0 {
		a.Times = 1
	}
	if a.Parallel == 0 {
		a.Parallel = 1
	}
	defaultDuration(&a.Timeout, defaultActionTimeout)
}

func orElse[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

func defaultDuration(field **metav1.Duration, value time.Duration) {
	if *field == nil {
		*field = &metav1.Duration{Duration: value}
	}
}
