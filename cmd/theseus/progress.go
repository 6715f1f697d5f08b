package main

import (
	"fmt"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// progress shows a running attempt: each event once as a line, and on a terminal a last line that says what is
// waited for now.
type progress struct {
	streams
	width int // of the terminal, 0 without one
	shown v1alpha1.Event
	fresh bool // nothing was shown yet: events from before are not news
	line  string
	wait  string // last wait that was told without a terminal
}

func newProgress(s streams, status *v1alpha1.ClusterStatus) *progress {
	p := &progress{streams: s}
	p.width, _ = s.terminal()
	if n := len(status.Events); n > 0 {
		p.shown = status.Events[n-1]
	} else {
		p.fresh = true
	}
	return p
}

// pass shows what a pass came to.
func (p *progress) pass(pass runner.Pass) {
	p.status(&pass.Cluster.Status)
	if pass.ActError != nil {
		p.say(time.Now(), "begin "+string(pass.Act.Act)+": "+pass.ActError.Error())
	}
}

func (p *progress) status(st *v1alpha1.ClusterStatus) {
	for _, e := range p.news(st.Events) {
		p.say(e.At.Time, eventLine(e))
	}
	p.now(nowLine(st))
}

// news are the events behind the last one shown. If that one has left the bounded list, all are new.
func (p *progress) news(events []v1alpha1.Event) []v1alpha1.Event {
	from := 0
	if !p.fresh {
		for i := len(events) - 1; i >= 0; i-- {
			if events[i] == p.shown {
				from = i + 1
				break
			}
		}
	}
	if len(events) > 0 {
		p.shown, p.fresh = events[len(events)-1], false
	}
	return events[from:]
}

func eventLine(e v1alpha1.Event) string {
	text := e.Reason
	if e.Object != "" {
		text += "  " + e.Object
	}
	if e.Message != "" {
		text += ": " + strings.TrimSpace(e.Message)
	}
	if e.Warning {
		text = "! " + text
	} else {
		text = "  " + text
	}
	return text
}

func (p *progress) say(at time.Time, text string) {
	p.clear()
	fmt.Fprintf(p.err, "%s %s\n", at.Local().Format(time.TimeOnly), text)
	p.redraw()
}

// nowLine is where an attempt stands, in a line.
func nowLine(st *v1alpha1.ClusterStatus) string {
	a := st.Attempt
	if a == nil || a.Phase.Ended() {
		return ""
	}
	text := fmt.Sprintf("%s %s → %s", strings.ToLower(string(a.Phase)), a.From, a.To)
	if a.From == "" || a.From == a.To {
		text = fmt.Sprintf("%s %s", strings.ToLower(string(a.Kind)), a.To)
	}
	if len(a.Hops) > 1 {
		text += fmt.Sprintf(", hop %d of %d", a.Hop+1, len(a.Hops))
	}
	if step := currentStep(a); step != nil {
		text += ", " + step.Name
		if step.Message != "" {
			text += " (" + step.Message + ")"
		}
	}
	if w := a.WaitingFor; w != nil {
		text += "; waits for " + waitText(w)
	}
	return text
}

func waitText(w *v1alpha1.WaitingFor) string {
	text := w.Object + ": " + w.Rule
	if w.Message != "" && w.Message != w.Rule {
		text += " (" + w.Message + ")"
	}
	if w.Left != "" {
		text += ", " + w.Left + " left"
	}
	return text
}

func currentStep(a *v1alpha1.Attempt) *v1alpha1.StepStatus {
	for i := range a.Steps {
		if p := a.Steps[i].Phase; p == v1alpha1.StepRunning || p == v1alpha1.StepUndoing {
			return &a.Steps[i]
		}
	}
	for i := range a.Steps {
		if a.Steps[i].Phase == v1alpha1.StepPending {
			return &a.Steps[i]
		}
	}
	return nil
}

// now keeps the last line up to date on a terminal. Elsewhere a wait is told once, when it has lasted.
func (p *progress) now(text string) {
	if p.width > 0 {
		if text != p.line {
			p.clear()
			p.line = text
			p.redraw()
		}
		return
	}
}

func (p *progress) redraw() {
	if p.width > 0 && p.line != "" {
		fmt.Fprint(p.err, cut(p.line, p.width-1))
	}
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.err, "\r\x1b[K")
	}
}

// close takes the last line away.
func (p *progress) close() {
	p.clear()
	p.line = ""
}

func cut(s string, width int) string {
	r := []rune(strings.ReplaceAll(s, "\n", " "))
	if len(r) > width && width > 1 {
		return string(r[:width-1]) + "…"
	}
	return string(r)
}
