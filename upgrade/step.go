package upgrade

import (
	"time"

	"theseus.dev/api/v1alpha1"
)

// Place is where in a hop a step stands. Steps run in the order of their places,
// and those of one place in the order in which their kind names them.
type Place int

// The places, in order. What cannot be undone comes as late as it can.
const (
	PlacePreflight Place = iota
	PlaceNeeds           // what must hold before anything is disrupted
	PlaceBackup
	PlaceBefore // hooks around the hop
	PlaceExpand
	PlaceRoll // configure, then replace, component by component
	PlaceSoak
	PlaceVerify
	PlaceFinalize
	PlaceContract
	PlaceAfter // hooks around the hop
	PlaceCheck
)

// Kind is one kind of step with its whole life. The core knows no kind by name:
// it asks each which steps a hop needs, puts them in order, and runs them by this
// contract. An implementation keeps all that it must remember in the StepStatus,
// which is durable before what it decides is done, and reads everything else from
// the Scene. Its methods return one Move and have no other effect.
type Kind interface {
	// Name of the kind, as the journal spells it.
	Name() v1alpha1.StepKind
	// Steps that a hop needs, each with its place.
	Steps(h *HopPlan) []Planned
	// Begin is asked until it says Done: may the step begin? It does nothing itself.
	Begin(s *Scene, st *v1alpha1.StepStatus) Move
	// Look is asked in every pass from then on, until it says Done.
	Look(s *Scene, st *v1alpha1.StepStatus) Move
	// Undo is asked instead of Look when the attempt goes back, until it says Done. Steps are undone in reverse order.
	Undo(s *Scene, st *v1alpha1.StepStatus) Move
	// Reversible says whether Undo can lead back, given how far the step has come; if not, why.
	Reversible(s *Scene, st *v1alpha1.StepStatus) (bool, string)
}

// Planned is a step that a plan holds.
type Planned struct {
	Place     Place
	Name      string
	Component string
	Arg       string
	// Waits says, for people, what the step waits for before it is done.
	Waits []string
	// Seconds that the step is likely to take.
	Seconds float64
	// Disrupts is set when the step takes members down.
	Disrupts bool
	// Irreversible is set when there is no plain way back behind it.
	Irreversible bool
}

// MoveKind is what comes next.
type MoveKind int

// The moves.
const (
	MoveWait  MoveKind = iota // nothing to do until something changes
	MoveAct                   // one act
	MoveDone                  // the step is over
	MoveFail                  // the step cannot go on
	MoveRest                  // a person is waited for
	MovePause                 // the attempt pauses, with nothing in hand
)

// Move is the one thing that a step wants next.
type Move struct {
	Kind    MoveKind
	Act     *v1alpha1.Intent
	Wait    *v1alpha1.WaitingFor
	Failure *v1alpha1.Failure
	// Disruptive marks an act that takes a member down.
	Disruptive bool
	// Pause says why the attempt pauses.
	Pause string

	unknown bool          // what is waited for is not known, rather than known not to hold
	member  string        // that the wait is about
	due     time.Duration // what is left where nothing but time is waited for
}

// Done says that a step is over.
func Done() Move { return Move{Kind: MoveDone} }

// Do wants one act.
func Do(i v1alpha1.Intent) Move { return Move{Kind: MoveAct, Act: &i} }

// Wait names the object and the rule that a step waits for. A rule can be passed by an
// override of its name, unless it is one that nothing may pass.
func Wait(object, rule, message string) Move {
	return Move{Kind: MoveWait, Wait: &v1alpha1.WaitingFor{Object: object, Rule: rule, Message: message, Override: "override '" + rule + "'"}}
}

// waitFor waits for nothing but time.
func waitFor(left time.Duration, object, rule, message string) Move {
	m := Wait(object, rule, message)
	m.due = left
	return m
}

// WaitFirmly is a Wait that no override passes.
func WaitFirmly(object, rule, message string) Move {
	m := Wait(object, rule, message)
	m.Wait.Override = ""
	return m
}

// Rest waits for a person; how is the request that goes on.
func Rest(object, rule, message, how string) Move {
	m := Wait(object, rule, message)
	m.Kind, m.Wait.Override = MoveRest, how
	return m
}

// Pause pauses the attempt.
func Pause(why string) Move { return Move{Kind: MovePause, Pause: why} }

// Fail says that a step cannot go on, and whose fault it is.
func Fail(class v1alpha1.FailureClass, object, reason, message string) Move {
	return Move{Kind: MoveFail, Failure: &v1alpha1.Failure{Class: class, Object: object, Reason: reason, Message: message}}
}
