package v1alpha1

// The types of condition of a Cluster. Each turns False again.
const (
	// ConditionReady is True when every member is ready at the wanted revision.
	ConditionReady = "Ready"
	// ConditionUpgrading is True while an attempt goes forward. Its reason is the component ("UpdatingEtcd"), its
	// message the progress ("2 of 3 members updated").
	ConditionUpgrading = "Upgrading"
	// ConditionRollingBack is True while an attempt goes back.
	ConditionRollingBack = "RollingBack"
	// ConditionBackedUp is True when the backup of the current hop is complete and proved.
	ConditionBackedUp = "BackedUp"
	// ConditionReconciling is True while there is something to do. kstatus reads it.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when a person must act before anything goes on. kstatus reads it.
	ConditionStalled = "Stalled"
)

// ConditionRestoring of a Cluster is True while its data is not complete: a Restore fills its volumes, and no member may start, or a restore writes
// into its members. It goes away afterwards.
const ConditionRestoring = "Restoring"

// Reasons of ConditionReady.
const (
	ReasonAllMembersReady = "AllMembersReady"
	ReasonMembersNotReady = "MembersNotReady"
)

// Reasons of the others.
const (
	ReasonIdle           = "Idle"           // nothing to do
	ReasonRunning        = "Running"        // an attempt goes on
	ReasonPaused         = "Paused"         // someone or a failure paused the attempt
	ReasonFailed         = "Failed"         // an attempt failed
	ReasonOutcomeUnknown = "OutcomeUnknown" // nobody knows whether an action happened
	ReasonRefused        = "Refused"        // the spec asks for something that is not allowed
	ReasonWaiting        = "Waiting"        // a person's approval is waited for
	ReasonBackedUp       = "BackupComplete"
	ReasonNoBackup       = "NoBackup"
)

// The types of condition of a Backup and of a Restore, beside Reconciling and Stalled. At most one of Finished and Failed is ever True, and neither turns False again.
const (
	ConditionStarted  = "Started"
	ConditionFinished = "Finished"
	ConditionFailed   = "Failed"
)
