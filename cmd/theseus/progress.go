package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
)

// progress shows a running attempt: each event once as a line, and on a terminal a last line that says what is
// waited for now. Without a terminal a wait that lasts is told once.
type progress struct {
	*app
	tail
	story *story
	width int    // of the terminal, 0 without one
	drawn string // the last line on the terminal
	told  string // the last wait that was told
	said  string // why the last act could not be begun; told once
	lines bool   // events go to stdout as JSON, a line each, and nothing is talked
}

// longWait is how long a wait lasts before it is told without a terminal.
const longWait = 5 * time.Second

func newProgress(a *app, status *v1alpha1.ClusterStatus) *progress {
	p := &progress{app: a, tail: newTail(status.Events), story: newStory()}
	for _, e := range status.Events {
		p.story.tell(e) // so that what is under way has its beginning
	}
	p.width, _ = a.terminal()
	return p
}

// pass shows what a pass came to.
func (p *progress) pass(pass runner.Pass) {
	p.status(&pass.Cluster.Status)
	if pass.Act == nil {
		return
	}
	before := p.said
	if p.said = ""; pass.ActError != nil {
		p.said = fmt.Sprintf("%s: %v; it is tried again", strings.ToLower(string(pass.Act.Act)), pass.ActError)
	}
	if p.said != "" && p.said != before {
		p.say(time.Now(), line{about: subject(pass.Act.Member), text: p.said, bad: true})
	}
}

func (p *progress) status(st *v1alpha1.ClusterStatus) {
	for _, e := range p.next(st.Events) {
		p.event(e)
		if p.watch != nil {
			p.watch(e)
		}
	}
	if p.lines {
		return
	}
	p.now(nowLine(st))
	if at := st.Attempt; p.width == 0 && at != nil && !at.Phase.Ended() && at.WaitingFor != nil {
		p.wait(at.WaitingFor)
	}
}

func (p *progress) event(e v1alpha1.Event) {
	if p.lines {
		text, err := json.Marshal(e)
		if err == nil {
			p.printf("%s\n", text)
		}
		return
	}
	if l := p.story.tell(e); !l.detail {
		p.say(e.At.Time, l)
	}
}

func (p *progress) say(at time.Time, l line) {
	p.clear()
	p.talkf("%s", p.stamped(at.Local().Format(time.TimeOnly), l))
	p.draw()
}

// stamped is a line with its time, in color.
func (s streams) stamped(at string, l line) string {
	text, color := plain("", l), ""
	switch {
	case l.bad:
		color = yellow
	case l.good:
		color = green
	}
	return s.paint(dim, at) + s.paint(color, text)
}

// plain is a line with its time, aligned. Further lines of a text stand below its first.
func plain(at string, l line) string {
	mark := "  "
	if l.bad {
		mark = "! "
	}
	text := l.text
	if l.about != "" {
		text = fmt.Sprintf("%-18s %s", l.about, l.text)
	}
	return at + " " + mark + strings.ReplaceAll(text, "\n", "\n               ")
}

// wait tells a wait that has lasted, once.
func (p *progress) wait(w *v1alpha1.WaitingFor) {
	key := w.Object + "\x00" + w.Rule + "\x00" + w.Since.String()
	if key == p.told || time.Since(w.Since.Time) < longWait {
		return
	}
	p.told = key
	p.say(time.Now(), line{about: subject(w.Object), text: "waiting for " + strings.TrimPrefix(waitText(w), subject(w.Object)+": ") + until(w)})
}

// until says when a wait becomes a failure.
func until(w *v1alpha1.WaitingFor) string {
	if w.Deadline == nil || w.Rule == "soak" { // which ends by itself
		return ""
	}
	return ", until " + w.Deadline.Local().Format(time.TimeOnly) + " if nothing gets better"
}

// now keeps the last line up to date on a terminal.
func (p *progress) now(text string) {
	if p.width > 0 && text != p.drawn {
		p.clear()
		p.drawn = text
		p.draw()
	}
}

func (p *progress) draw() {
	if p.width > 0 && p.drawn != "" {
		fmt.Fprint(p.err, cut(p.drawn, p.width-1))
	}
}

func (p *progress) clear() {
	if p.width > 0 && p.drawn != "" {
		fmt.Fprint(p.err, "\r\x1b[K")
	}
}

// close takes the last line away.
func (p *progress) close() {
	p.clear()
	p.drawn = ""
}

// tail remembers how far a list of events was read.
type tail struct {
	shown v1alpha1.Event
	fresh bool // nothing was read yet
}

// newTail begins behind the events that there are.
func newTail(events []v1alpha1.Event) tail {
	t := tail{fresh: true}
	t.next(events)
	return t
}

// next are the events behind the last one read. If that one has left the bounded list, all are new.
func (t *tail) next(events []v1alpha1.Event) []v1alpha1.Event {
	from := 0
	if !t.fresh {
		for i := len(events) - 1; i >= 0; i-- {
			if events[i] == t.shown {
				from = i + 1
				break
			}
		}
	}
	if len(events) > 0 {
		t.shown, t.fresh = events[len(events)-1], false
	}
	return events[from:]
}

// cut keeps a text in one line of a width.
func cut(s string, width int) string {
	r := []rune(strings.ReplaceAll(s, "\n", " "))
	if len(r) > width && width > 1 {
		return string(r[:width-1]) + "…"
	}
	return string(r)
}
