package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

// story turns events into lines that people read: what each is about, what happened, and how long it took.
type story struct {
	begun map[string]time.Time // what is under way, by what it is about
	back  bool                 // the attempt goes back: steps are undone
	fault string               // what was last said to have failed
	told  map[string]bool      // what the step does again and again, once it was said
}

func newStory() *story { return &story{begun: map[string]time.Time{}, told: map[string]bool{}} }

// line is one line of a story.
type line struct {
	about, text string
	good, bad   bool
	detail      bool // of interest to who looks for a fault, and noise to who watches
}

func (l line) String() string { return strings.TrimSpace(l.about + "  " + l.text) }

// The subjects of what is no member and no step.
const (
	wholeAttempt = "attempt"
	oneStep      = "step"
)

// tell is the next line.
func (s *story) tell(e v1alpha1.Event) line {
	l := line{about: subject(e.Object), text: telling(strings.TrimSpace(e.Message)), bad: e.Warning}
	switch e.Reason {
	case "AttemptStarted":
		clear(s.begun)
		s.begin(e, oneStep, wholeAttempt)
		s.back, s.fault = false, ""
	case "HopStarted":
		s.begin(e, oneStep)
	case "RollingBack":
		s.back = true
		maps.DeleteFunc(s.begun, func(about string, _ time.Time) bool { return about != wholeAttempt }) // what went forward did not end
		s.begin(e, oneStep)
		l.text = "going back: " + s.once(strings.TrimPrefix(l.text, "failure: "))
	case "Failed":
		s.fault = telling(strings.TrimSpace(e.Message))
	case "Paused", "Stopped":
		l.text = s.once(l.text)
		if word := strings.ToLower(e.Reason); !strings.HasPrefix(l.text, word) {
			l.text = word + ": " + l.text
		}
	case "Resumed":
		s.begin(e, oneStep)
		l.text = "going on"
	case "StepDone":
		s.step(e, &l)
	case "MemberReplaced", "MembersMoved":
		l.text += s.took(e, l.about)
	case string(v1alpha1.ActPrepare), string(v1alpha1.ActConfigure), "Waiting": // what is waited for is shown as long as it lasts
		l.detail = true
	case string(v1alpha1.ActStart):
		_, l.detail = s.begun[l.about] // a stop said so
	case string(v1alpha1.ActStop), string(v1alpha1.ActGrow), string(v1alpha1.ActShrink):
		s.begin(e, l.about)
	case string(v1alpha1.ActRun):
		if strings.HasPrefix(l.text, "bring about: ") { // until it holds; the wait says how much is left
			l.detail, s.told[l.text] = s.told[l.text], true
		}
	case "BackedUp":
		l.about, l.text = "backup", strings.TrimPrefix(l.about, "backup ")+": "+l.text
	}
	if kind, ok := strings.CutPrefix(e.Reason, "Request"); ok {
		l.about = verb(v1alpha1.RequestKind(kind)) // and not the id of the request
	}
	if kind, ok := strings.CutPrefix(e.Reason, "Attempt"); ok && kind != "Started" {
		l.text = ended(l.text, v1alpha1.AttemptPhase(kind)) + s.took(e, wholeAttempt)
		l.good = kind == string(v1alpha1.PhaseSucceeded)
		s.back = false
	}
	return l
}

func (s *story) step(e v1alpha1.Event, l *line) {
	what := "done"
	if s.back && l.about == "backup" {
		what = "kept"
	} else if s.back {
		what = "undone"
	} else if l.text != "" {
		what += ": " + l.text
	}
	l.detail = strings.HasPrefix(l.about, "configure ") || s.back && !strings.HasPrefix(l.about, "roll ") && !strings.HasPrefix(l.about, "move ")
	l.text = what + s.took(e, oneStep)
	clear(s.told)
	s.begin(e, oneStep)
}

// ended is the last line of an attempt: "upgrade from 1.0.0 to 1.1.0: rolled back, at 1.0.0".
func ended(text string, phase v1alpha1.AttemptPhase) string {
	what, at, known := strings.Cut(text, " ended at ")
	if !known { // a first start that gave way: it came to no version
		what, at, _ = strings.Cut(text, " ended: ")
		return what + ": " + phaseWord(phase) + ": " + at
	}
	if phase == v1alpha1.PhaseSucceeded {
		return what + ": done"
	}
	return what + ": " + phaseWord(phase) + ", at " + at
}

// begin notes since when things are under way; what is already keeps its time, but for steps.
func (s *story) begin(e v1alpha1.Event, about ...string) {
	for _, a := range about {
		if _, ok := s.begun[a]; !ok || a == oneStep {
			s.begun[a] = e.At.Time
		}
	}
}

// took says how long, if that is worth a word, and forgets.
func (s *story) took(e v1alpha1.Event, about string) string {
	since, ok := s.begun[about]
	delete(s.begun, about)
	if d := e.At.Sub(since); ok && d >= time.Second {
		return " (" + roughly(d) + ")"
	}
	return ""
}

// once does not say again what was said to have failed.
func (s *story) once(text string) string {
	if s.fault != "" && strings.HasSuffix(s.fault, text) {
		return "because of that"
	}
	return text
}

// tellingLines is how many lines of a member's log are shown where somebody watches.
const tellingLines = 3

// telling shortens a message that ends with what a member wrote before it ended: to the lines in which it says why, if there are any, else to its last.
// The error at the end of a command, --json and theseus logs have all.
func telling(text string) string {
	first, rest, _ := strings.Cut(text, "\n")
	lines := strings.Split(rest, "\n")
	if len(lines) <= tellingLines {
		return text
	}
	from := len(lines) - tellingLines
	if i := slices.IndexFunc(lines, saysWhy); i >= 0 {
		from = i
	}
	return strings.Join(append([]string{first}, lines[from:min(len(lines), from+tellingLines)]...), "\n")
}

func saysWhy(line string) bool {
	line = strings.ToLower(line)
	return strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal") || strings.Contains(line, `"level":"fatal"`) || strings.Contains(line, `"level":"panic"`)
}

// subject is what an event or a wait is about, without the word for its sort.
func subject(object string) string {
	for _, sort := range []string{"member ", "step ", "component "} {
		if name, ok := strings.CutPrefix(object, sort); ok {
			return name
		}
	}
	return object
}

// eventLine is a single event, out of its story.
func eventLine(e v1alpha1.Event) string { return newStory().tell(e).String() }

// nowLine is where an attempt stands, in a line; empty where none runs.
func nowLine(st *v1alpha1.ClusterStatus) string {
	at := st.Attempt
	if at == nil || at.Phase.Ended() {
		if l := st.Loading; l != nil {
			return upgrade.LoadingText(l)
		}
		return ""
	}
	words := []string{heading(at)}
	if len(at.Hops) > 1 {
		words = append(words, fmt.Sprintf("hop %d of %d", at.Hop+1, len(at.Hops)))
	}
	if at.Rest != "" {
		return strings.Join(append(words, strings.ToLower(string(at.Phase))+": "+at.Rest), ", ")
	}
	if step := currentStep(at); step != nil {
		words = append(words, stepWords(step))
	}
	if at.Pausing {
		words = append(words, "pausing")
	}
	text := strings.Join(words, ", ")
	if w := at.WaitingFor; w != nil {
		text += "; waits " + roughly(max(0, time.Since(w.Since.Time))) + " for " + waitText(w)
	}
	return text
}

// heading is an attempt in a word or two: "3.5.35 → 3.6.16".
func heading(at *v1alpha1.Attempt) string {
	text := strings.TrimPrefix(describe(at), "the ")
	if at.Kind == v1alpha1.AttemptUpgrade {
		text = at.From + " → " + at.To
	}
	if goingBack(at) {
		text = "going back to " + baseVersion(at)
	}
	return text
}

func stepWords(step *v1alpha1.StepStatus) string {
	text := step.Name
	if step.Message != "" {
		text += " (" + step.Message + ")"
	}
	if h := step.Hand; h != nil {
		text += ", " + h.Member + " " + strings.ToLower(string(h.Phase))
	}
	return text
}

// waitText is what is waited for: object, rule and what was seen.
func waitText(w *v1alpha1.WaitingFor) string {
	text := subject(w.Object) + ": " + w.Rule
	if w.Message != "" && w.Message != w.Rule {
		text += " (" + telling(w.Message) + ")"
	}
	if w.Left != "" {
		text += ", " + w.Left + " left"
	}
	return text
}

func currentStep(at *v1alpha1.Attempt) *v1alpha1.StepStatus {
	var pending *v1alpha1.StepStatus
	for i := range at.Steps {
		switch p := at.Steps[i].Phase; {
		case p == v1alpha1.StepRunning || p == v1alpha1.StepUndoing:
			return &at.Steps[i]
		case p == v1alpha1.StepPending && pending == nil:
			pending = &at.Steps[i]
		}
	}
	return pending
}

// list is names as one reads them out.
func list(names []string) string { return strings.Join(names, ", ") }
