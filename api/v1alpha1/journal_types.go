package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// JournalVersion is the schema version of the journal that this code reads and
// writes. A binary refuses a status with a higher one and changes nothing.
const JournalVersion int32 = 1

// ClusterStatus is what Theseus knows and what it is about to do: the journal.
// An intent is durable here before its act begins.
type ClusterStatus struct {
	// Journal is the schema version that wrote this status.
	// +optional
	Journal int32 `json:"journal,omitempty"`
	// ObservedGeneration of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// CurrentVersion is the version of the members: the lowest that they said they run. Never copied from the spec.
	// +optional
	CurrentVersion string `json:"currentVersion,omitempty"`
	// TargetVersion of the running attempt; empty when none runs.
	// +optional
	TargetVersion string `json:"targetVersion,omitempty"`
	// Replicas wanted over all components.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// ReadyReplicas of these.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`
	// Members by readiness.
	// +optional
	Members MemberNames `json:"members,omitempty"`
	// VersionHistory are the versions that attempts ended at, oldest first, at most 20.
	// +optional
	VersionHistory []string `json:"versionHistory,omitempty"`
	// Filled is the version that wrote the data of the volumes before there were members: a restore filled them, or an earlier cluster left them.
	// +optional
	Filled string `json:"filled,omitempty"`
	// Loading is the restore that writes into the members once they run. As long as it is here the data is not complete, and members are replaced
	// for nothing.
	// +optional
	Loading *Loading `json:"loading,omitempty"`
	// FailedTarget is the version of the last failed attempt. It is not tried again until spec.version changes or someone asks.
	// +optional
	FailedTarget string `json:"failedTarget,omitempty"`
	// FailedRevision names what the last failed rolling restart wanted. It is not tried again until the spec changes or someone asks.
	// +optional
	FailedRevision string `json:"failedRevision,omitempty"`
	// Conditions keyed by type.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Applied is what the members were last rolled with.
	// +optional
	Applied *Pinned `json:"applied,omitempty"`
	// Attempt that runs, or the last one that ended.
	// +optional
	Attempt *Attempt `json:"attempt,omitempty"`
	// Attempts that ended, newest last, at most ten.
	// +optional
	Attempts []AttemptSummary `json:"attempts,omitempty"`
	// Serial counts attempts; the next one gets the next number.
	// +optional
	Serial int64 `json:"serial,omitempty"`
	// Acts counts intents over the life of the cluster; each gets the next number as its id.
	// +optional
	Acts int64 `json:"acts,omitempty"`
	// Requests that were answered, newest last, at most 32.
	// +optional
	Requests []RequestAnswer `json:"requests,omitempty"`
	// Overrides in force.
	// +optional
	Overrides []Override `json:"overrides,omitempty"`
	// Events, newest last, at most 200.
	// +optional
	Events []Event `json:"events,omitempty"`
}

// Loading is a restore into members that run. It is noted before the first member starts, so that nobody takes an empty cluster for a restored one.
type Loading struct {
	// Restore is the name of the Restore, or on one machine of the backup.
	Restore string `json:"restore"`
	// UID of the Restore.
	// +optional
	UID types.UID `json:"uid,omitempty"`
	// Begun is when its program was let go. From then on members may have a part of the data.
	// +optional
	Begun *metav1.Time `json:"begun,omitempty"`
	// Failed says why it does not go on, and what to do.
	// +optional
	Failed string `json:"failed,omitempty"`
}

// Pinned is what members are rolled with: an own copy of the spec, and the System by hash.
type Pinned struct {
	// Spec with the version that the members run.
	Spec ClusterSpec `json:"spec"`
	// System name and hash.
	System SystemRef `json:"system"`
	// Restart is a number that a rolling restart raises, so that the revision changes and nothing else.
	// +optional
	Restart int64 `json:"restart,omitempty"`
}

// SystemRef names one content of a System.
type SystemRef struct {
	Name string `json:"name"`
	// Hash of the content, hexadecimal.
	Hash string `json:"hash"`
}

// AttemptKind says what an attempt is for.
// +kubebuilder:validation:Enum=Create;Start;Upgrade;Restart
type AttemptKind string

// The kinds of attempt.
const (
	AttemptCreate  AttemptKind = "Create"  // the first members
	AttemptStart   AttemptKind = "Start"   // all members again after all were stopped
	AttemptUpgrade AttemptKind = "Upgrade" // to another version
	AttemptRestart AttemptKind = "Restart" // a rolling restart, for a changed option or because someone asked
)

// AttemptPhase is the state of an attempt. The list is in the order of a life;
// the last four are ends.
// +kubebuilder:validation:Enum=Running;Paused;Stopped;RollingBack;Succeeded;RolledBack;Aborted;Superseded
type AttemptPhase string

// The phases of an attempt.
const (
	PhaseRunning     AttemptPhase = "Running"
	PhaseRollingBack AttemptPhase = "RollingBack"
	// PhasePaused rests until someone asks: resume, rollback or abort.
	PhasePaused AttemptPhase = "Paused"
	// PhaseStopped rests because an outcome is unknown: a person must look first.
	PhaseStopped AttemptPhase = "Stopped"

	PhaseSucceeded  AttemptPhase = "Succeeded"
	PhaseRolledBack AttemptPhase = "RolledBack"
	PhaseAborted    AttemptPhase = "Aborted"
	// PhaseSuperseded ended because the target changed before the first disruption.
	PhaseSuperseded AttemptPhase = "Superseded"
)

// Ended says whether the phase is an end.
func (p AttemptPhase) Ended() bool {
	switch p {
	case PhaseSucceeded, PhaseRolledBack, PhaseAborted, PhaseSuperseded:
		return true
	}
	return false
}

// Attempt is one run of a plan with its own pinned copy of spec and System.
type Attempt struct {
	// ID is the attempt's number in this cluster.
	ID    int64        `json:"id"`
	Kind  AttemptKind  `json:"kind"`
	Phase AttemptPhase `json:"phase"`
	// From is the version at the start of the attempt, empty for the first.
	// +optional
	From string `json:"from,omitempty"`
	// To is the version wanted at the end.
	To string `json:"to"`
	// Base is what the members ran with before the current hop; the way back leads there.
	// +optional
	Base *Pinned `json:"base,omitempty"`
	// Target is what the members run with after the last hop.
	Target Pinned `json:"target"`
	// Hops of the attempt, in order.
	Hops []HopStatus `json:"hops"`
	// Hop is the index of the current one.
	Hop int32 `json:"hop"`
	// Steps of the current hop.
	// +listType=map
	// +listMapKey=name
	Steps []StepStatus `json:"steps"`
	// Disrupted is set with the intent of the first disruption of the attempt.
	// +optional
	Disrupted bool `json:"disrupted,omitempty"`
	// Wrote are the versions that may have written to the volumes of members, in a first start.
	// +optional
	// +listType=atomic
	Wrote []string `json:"wrote,omitempty"`
	// Served is set in a first start once a member was seen ready: somebody may have used it, and the spec cannot be corrected any more
	// before the attempt has ended.
	// +optional
	Served  bool        `json:"served,omitempty"`
	Started metav1.Time `json:"started"`
	// +optional
	Ended *metav1.Time `json:"ended,omitempty"`
	// Clock is how long the attempt was looked at and not paused. Deadlines and soaks count on it.
	// +optional
	Clock metav1.Duration `json:"clock,omitempty"`
	// Replaced counts replaced members, for pauseAfter.
	// +optional
	Replaced int32 `json:"replaced,omitempty"`
	// CanaryShown is set when pauseAfter has paused this attempt.
	// +optional
	CanaryShown bool `json:"canaryShown,omitempty"`
	// Approved is set when someone asked to finalize.
	// +optional
	Approved bool `json:"approved,omitempty"`
	// Pausing is set when a pause was asked for and the member in hand is still to be finished.
	// +optional
	Pausing bool `json:"pausing,omitempty"`
	// Ending is what going back leads to: RolledBack or Aborted.
	// +optional
	Ending AttemptPhase `json:"ending,omitempty"`
	// Resume is the phase that a pause interrupted.
	// +optional
	Resume AttemptPhase `json:"resume,omitempty"`
	// Rest says why the attempt is paused or stopped.
	// +optional
	Rest string `json:"rest,omitempty"`
	// HealthyFor is how long a failed attempt's cluster has looked good all the same.
	// +optional
	HealthyFor metav1.Duration `json:"healthyFor,omitempty"`
	// Failure that stopped the attempt or turned it back.
	// +optional
	Failure *Failure `json:"failure,omitempty"`
	// Intent is the act that was about to be done when this was written.
	// +optional
	Intent *Intent `json:"intent,omitempty"`
	// WaitingFor is what stands between here and the next act.
	// +optional
	WaitingFor *WaitingFor `json:"waitingFor,omitempty"`
}

// HopStatus is one edge taken.
type HopStatus struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Edge is the index of the edge in the System.
	Edge int32 `json:"edge"`
	// Finalized is set when there is no plain way back any more; with the last member's intent where the software finalizes itself.
	// +optional
	Finalized bool `json:"finalized,omitempty"`
	// Reopened is set when the way back was open and is taken; where the hop was finalized, once what makes it possible was done.
	// +optional
	Reopened bool `json:"reopened,omitempty"`
	// Done is set when the hop has ended well.
	// +optional
	Done bool `json:"done,omitempty"`
	// Backup is the name of the hop's backup.
	// +optional
	Backup string `json:"backup,omitempty"`
	// Moves are the components whose members get to another StatefulSet in this hop.
	// +listType=map
	// +listMapKey=component
	// +optional
	Moves []HopMove `json:"moves,omitempty"`
}

// HopMove is a move as it was planned. It stays as it is, whatever becomes of the System.
type HopMove struct {
	Component string `json:"component"`
	// From and To are StatefulSets.
	From string `json:"from"`
	To   string `json:"to"`
	// By is how many members are in both at most at a time.
	By     int32     `json:"by"`
	Claims ClaimRule `json:"claims"`
	// Env are the variables that the new one gets from the System.
	// +optional
	Env []string `json:"env,omitempty"`
}

// Move of a component in this hop; nil if its members stay where they are.
func (h *HopStatus) Move(component string) *HopMove {
	i := slices.IndexFunc(h.Moves, func(m HopMove) bool { return m.Component == component })
	if i < 0 {
		return nil
	}
	return &h.Moves[i]
}

// StepKind names the type of a step; the core has a table of them.
type StepKind string

// StepPhase is the state of a step.
// +kubebuilder:validation:Enum=Pending;Running;Done;Undoing;Undone
type StepPhase string

// The phases of a step.
const (
	StepPending StepPhase = "Pending"
	StepRunning StepPhase = "Running"
	StepDone    StepPhase = "Done"
	StepUndoing StepPhase = "Undoing"
	StepUndone  StepPhase = "Undone"
)

// StepStatus is one step of the current hop.
type StepStatus struct {
	// Name is unique in the hop. Example: "roll etcd".
	Name string `json:"name"`
	// Kind of the step. Example: Roll.
	Kind StepKind `json:"kind"`
	// Component that the step is about, if one.
	// +optional
	Component string `json:"component,omitempty"`
	// Arg is what else the step needs to know: the name of a need, a hook or an action.
	// +optional
	Arg   string    `json:"arg,omitempty"`
	Phase StepPhase `json:"phase"`
	// Begun and Ended are for people.
	// +optional
	Begun *metav1.Time `json:"begun,omitempty"`
	// +optional
	Ended *metav1.Time `json:"ended,omitempty"`
	// Members that the step is done with.
	// +optional
	Members []MemberDone `json:"members,omitempty"`
	// Ready is the most members that a Recreate saw ready at once; more is progress.
	// +optional
	Ready int32 `json:"ready,omitempty"`
	// Hand is the member in hand.
	// +optional
	Hand *Hand `json:"hand,omitempty"`
	// Best is the furthest phase that a member in hand reached since the last one was done: progress is getting further.
	// +optional
	Best HandPhase `json:"best,omitempty"`
	// Then are the answers when the step (or the turn of the member in hand) began: a JSON object by member, only the
	// values that rules compare with.
	// +optional
	Then string `json:"then,omitempty"`
	// Runs are the runs of actions that the step began.
	// +optional
	Runs []RunRef `json:"runs,omitempty"`
	// Since is when the step last came to a wait of its own (a soak), on the attempt's clock.
	// +optional
	Since *metav1.Duration `json:"since,omitempty"`
	// ProgressAt is when the step last got better, on the attempt's clock.
	// +optional
	ProgressAt metav1.Duration `json:"progressAt,omitempty"`
	// Left is the least that a rule said was left.
	// +optional
	Left *string `json:"left,omitempty"`
	// Moved is how far members have moved to another StatefulSet, in the direction of the attempt.
	// +optional
	Moved *Moved `json:"moved,omitempty"`
	// Message for people. Example: "2 of 3 members updated".
	// +optional
	Message string `json:"message,omitempty"`
}

// Moved is how far members have moved to another StatefulSet.
type Moved struct {
	// Passed are members of the one that grows which passed all checks.
	// +optional
	Passed int32 `json:"passed,omitempty"`
	// Best is the most that was seen to be done: members that are ready, that passed, and that are gone. More of it is progress.
	// +optional
	Best int32 `json:"best,omitempty"`
	// Crashes that the platform had counted of the members that soak when their soak began: one more, and it begins anew.
	// +optional
	Crashes int32 `json:"crashes,omitempty"`
}

// HandPhase is how far the member in hand has come. The list is in order.
// +kubebuilder:validation:Enum=Before;Drain;Handover;Replace;Start;Ready;Settle;Soak;After
type HandPhase string

// The phases of the member in hand.
const (
	HandBefore   HandPhase = "Before"   // before-hooks
	HandDrain    HandPhase = "Drain"    // stop taking work
	HandHandover HandPhase = "Handover" // give the role away, confirmed
	HandReplace  HandPhase = "Replace"  // stop; the disruption
	HandStart    HandPhase = "Start"    // start with the wanted revision
	HandReady    HandPhase = "Ready"    // ready, and says the wanted version
	HandSettle   HandPhase = "Settle"   // the group has settled
	HandSoak     HandPhase = "Soak"     // stays so
	HandAfter    HandPhase = "After"    // after-hooks
)

// MemberDone is a member that passed all checks after its replacement.
type MemberDone struct {
	Name string `json:"name"`
	// Incarnation that passed them. Another one has to pass them again.
	Incarnation string `json:"incarnation,omitempty"`
	// Crashes that the platform had counted when it passed; only later ones are held against it. -1: count from the next look on.
	// +optional
	Crashes int32 `json:"crashes,omitempty"`
}

// Hand is the member in hand.
type Hand struct {
	Member string    `json:"member"`
	Phase  HandPhase `json:"phase"`
	// Incarnation of the process or pod that is to be replaced, or was.
	// +optional
	Incarnation string `json:"incarnation,omitempty"`
	// Crashes that the platform had counted for the new process when it first was seen. -1: count from the next look on.
	// +optional
	Crashes int32 `json:"crashes,omitempty"`
	// To is the member that shall take the role.
	// +optional
	To string `json:"to,omitempty"`
	// Since is when the soak began, on the attempt's clock.
	// +optional
	Since *metav1.Duration `json:"since,omitempty"`
	// SoakCrashes are those that the platform had counted when the soak began: one more, and it begins anew.
	// +optional
	SoakCrashes int32 `json:"soakCrashes,omitempty"`
	// Volume is the name that the member's new volume gets, where the hop renews it.
	// +optional
	Volume string `json:"volume,omitempty"`
}

// RunRef is one run of an action.
type RunRef struct {
	// ID is the intent's id; the platform keeps the run under it.
	ID int64 `json:"id"`
	// Key says what the run is for: a hook, a handover, a bring. Example: "after/tip-clear@kv-0".
	Key string `json:"key"`
	// Tries so far under this key.
	// +optional
	Tries int32 `json:"tries,omitempty"`
	// After which the next try may begin, on the attempt's clock.
	// +optional
	After metav1.Duration `json:"after,omitempty"`
	// Done is set when the outcome was seen and was good, or was accepted.
	// +optional
	Done bool `json:"done,omitempty"`
	// Failed is the message of the last failure.
	// +optional
	Failed string `json:"failed,omitempty"`
}

// ActKind is what Theseus does to the world.
type ActKind string

// The acts.
const (
	ActConfigure ActKind = "Configure" // make the revision the one that new processes of the component get
	ActStop      ActKind = "Stop"      // stop the process of this incarnation: a disruption
	ActStart     ActKind = "Start"     // start the member with this revision
	ActRun       ActKind = "Run"       // begin a run of an action
	ActBackup    ActKind = "Backup"    // begin to take a backup
	ActPrepare   ActKind = "Prepare"   // begin to get what the target needs to every machine
	ActRenew     ActKind = "Renew"     // replace a member's volume by an empty one: its data is gone
	ActGrow      ActKind = "Grow"      // raise the number of members of a workload
	ActShrink    ActKind = "Shrink"    // lower it: those with the highest numbers go, a disruption
	ActRemove    ActKind = "Remove"    // remove a workload that has no members
)

// Intent is an act with everything that it depends on. It is conditional: a stop names the incarnation, a
// start the revision, a run its id, so that doing it again does nothing twice.
type Intent struct {
	// ID of the act, unique in the cluster.
	ID  int64   `json:"id"`
	Act ActKind `json:"act"`
	// Step that wants it.
	Step string `json:"step"`
	// +optional
	Component string `json:"component,omitempty"`
	// +optional
	Member string `json:"member,omitempty"`
	// Incarnation that a stop is meant for.
	// +optional
	Incarnation string `json:"incarnation,omitempty"`
	// Revision that a start or configure is meant for.
	// +optional
	Revision string `json:"revision,omitempty"`
	// Version of that revision.
	// +optional
	Version string `json:"version,omitempty"`
	// Action is the path of the action in the System. Example: "actions.downgrade".
	// +optional
	Action string `json:"action,omitempty"`
	// To is the member that takes over.
	// +optional
	To string `json:"to,omitempty"`
	// Name of a backup, or of the new volume of a renew.
	// +optional
	Name string `json:"name,omitempty"`
	// Volume that a renew is meant for, or that a start may be made on. Another one is left alone.
	// +optional
	Volume string `json:"volume,omitempty"`
	// OnlyOn is, of a configure, how the name of a volume begins that new processes may start on; NeverOn, how it begins where
	// they may not. Where the platform itself starts processes, it must keep that.
	// +optional
	OnlyOn string `json:"onlyOn,omitempty"`
	// +optional
	NeverOn string `json:"neverOn,omitempty"`
	// Workload that a grow, shrink or remove is meant for, or that a configure makes. Of the first three Incarnation says as what it was
	// seen: once anything else is wanted of it, they do nothing.
	// +optional
	Workload string `json:"workload,omitempty"`
	// Before and After are the numbers of members that a grow or shrink leads from and to.
	// +optional
	Before int32 `json:"before,omitempty"`
	// +optional
	After int32 `json:"after,omitempty"`
	// From is the version that the hop leaves.
	// +optional
	From string `json:"from,omitempty"`
	// Why, for people.
	// +optional
	Why string `json:"why,omitempty"`
}

// FailureClass says whose fault a failure is, and with that what follows.
// +kubebuilder:validation:Enum=Member;Check;Environment;Unknown
type FailureClass string

// The failure classes. Member and Check roll back where the policy says so; Environment pauses; Unknown stops.
const (
	FaultMember      FailureClass = "Member"      // a member of the new revision
	FaultCheck       FailureClass = "Check"       // a check after the replacement
	FaultEnvironment FailureClass = "Environment" // a hook, a backup, a question, an old member, a machine
	FaultUnknown     FailureClass = "Unknown"     // nobody knows whether it happened
)

// Failure is why an attempt did not go on.
type Failure struct {
	Class FailureClass `json:"class"`
	// Step in which it happened.
	Step string `json:"step"`
	// Object is the member or thing at fault.
	// +optional
	Object string `json:"object,omitempty"`
	// Reason is one word. Example: CrashLoop.
	Reason string `json:"reason"`
	// Message for people.
	Message string      `json:"message"`
	At      metav1.Time `json:"at"`
}

// WaitingFor names what an attempt waits for: which object, which rule, since when, until when, and how to
// go on without it.
type WaitingFor struct {
	// Object that is waited for. Example: "member kv-etcd-1".
	Object string `json:"object"`
	// Rule that does not hold yet. Overrides name it. Example: "settled/one leader".
	Rule string `json:"rule"`
	// Message says what was seen. Example: "is not ready: no answer to health".
	// +optional
	Message string      `json:"message,omitempty"`
	Since   metav1.Time `json:"since"`
	// Told is set when the wait has lasted so long that an event told of it.
	// +optional
	Told bool `json:"told,omitempty"`
	// Deadline after which the attempt fails if nothing gets better; empty where a person is waited for.
	// +optional
	Deadline *metav1.Time `json:"deadline,omitempty"`
	// Override is the request that goes on without it; empty where nothing may. Example: "override 'settled/one leader'".
	// +optional
	Override string `json:"override,omitempty"`
	// Left is how much is left, where a rule says so.
	// +optional
	Left string `json:"left,omitempty"`
}

// AttemptSummary is a line about an attempt that ended.
type AttemptSummary struct {
	ID      int64        `json:"id"`
	Kind    AttemptKind  `json:"kind"`
	From    string       `json:"from,omitempty"`
	To      string       `json:"to"`
	Outcome AttemptPhase `json:"outcome"`
	// At is the version at which it ended.
	At string `json:"at,omitempty"`
	// +optional
	Message string      `json:"message,omitempty"`
	Started metav1.Time `json:"started"`
	Ended   metav1.Time `json:"ended"`
	// Backups that the attempt took.
	// +optional
	Backups []string `json:"backups,omitempty"`
	// Overrides that were used in it.
	// +optional
	Overrides []string `json:"overrides,omitempty"`
}

// RequestKind is what a person can ask of an attempt.
// +kubebuilder:validation:Enum=Pause;Resume;Abort;Rollback;Finalize;Override;Restart;Retry;AdoptSystem
type RequestKind string

// The requests.
const (
	RequestPause       RequestKind = "Pause"       // no new disruption; the member in hand is finished
	RequestResume      RequestKind = "Resume"      // go on
	RequestAbort       RequestKind = "Abort"       // before the first disruption only
	RequestRollback    RequestKind = "Rollback"    // back to the hop's start
	RequestFinalize    RequestKind = "Finalize"    // let the hop become irreversible
	RequestOverride    RequestKind = "Override"    // go on without a rule, for a while
	RequestRestart     RequestKind = "Restart"     // a rolling restart
	RequestRetry       RequestKind = "Retry"       // try the failed target again
	RequestAdoptSystem RequestKind = "AdoptSystem" // take the System as it is now into the running attempt
)

// Request is something asked of a cluster by a person, with an id that makes it count once.
type Request struct {
	// ID chosen by who asks.
	ID   string      `json:"id"`
	Kind RequestKind `json:"kind"`
	// Rule that an override names.
	// +optional
	Rule string `json:"rule,omitempty"`
	// For is how long an override lasts. Default 10m.
	// +optional
	For *metav1.Duration `json:"for,omitempty"`
	// By and Reason are kept in the history.
	// +optional
	By string `json:"by,omitempty"`
	// +optional
	Reason string `json:"reason,omitempty"`
}

// RequestAnswer says what became of a request.
type RequestAnswer struct {
	ID       string      `json:"id"`
	Kind     RequestKind `json:"kind"`
	Accepted bool        `json:"accepted"`
	Message  string      `json:"message,omitempty"`
	At       metav1.Time `json:"at"`
}

// Override lets an attempt go on without a rule until it expires.
type Override struct {
	Rule    string      `json:"rule"`
	Request string      `json:"request"`
	By      string      `json:"by,omitempty"`
	Reason  string      `json:"reason,omitempty"`
	Until   metav1.Time `json:"until"`
	// Used is set when a wait was passed by it.
	// +optional
	Used bool `json:"used,omitempty"`
}

// Event is something that happened, for people.
type Event struct {
	At      metav1.Time `json:"at"`
	Attempt int64       `json:"attempt,omitempty"`
	// Reason is one word. Example: MemberReplaced.
	Reason string `json:"reason"`
	// +optional
	Object  string `json:"object,omitempty"`
	Message string `json:"message"`
	// Warning marks what a person should look at.
	// +optional
	Warning bool `json:"warning,omitempty"`
}
