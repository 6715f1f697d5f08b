package upgradetest

// Fault is one thing that goes wrong in a world. Each world draws which of them it has.
type Fault int

// The faults.
const (
	SlowStart        Fault = iota // a member takes long to become ready
	CrashLoop                     // every process of a version ends soon
	NeverReady                    // no process of a version becomes ready
	ReadyThenCrash                // a version is ready and dies a little later
	WrongVersion                  // a version says that it is another
	BrokenVersion                 // the platform knows that a version cannot come up
	Silent                        // a version never answers
	CrashOnce                     // one process ends by itself
	Flapping                      // a member is ready and not ready in turn
	LeaderMoves                   // the leader changes by itself
	UnknownAnswer                 // a question is not answered in one look
	AllSilent                     // for a while no question is answered
	UnknownProcess                // the platform does not know a process in one look
	PartialLook                   // members are missing in one look
	StaleLook                     // a look shows a member as it was
	SlowPass                      // the world moves on between look and store
	LostAct                       // an act never arrives
	LostReply                     // an act is done and reported as failed
	DelayedAct                    // an act is done much later
	DoubledAct                    // an act is done again later
	Conflict                      // somebody else wrote the journal
	SecondDriver                  // two controllers at work
	WallClockJump                 // the wall clock jumps
	Blackout                      // everything is down at once
	KilledMember                  // a member is killed from outside
	RemovedMember                 // a member is taken away from outside
	ExtraMember                   // a member appears that nobody asked for
	BackupFails                   // a backup fails
	BackupUnknown                 // nobody knows how a backup ended
	RunFails                      // an action fails
	RunUnknown                    // nobody knows whether an action happened
	PrepareFails                  // a machine cannot get a program
	HandoverIgnored               // a handover says that it worked and did not
	CrashBeforeStore              // the controller dies before the journal is written
	CrashAfterStore               // and before the act
	CrashAfterAct                 // and after the act
	StoreReplyLost                // the journal is written and reported as failed
	DuplicateRequest              // a request comes twice
	SystemEdit                    // the System changes
	EditTarget                    // another target in the middle
	EditBack                      // the version is set back in the middle
	EditOption                    // an option is edited in the middle
	EditPolicy                    // the policy is edited in the middle
	RenewedVolume                 // a volume is made anew: no fault, and must happen
	AskPause
	AskResume
	AskAbort
	AskRollback
	AskFinalize
	AskOverride
	AskRestart
	AskRetry
	AskAdopt
	faultCount
)

var faultNames = [faultCount]string{"slow start", "crash loop", "never ready", "ready then crash", "wrong version", "broken version", "silent version",
	"crash once", "flapping", "leader moves", "unknown answer", "all silent", "unknown process", "partial look", "stale look", "slow pass", "lost act",
	"lost reply", "delayed act", "doubled act", "conflict", "second driver", "wall clock jump", "blackout", "killed member", "removed member", "extra member",
	"backup fails", "backup unknown", "run fails", "run unknown", "prepare fails", "handover ignored", "crash before store", "crash after store",
	"crash after act", "store reply lost", "duplicate request", "system edit", "edit target", "edit back", "edit option", "edit policy", "renewed volume", "ask pause",
	"ask resume", "ask abort", "ask rollback", "ask finalize", "ask override", "ask restart", "ask retry", "ask adopt system"}

func (f Fault) String() string { return faultNames[f] }
