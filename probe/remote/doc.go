// Package remote lets a probe run where the clients of a system are, while whoever conducts the upgrade is somewhere else and can reach it only
// now and then.
//
// Serve runs a probe and answers over HTTP; a Conductor tells it what the upgrade is doing, and takes its result. Between the two requests get lost, are done
// without an answer and come twice: what is told has a number and is heard once, in order, and a result can be taken again. Nothing here speaks of who is at
// the other end, so Serve is to listen where only its conductor gets: on a loopback address behind a port-forward.
//
// A probe that nobody has asked for the length of its lease ends by itself, because it writes to a system that somebody uses.
package remote

import "theseus.dev/probe"

// note is something that the conductor says of the upgrade: a window that begins, or else a line of the story.
type note struct {
	Window probe.Window `json:"window,omitempty"`
	Text   string       `json:"text"`
}

// told is the body of POST /tell: the notes from the number First on. None: is it still there?
type told struct {
	First int    `json:"first"`
	Notes []note `json:"notes"`
}

// state is the answer to all that is asked. Fields are added, and none changes its meaning: the two ends may be of different releases.
type state struct {
	Sending bool   `json:"sending"` // the baseline has begun
	Heard   int    `json:"heard"`   // how many notes were heard in all
	Ended   bool   `json:"ended"`
	Error   string `json:"error,omitempty"` // why it ended without a result

	Result *probe.Result `json:"result,omitempty"`
	Tens   []probe.Slice `json:"tens,omitempty"` // of the result, which does not write them
}
