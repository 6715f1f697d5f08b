package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// System is what Theseus knows about a kind of software: its components and
// versions, which upgrades are allowed, and how to ask a member whether it is
// ready, which role it has and whether the group has settled. It is data, not
// code. Fields in ${} and the fields called "expression" are CEL.
//
// Variables of every expression: cluster (name), version (that the member is to
// run), from (the version that the hop leaves), options (map of strings). Of an
// expression about members also: m (the member: name, component, ordinal, host,
// data, port, scheme, tls, version, and the answers to its questions by name), all (every
// member of the component, in order). Rules also: then (the member's answers
// when the step began). Handovers also: to (the member that shall take over).
// Backup and restore also: out (a folder that Theseus gives), file (the backup).
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=thsys
type System struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	SystemSpec        `json:",inline"`
}

// SystemList is a list of Systems.
//
// +kubebuilder:object:root=true
type SystemList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []System `json:"items"`
}

// SystemSpec is the content of a System, at the top level of its file.
type SystemSpec struct {
	// Description says in a line what the software is. Example: "etcd, a key-value store".
	// +optional
	Description string `json:"description,omitempty"`
	// Versions says which versions exist and where their programs come from.
	Versions Versions `json:"versions"`
	// Edges are the allowed upgrades. A target several edges away is reached in several hops.
	// +kubebuilder:validation:MaxItems=64
	Edges []Edge `json:"edges"`
	// Components are the sorts of members, in the order in which an upgrade replaces them.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Components []Component `json:"components"`
	// Options are values that a Cluster may set and that templates read as options.NAME.
	// +optional
	Options map[string]Option `json:"options,omitempty"`
	// Backup says how a backup of the whole cluster is taken. Without it no edge can require one.
	// +optional
	Backup *BackupMethod `json:"backup,omitempty"`
	// Restore says how the data of a backup gets into a new cluster.
	// +optional
	Restore *RestoreMethod `json:"restore,omitempty"`
	// Rules are what the options of a Cluster must or, where they only warn, should keep, with its version and its numbers of members.
	// They are checked before anything is done.
	// +optional
	// +listType=map
	// +listMapKey=rule
	Rules []OptionRule `json:"rules,omitempty"`
	// Actions are named things done to members; edges and rules refer to them by name.
	// +optional
	Actions map[string]Action `json:"actions,omitempty"`
	// Needs are named rules about the whole cluster; an edge that lists one waits for it before its first disruption.
	// +optional
	Needs map[string]Rule `json:"needs,omitempty"`
}

// VersionScheme names how versions of a System are compared.
// +kubebuilder:validation:Enum=Numeric
type VersionScheme string

// Numeric compares the leading dotted numbers part by part, a missing part as
// zero; a suffix counts only between equal numbers, as SuffixMeaning says.
const Numeric VersionScheme = "Numeric"

// SuffixMeaning says how 1.2.0-1 or 15.0.0.Final compare to the same numbers without suffix.
// +kubebuilder:validation:Enum=Refuse;Build;PreRelease
type SuffixMeaning string

// What a suffix means.
const (
	SuffixRefuse     SuffixMeaning = "Refuse"     // a version with a suffix is an error
	SuffixBuild      SuffixMeaning = "Build"      // later than the same numbers without it
	SuffixPreRelease SuffixMeaning = "PreRelease" // earlier than the same numbers without it
)

// UnlistedPolicy says what happens with a version that is not in the list.
// +kubebuilder:validation:Enum=Refuse;Allow
type UnlistedPolicy string

// What happens with an unlisted version.
const (
	UnlistedRefuse UnlistedPolicy = "Refuse"
	UnlistedAllow  UnlistedPolicy = "Allow" // allowed where an edge matches, with a warning in the plan
)

// Versions says which versions of the software exist and how they are named.
type Versions struct {
	// Scheme names how versions are compared. Default Numeric.
	// +optional
	Scheme VersionScheme `json:"scheme,omitempty"`
	// Suffix says what text behind the numbers means. Default Refuse. Example: Build for 15.0.0.Final.
	// +optional
	Suffix SuffixMeaning `json:"suffix,omitempty"`
	// Listed are the versions known to work. Hops go through listed versions only.
	// +kubebuilder:validation:MaxItems=512
	Listed []string `json:"listed"`
	// Unlisted says what happens with other versions. Default Refuse.
	// +optional
	Unlisted UnlistedPolicy `json:"unlisted,omitempty"`
	// Image is the container image of a version, a template. Example: "registry.example/etcd:v${version}".
	// +optional
	Image string `json:"image,omitempty"`
	// Program is the program of a version on a machine, a template: a name that is looked up in the
	// program folders and PATH, or an absolute path. Example: "etcd-${version}".
	// +optional
	Program string `json:"program,omitempty"`
}

// Program is one version's program: a file on this machine or a download.
// +kubebuilder:validation:XValidation:rule="has(self.path) != has(self.url)",message="give either path or url"
// +kubebuilder:validation:XValidation:rule="!has(self.url) || has(self.sha256)",message="a url needs its sha256"
type Program struct {
	// Path is the program's absolute path.
	// +optional
	Path string `json:"path,omitempty"`
	// URL is where the program is downloaded from, once. Schemes: https, http, file.
	// +optional
	URL string `json:"url,omitempty"`
	// SHA256 of the file, 64 hexadecimal digits. Required with url, checked with path where given.
	// +optional
	SHA256 string `json:"sha256,omitempty"`
}

// Strategy is the way in which an edge replaces members.
// +kubebuilder:validation:Enum=Rolling;Recreate
type Strategy string

// The strategies.
const (
	Rolling  Strategy = "Rolling"  // one member at a time
	Recreate Strategy = "Recreate" // versions must not mix: all down, then all up
)

// Part is a leading part of a version.
// +kubebuilder:validation:Enum=Major;Minor;Patch
type Part string

// The parts of a version. Within: Minor means that the first two numbers stay.
const (
	Major Part = "Major"
	Minor Part = "Minor"
	Patch Part = "Patch"
)

// BackupRule says whether a hop begins with a backup.
// +kubebuilder:validation:Enum=None;IfPossible;Required
type BackupRule string

// The backup rules.
const (
	BackupNone       BackupRule = "None"
	BackupIfPossible BackupRule = "IfPossible" // taken where the Cluster has a place for it
	BackupRequired   BackupRule = "Required"   // without a place the upgrade is refused
)

// Finalizer says who makes a hop irreversible.
// +kubebuilder:validation:Enum=Nobody;Theseus;WithLastMember
type Finalizer string

// The finalizers.
const (
	// FinalizesNobody: nothing becomes irreversible; the way back stays open.
	FinalizesNobody Finalizer = "Nobody"
	// FinalizesTheseus runs the edge's finalize actions once the hop is verified.
	FinalizesTheseus Finalizer = "Theseus"
	// FinalizesWithLastMember is for software that raises its own feature level when the last member has come.
	FinalizesWithLastMember Finalizer = "WithLastMember"
)

// Edge is one allowed upgrade, from a range of versions to a range of versions.
type Edge struct {
	// From is the range of versions that the edge leaves. Examples: "3.5.x", "3.x", "4.2.0.10", ">=4.0 <4.2".
	From string `json:"from"`
	// To is the range of versions that the edge reaches. Downgrades are never edges.
	To string `json:"to"`
	// Within demands that the leading parts stay. Example: Minor, so that 3.x to 3.x means 3.5.1 to 3.5.4 only.
	// +optional
	Within Part `json:"within,omitempty"`
	// Strategy is the way members are replaced. Default Rolling.
	// +optional
	Strategy Strategy `json:"strategy,omitempty"`
	// Backup says whether the hop begins with a backup. Default IfPossible.
	// +optional
	Backup BackupRule `json:"backup,omitempty"`
	// Finalizes says who makes the hop irreversible. Default Nobody.
	// +optional
	Finalizes Finalizer `json:"finalizes,omitempty"`
	// Finalize are the actions by which Theseus finalizes; needed with finalizes: Theseus.
	// +optional
	Finalize []string `json:"finalize,omitempty"`
	// Finalized is an expression about all members that confirms that the hop is finalized.
	// Example: "all.all(x, x.release.json.etcdcluster.startsWith('3.6.'))".
	// +optional
	Finalized string `json:"finalized,omitempty"`
	// UndoAfter are the actions that make a way back possible after the hop is finalized.
	// Without them there is none.
	// +optional
	UndoAfter []string `json:"undoAfter,omitempty"`
	// Changes are the options that a Cluster may change together with its version on this edge: a member gets the new version and
	// the new options in one replacement, and the old ones when it goes back. Other changes beside a new version are refused.
	// +optional
	Changes []string `json:"changes,omitempty"`
	// Requires are the options that must have a value before the hop begins.
	// +optional
	Requires []string `json:"requires,omitempty"`
	// RecreateVolumes are the components whose members must start with an empty volume, because the new version cannot read
	// the data of the old one; it comes back by replication. One member at a time, and on the way back again.
	// +optional
	RecreateVolumes []string `json:"recreateVolumes,omitempty"`
	// Moves are the components whose StatefulSet has another name from the edge on. Only members of a StatefulSet that was adopted
	// in mode Version move; those that Theseus made have names without a version, and are replaced as ever.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=component
	// +optional
	Moves []Move `json:"moves,omitempty"`
	// Needs are the named rules that must hold before the first disruption of the hop.
	// +optional
	Needs []string `json:"needs,omitempty"`
	// Before and After are hooks around the whole hop.
	// +optional
	Before []Hook `json:"before,omitempty"`
	// +optional
	After []Hook `json:"after,omitempty"`
	// Verify are rules that must hold once all members are replaced. A rule that does not
	// hold in time rolls the hop back.
	// +optional
	Verify []Rule `json:"verify,omitempty"`
	// Note is shown in the plan. Example: "clients older than 3.4 cannot connect any more".
	// +optional
	Note string `json:"note,omitempty"`
}

// Move is how the members of a component get from a StatefulSet to one with another name: the new one grows, then the old one shrinks,
// until nobody is left in it. On the way back the two are exchanged.
type Move struct {
	// Component whose members move.
	Component string `json:"component"`
	// To is the name of the new StatefulSet, a template of cluster, from, version and options. Example: "${cluster}-pravega-segment-store".
	// +kubebuilder:validation:MinLength=1
	To string `json:"to"`
	// By is how many members are in both at most at a time. Default 1.
	// +kubebuilder:validation:Minimum=1
	// +optional
	By *int32 `json:"by,omitempty"`
	// Env are variables of the member's environment that the new StatefulSet gets as the System says them, with the options of the new
	// version. Everything else of its pod template is that of the old one.
	// +listType=set
	// +optional
	Env []string `json:"env,omitempty"`
	// Claims says what becomes of the volumes of a StatefulSet that its members have left: Keep or Delete. Default Keep.
	// +optional
	Claims ClaimRule `json:"claims,omitempty"`
}

// ClaimRule says what becomes of the volume claims of a StatefulSet that is removed.
// +kubebuilder:validation:Enum=Keep;Delete
type ClaimRule string

// The rules for claims.
const (
	KeepClaims ClaimRule = "Keep"
	// DeleteClaims is for volumes that hold nothing which is not elsewhere: a cache.
	DeleteClaims ClaimRule = "Delete"
)

// Component is a sort of members: one program with its questions and rules.
type Component struct {
	// Name of the component. Example: etcd.
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=30
	Name string `json:"name"`
	// Replicas is the number of members where the Cluster does not say. Default 1.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// Ports by name. Questions name them: ":client/health".
	Ports map[string]int32 `json:"ports,omitempty"`
	// Start is the command line of a member, templates. The first word is replaced by the version's program.
	Start []string `json:"start"`
	// Env are variables of a member's environment, templates.
	// +optional
	Env map[string]string `json:"env,omitempty"`
	// Program overrides versions.program for this component.
	// +optional
	Program string `json:"program,omitempty"`
	// Stop says how a member is asked to end. Default: SIGTERM and 30s.
	// +optional
	Stop *Stop `json:"stop,omitempty"`
	// Image overrides versions.image for this component, a template.
	// +optional
	Image string `json:"image,omitempty"`
	// Workload is what runs the members in Kubernetes. Default StatefulSet.
	// +optional
	Workload Workload `json:"workload,omitempty"`
	// Pod is laid over the pod template in Kubernetes, as a strategic merge patch. The container of the member is called like its
	// component. Texts are templates that speak of cluster, version and options; what has come out empty is left out.
	// Example: {spec: {containers: [{name: etcd, readinessProbe: {httpGet: {path: /health, port: client}}}]}}.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +optional
	Pod *runtime.RawExtension `json:"pod,omitempty"`
	// Ask are the questions put to every member, once per look.
	Ask map[string]Question `json:"ask,omitempty"`
	// Ready is an expression: is the member ready to serve?
	Ready string `json:"ready"`
	// Version is an expression: the version that the member says it runs.
	Version string `json:"version"`
	// Role is an expression: the member's role, one of roles. Default: no roles.
	// +optional
	Role string `json:"role,omitempty"`
	// Roles in the order in which their holders are replaced; the last is the leader.
	// +optional
	// +listType=map
	// +listMapKey=name
	Roles []Role `json:"roles,omitempty"`
	// Settled are the rules that say that the group has finished what the last change set off.
	// +optional
	Settled []Rule `json:"settled,omitempty"`
	// Soak is how long a replaced member must stay ready before the next one goes, unless the Cluster says more. Default 5s.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="write a time as 5s or 10m, or 0s for none"
	// +optional
	Soak *metav1.Duration `json:"soak,omitempty"`
	// Drain is done to a member before it is stopped, so that it stops taking work.
	// +optional
	Drain *Hook `json:"drain,omitempty"`
	// Before and After are hooks around the replacement of each member.
	// +optional
	Before []Hook `json:"before,omitempty"`
	// +optional
	After []Hook `json:"after,omitempty"`
	// NeedsFirst is set for a component that cannot become ready without the one before it; it is then
	// also rolled back after it, in forward order.
	// +optional
	NeedsFirst bool `json:"needsFirst,omitempty"`
	// NeedsFirstAlone is as needsFirst, but only where the component before it has one member.
	// +optional
	NeedsFirstAlone bool `json:"needsFirstAlone,omitempty"`
}

// Workload is a kind of Kubernetes object that makes pods.
// +kubebuilder:validation:Enum=StatefulSet;Deployment
type Workload string

// The workloads.
const (
	// WorkloadStatefulSet has members with names, addresses and volumes of their own, replaced one by one.
	WorkloadStatefulSet Workload = "StatefulSet"
	// WorkloadDeployment has members that keep nothing, replaced by Kubernetes as it does.
	WorkloadDeployment Workload = "Deployment"
)

// Stop says how a member is asked to end.
type Stop struct {
	// Signal sent first. Default SIGTERM.
	// +optional
	Signal string `json:"signal,omitempty"`
	// Grace is how long the member may take before it is killed. Default 30s.
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="write a positive time as 30s or 10m"
	// +optional
	Grace *metav1.Duration `json:"grace,omitempty"`
}

// Role is a role that a member can have.
type Role struct {
	// Name of the role. Example: leader.
	Name string `json:"name"`
	// Handover gives the role to another member before its holder is replaced. It is confirmed by
	// asking: the holder must have another role. The action sees the receiver as "to".
	// +optional
	Handover *Action `json:"handover,omitempty"`
	// HandoverOnlyTo is an expression about to: may it take over? Default: any ready member of another role.
	// +optional
	HandoverOnlyTo string `json:"handoverOnlyTo,omitempty"`
}

// Format is how the text of an answer is read.
// +kubebuilder:validation:Enum=Text;JSON;Prometheus
type Format string

// The formats. Text gives .text; JSON gives .json and .text; Prometheus gives each metric by
// its name, summed over its label sets.
const (
	FormatText       Format = "Text"
	FormatJSON       Format = "JSON"
	FormatPrometheus Format = "Prometheus"
)

// Call is one way to speak to a member. Exactly one of get, post, put, grpcHealth, tcp, run and signal is given.
type Call struct {
	// Get is a URL or ":PORT/path", asked by HTTP GET. The port is named. Example: ":client/health".
	// +optional
	Get string `json:"get,omitempty"`
	// Post is the same by HTTP POST with body.
	// +optional
	Post string `json:"post,omitempty"`
	// Put is the same by HTTP PUT with body.
	// +optional
	Put string `json:"put,omitempty"`
	// Body of a post or put, a template.
	// +optional
	Body string `json:"body,omitempty"`
	// Headers of an HTTP call, templates. Secrets do not belong here: see credentials.
	// +optional
	Headers map[string]string `json:"headers,omitempty"`
	// Credentials names an entry of the Cluster's credentials, sent as HTTP basic or bearer authorization.
	// +optional
	Credentials string `json:"credentials,omitempty"`
	// GRPCHealth asks the standard gRPC health service.
	// +optional
	GRPCHealth *GRPCHealth `json:"grpcHealth,omitempty"`
	// TCP opens a connection, sends and expects text.
	// +optional
	TCP *TCP `json:"tcp,omitempty"`
	// Run starts a program with these arguments, templates. No shell.
	// +optional
	Run []string `json:"run,omitempty"`
	// Env are variables for run, templates.
	// +optional
	Env map[string]string `json:"env,omitempty"`
	// Signal is sent to the member's process. Example: SIGHUP. Actions only.
	// +optional
	Signal string `json:"signal,omitempty"`
}

// GRPCHealth asks grpc.health.v1.Health/Check.
type GRPCHealth struct {
	// Port by name.
	Port string `json:"port"`
	// Service asked about. Default: the server as a whole.
	// +optional
	Service string `json:"service,omitempty"`
}

// TCP is a conversation of one line each way.
type TCP struct {
	// Port by name.
	Port string `json:"port"`
	// Send is written after connecting, a template. Example: "PING\r\n".
	// +optional
	Send string `json:"send,omitempty"`
	// Expect is a regular expression that the reply must match before the time is up. Example: "^\\+PONG".
	// +optional
	Expect string `json:"expect,omitempty"`
}

// Question is something asked of a member. Its answer is bounded in time and size; no answer is unknown.
type Question struct {
	Call `json:",inline"`
	// As is how the answer is read. Default: JSON for get, post and put, else Text.
	// +optional
	As Format `json:"as,omitempty"`
	// Timeout of the question. Default 2s, at most 30s.
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="write a positive time as 500ms, 30s or 10m"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// OnUnknown says what to do when it is not known whether an action happened.
// +kubebuilder:validation:Enum=Repeat;Stop
type OnUnknown string

// What to do with an unknown outcome.
const (
	RepeatOnUnknown OnUnknown = "Repeat" // doing it twice does no harm
	StopOnUnknown   OnUnknown = "Stop"   // a person must look
)

// Where says on which members an action is done.
// +kubebuilder:validation:Enum=Member;Others;Any;Each;Leader
type Where string

// Where an action is done.
const (
	OnMember Where = "Member" // on the member in hand
	OnOthers Where = "Others" // on every other ready member of the component
	OnAny    Where = "Any"    // on one ready member
	OnEach   Where = "Each"   // on every ready member of the component
	OnLeader Where = "Leader" // on the ready member that holds the last role
)

// Action is something done to one or more members.
type Action struct {
	Call `json:",inline"`
	// Where says on which members. Default Member where a member is in hand, else Any. (Not "on": YAML 1.1 reads that as true.)
	// +optional
	Where Where `json:"where,omitempty"`
	// Component whose members are meant, where no member is in hand. Default: the first.
	// +optional
	Component string `json:"component,omitempty"`
	// Expect is an expression over reply (status, json, text) that says that the action worked.
	// Default: HTTP status 2xx, or exit code 0.
	// +optional
	Expect string `json:"expect,omitempty"`
	// Times that the call is made by one run of the action. Default 1.
	// +kubebuilder:validation:Maximum=100000
	// +optional
	Times int32 `json:"times,omitempty"`
	// Parallel calls at once when times is more than one. Default 1, at most 64.
	// +kubebuilder:validation:Maximum=64
	// +optional
	Parallel int32 `json:"parallel,omitempty"`
	// Timeout of one run of the action. Required for hooks; elsewhere default 30s.
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="write a positive time as 500ms, 30s or 10m"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// OnUnknown says what to do when the outcome is unknown. Default Stop; Repeat for handovers and bring.
	// +optional
	OnUnknown OnUnknown `json:"onUnknown,omitempty"`
	// Job has the program of run started by a Kubernetes Job, in a pod of its own, and not in the member's container. Its name is fixed, so that
	// each run has one at most. On a machine every run is a process of its own, and this changes nothing.
	// +optional
	Job *ActionJob `json:"job,omitempty"`
}

// ActionJob is the pod in which the program of an action runs.
type ActionJob struct {
	// Image in which the program is, a template. Default: that of the member. Example: "registry.example/tools:${version}".
	// +optional
	Image string `json:"image,omitempty"`
}

// HookFailure says what a failed hook does.
// +kubebuilder:validation:Enum=Pause;Warn
type HookFailure string

// What a failed hook does.
const (
	HookPauses HookFailure = "Pause"
	HookWarns  HookFailure = "Warn"
)

// Hook is an action at a place in the plan.
type Hook struct {
	// Name of the hook, unique in its list. Example: tip-clear.
	Name   string `json:"name"`
	Action `json:",inline"`
	// OnFailure says what a failed hook does, after its retries. Default Pause.
	// +optional
	OnFailure HookFailure `json:"onFailure,omitempty"`
	// Retries after a known failure. Default 2.
	// +optional
	Retries *int32 `json:"retries,omitempty"`
}

// Rule is something that must hold, with a name that waits and overrides use.
type Rule struct {
	// Rule is the name. Example: "one leader". Names of needs are their keys.
	// +optional
	Rule string `json:"rule,omitempty"`
	// Is is an expression. It is asked of each member where it speaks of m, else once.
	Is string `json:"is"`
	// Left is an expression: how much is left to do, a number. Less left counts as progress.
	// +optional
	Left string `json:"left,omitempty"`
	// Bring is an action that brings the rule about; it is repeated until the rule holds.
	// +optional
	Bring *Action `json:"bring,omitempty"`
	// Component whose members the rule speaks of, in needs and verify. Default: the first.
	// +optional
	Component string `json:"component,omitempty"`
}

// BackupMethod says how a backup of the whole cluster is taken.
type BackupMethod struct {
	// Run starts a program with these arguments, templates, with the values of the member asked. What it writes to
	// stdout is the backup, unless an argument speaks of ${out}: then it is the files in that folder.
	Run []string `json:"run"`
	// Env are variables for run and check, templates.
	// +optional
	Env map[string]string `json:"env,omitempty"`
	// Check is a program that proves the backup, with ${out} or ${file}. Exit code 0 proves it.
	// +optional
	Check []string `json:"check,omitempty"`
	// Where says which member is asked. Default Any; Leader is possible too.
	// +optional
	Where Where `json:"where,omitempty"`
	// Component that is asked. Default: the first.
	// +optional
	Component string `json:"component,omitempty"`
	// Timeout of run and of check. Default 10m.
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="write a positive time as 500ms, 30s or 10m"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// RestoreInto says what the program of a restore writes into.
// +kubebuilder:validation:Enum=Folders;Members
type RestoreInto string

// What the program of a restore writes into.
const (
	IntoFolders RestoreInto = "Folders" // the data folder of each member, before its first start
	IntoMembers RestoreInto = "Members" // members that run: a program that is a client of theirs, as asrestore is
)

// RestoreMethod says how the data of a backup gets into a new cluster.
type RestoreMethod struct {
	// Into says what run writes into. Folders: the data folder of each member, before its first start. Members: members that run; the new
	// cluster starts empty, and is not complete before run has ended. Default Folders.
	// +optional
	Into RestoreInto `json:"into,omitempty"`
	// Run is a program with its arguments, templates, with ${file} or ${out}. Into Folders it is started once for each member, with ${m.data}. Into
	// Members it is started once, at most, when all members are ready for the first time, with the values of one of them.
	Run []string `json:"run"`
	// Env are variables for run, templates.
	// +optional
	Env map[string]string `json:"env,omitempty"`
	// Component whose members are restored, or whose member is written to; those of others start empty. Default: the first.
	// +optional
	Component string `json:"component,omitempty"`
	// Timeout for each member, or for the one that is written to. Default 10m.
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="write a positive time as 500ms, 30s or 10m"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Option is a value that a Cluster may set.
type Option struct {
	// Description says what it does.
	Description string `json:"description,omitempty"`
	// Default where the Cluster does not set it.
	// +optional
	Default string `json:"default,omitempty"`
	// Pattern is a regular expression that the whole value must match.
	// +optional
	Pattern string `json:"pattern,omitempty"`
	// Fixed is set for an option that cannot change any more once the cluster was created.
	// +optional
	Fixed bool `json:"fixed,omitempty"`
	// From and later the option exists, a version. Example: "3.6".
	// +optional
	Since string `json:"since,omitempty"`
}

// OptionRule is something that the options of a Cluster must or should keep.
type OptionRule struct {
	// Rule is the name. Example: "memory of the segment store".
	Rule string `json:"rule"`
	// Versions are those that the rule counts for, a range. Default: all. Example: ">=0.7".
	// +optional
	Versions string `json:"versions,omitempty"`
	// Is is an expression over options, version and replicas (numbers of members by component) that must be true.
	// Example: "jvmSize(options.heap) + jvmSize(options.direct) <= quantity(options.memory)".
	Is string `json:"is"`
	// Remedy says what to do where it is not. Example: "raise memory, or lower heap or direct".
	Remedy string `json:"remedy"`
	// Warn is set for a rule that is only warned of where it is broken. Default false: it is refused.
	// +optional
	Warn bool `json:"warn,omitempty"`
}
