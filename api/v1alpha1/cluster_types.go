package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Cluster is one running instance of a System. Changing spec.version starts an upgrade; what it does, and what it waits for, is in the status.
//
// +kubebuilder:object:root=true
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 40",message="the name is longer than 40 characters: pods, volumes and backups are named by it"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="the name is no DNS label: use small letters, digits and dashes, and begin with a letter"
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=thc
// +kubebuilder:printcolumn:name="VERSION",type=string,JSONPath=`.status.currentVersion`
// +kubebuilder:printcolumn:name="DESIRED VERSION",type=string,JSONPath=`.spec.version`
// +kubebuilder:printcolumn:name="DESIRED MEMBERS",type=integer,JSONPath=`.status.replicas`
// +kubebuilder:printcolumn:name="READY MEMBERS",type=integer,JSONPath=`.status.readyReplicas`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="PROGRESS",type=string,JSONPath=`.status.conditions[?(@.type=="Upgrading")].message`,priority=1
// +kubebuilder:printcolumn:name="STALLED",type=string,JSONPath=`.status.conditions[?(@.type=="Stalled")].message`,priority=1
type Cluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What may never change is said here and not where the fields are, because the status has copies of a spec.

	// Spec is what you want.
	// +kubebuilder:validation:XValidation:rule="self.system == oldSelf.system",message="spec.system cannot change: make another Cluster",fieldPath=".system"
	// +kubebuilder:validation:XValidation:rule="!has(self.components) || !has(oldSelf.components) || self.components.all(n, !(n in oldSelf.components) || (has(self.components[n].storage) ? self.components[n].storage : '') == (has(oldSelf.components[n].storage) ? oldSelf.components[n].storage : ''))",message="the storage of a component cannot change: the volumes of a StatefulSet stay as they were made",fieldPath=".components"
	// +kubebuilder:validation:XValidation:rule="!has(self.components) || !has(oldSelf.components) || self.components.all(n, !(n in oldSelf.components) || (has(self.components[n].storageClass) ? self.components[n].storageClass : '') == (has(oldSelf.components[n].storageClass) ? oldSelf.components[n].storageClass : ''))",message="the storageClass of a component cannot change: the volumes of a StatefulSet stay as they were made",fieldPath=".components"
	// +kubebuilder:validation:XValidation:rule="(!has(self.components) || self.components.all(n, !has(self.components[n].adopt) || (has(oldSelf.components) && n in oldSelf.components && has(oldSelf.components[n].adopt)))) && (!has(oldSelf.components) || oldSelf.components.all(n, !has(oldSelf.components[n].adopt) || (has(self.components) && n in self.components && has(self.components[n].adopt))))",message="adopt can neither be added nor taken away: delete the Cluster, which leaves an adopted StatefulSet and its pods alone, and make it anew",fieldPath=".components"
	// +kubebuilder:validation:XValidation:rule="!has(self.components) || !has(oldSelf.components) || self.components.all(n, !(n in oldSelf.components) || !has(self.components[n].adopt) || !has(oldSelf.components[n].adopt) || (self.components[n].adopt.statefulSet == oldSelf.components[n].adopt.statefulSet && self.components[n].adopt.mode == oldSelf.components[n].adopt.mode && (has(self.components[n].adopt.container) ? self.components[n].adopt.container : '') == (has(oldSelf.components[n].adopt.container) ? oldSelf.components[n].adopt.container : '')))",message="of adopt only allow can change: delete the Cluster, which leaves the StatefulSet and its pods alone, and make it anew",fieldPath=".components"
	Spec ClusterSpec `json:"spec"`
	// Status is what Theseus knows, does, and waits for. Only Theseus writes it.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status ClusterStatus `json:"status,omitempty"`
}

// ClusterList is a list of Clusters.
//
// +kubebuilder:object:root=true
type ClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Cluster `json:"items"`
}

// ClusterSpec is what a person wants. Theseus never writes it.
type ClusterSpec struct {
	// System is the name of a System that is shipped or known, or the path of a file beside this one. It cannot change. Example: etcd.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self != ''",message="spec.system is empty: name a System, as etcd"
	System string `json:"system"`
	// Version that the members shall run. Changing it starts the upgrade, alone or together with upgrade. Setting it back while the upgrade
	// runs takes it back. Example: 3.6.16.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self != ''",message="spec.version is empty: say which version the members shall run"
	Version string `json:"version"`
	// Components by name: how many members, and what is special about them here.
	// +kubebuilder:validation:MaxProperties=16
	// +optional
	Components map[string]ComponentSpec `json:"components,omitempty"`
	// Options set values that the System declares.
	// +optional
	Options map[string]string `json:"options,omitempty"`
	// Programs says where the programs of versions are, for those that are not in a program folder.
	// +optional
	Programs map[string]Program `json:"programs,omitempty"`
	// Backup is the place for backups. An edge may require one.
	// +optional
	Backup *BackupPlace `json:"backup,omitempty"`
	// Credentials by name, for questions and actions that refer to them.
	// +optional
	Credentials map[string]Credentials `json:"credentials,omitempty"`
	// Upgrade is the policy; it can be edited at any time.
	// +optional
	Upgrade UpgradePolicy `json:"upgrade,omitempty"`
}

// ComponentSpec is what is special about a component in this cluster.
type ComponentSpec struct {
	// Replicas is the number of members. Default: the System's.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=99
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// Storage is the size of each member's volume in Kubernetes. It cannot change. Default: no volume, the data go with the pod. Example: 1Gi.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Storage string `json:"storage,omitempty"`
	// Image overrides the System's in Kubernetes, a template. Example: "registry.example/etcd:v${version}".
	// +optional
	Image string `json:"image,omitempty"`
	// StorageClass of these volumes. It cannot change. Default: that of Kubernetes. Example: fast.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClass string `json:"storageClass,omitempty"`
	// Pod is laid over the pod template in Kubernetes, after the System's: resources, node selector, environment, volumes with
	// secrets. A strategic merge patch; the container is called like the component. Changing it is a rolling restart.
	// Example: {spec: {containers: [{name: etcd, resources: {requests: {memory: 1Gi}}}]}}.
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +optional
	Pod *runtime.RawExtension `json:"pod,omitempty"`
	// Adopt takes over a StatefulSet that something else made in Kubernetes, instead of making one. It can neither be added nor taken away later.
	// +optional
	Adopt *Adopt `json:"adopt,omitempty"`
	// Addresses of the members on this machine, one each. Default: loopback addresses of their own.
	// +optional
	Addresses []string `json:"addresses,omitempty"`
	// Args are added to the end of the System's start command, templates.
	// +optional
	Args []string `json:"args,omitempty"`
	// Env is added to the System's environment, templates.
	// +optional
	Env map[string]string `json:"env,omitempty"`
	// TLS by port name: that port speaks TLS with these files.
	// +optional
	TLS map[string]TLSFiles `json:"tls,omitempty"`
}

// TLSFiles names the files for a port that speaks TLS. Absolute paths, templates, so that a member can
// have files of its own: "/etc/kv/${m.name}.pem". Their content is never in a status, a log or a journal.
type TLSFiles struct {
	// CA that signed the server's certificate.
	CA string `json:"ca"`
	// Cert and Key that Theseus shows as a client.
	// +optional
	Cert string `json:"cert,omitempty"`
	// +optional
	Key string `json:"key,omitempty"`
	// ServerCert and ServerKey are what the member serves with; templates read them as m.tls.PORT.serverCert. Default: cert and key.
	// +optional
	ServerCert string `json:"serverCert,omitempty"`
	// +optional
	ServerKey string `json:"serverKey,omitempty"`
	// ServerName expected in the certificate. Default: the member's address.
	// +optional
	ServerName string `json:"serverName,omitempty"`
	// Secret in the namespace of the Cluster with what Theseus uses in Kubernetes, where the other files are those of the pods: ca.crt, and if a client shows
	// a certificate tls.crt and tls.key. It is read when members are asked, so that a new value is taken at once. Example: kv-client.
	// +optional
	Secret string `json:"secret,omitempty"`
}

// Credentials for HTTP: basic with username and passwordFile, bearer with tokenFile.
type Credentials struct {
	// Username for basic authorization.
	// +optional
	Username string `json:"username,omitempty"`
	// PasswordFile holds the password, an absolute path.
	// +optional
	PasswordFile string `json:"passwordFile,omitempty"`
	// TokenFile holds the token for bearer authorization, an absolute path.
	// +optional
	TokenFile string `json:"tokenFile,omitempty"`
	// Secret whose key holds, in Kubernetes, the password of username, or without one the token. It is read when members are asked, so that a new value is
	// taken at once.
	// +optional
	Secret *SecretKey `json:"secret,omitempty"`
}

// BackupPlace is where backups go.
// +kubebuilder:validation:XValidation:rule="!has(self.claim) || size(self.claim) == 0 || self.url.startsWith('file://')",message="a claim is only for a place of the scheme file: leave it away, or write the url as file:///PATH",fieldPath=".claim"
type BackupPlace struct {
	// URL of the place. Schemes: file, s3, gs, azblob. Examples: file:///var/backups/kv, s3://bucket/kv.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z][a-z0-9+.-]*://.+')",message="the url of a place begins with its scheme: write it as s3://BUCKET/PATH or file:///PATH"
	URL string `json:"url"`
	// Secret with the credentials for the place, in Kubernetes.
	// +optional
	Secret *SecretKey `json:"secret,omitempty"`
	// Claim is the PersistentVolumeClaim, in the Cluster's namespace, that holds a place of the scheme file in Kubernetes. It is
	// mounted where the URL says.
	// +optional
	Claim string `json:"claim,omitempty"`
}

// SecretKey names one key of a secret.
type SecretKey struct {
	// Name of the secret. Example: s3.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Namespace of the secret. Default: that of the object that refers to it. Another one needs a grant there: the annotation
	// theseus.dev/granted-to on the secret, with the names of namespaces and commas between them.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Key in the secret whose value is read. Default key.json.
	// +optional
	Key string `json:"key,omitempty"`
}

// OnFailure says what a failed attempt does.
// +kubebuilder:validation:Enum=Rollback;Pause
type OnFailure string

// What a failed attempt does.
const (
	FailureRollsBack OnFailure = "Rollback"
	FailurePauses    OnFailure = "Pause"
)

// Approval says whether something waits for a person.
// +kubebuilder:validation:Enum=Automatic;Manual
type Approval string

// Who lets a hop be finalized.
const (
	Automatic Approval = "Automatic"
	Manual    Approval = "Manual"
)

// EditPolicy says what happens with edits that must not come while an attempt runs.
// +kubebuilder:validation:Enum=Refuse;Defer
type EditPolicy string

// What happens with such edits.
const (
	EditsRefused  EditPolicy = "Refuse"
	EditsDeferred EditPolicy = "Defer"
)

// UpgradePolicy is how upgrades are done here. It may be edited while one runs.
type UpgradePolicy struct {
	// OnFailure says what a failed attempt does. Default Rollback.
	// +optional
	OnFailure OnFailure `json:"onFailure,omitempty"`
	// MaxUnavailable is the number of members of a component that may be unavailable at once. Default 1.
	// +kubebuilder:validation:Minimum=1
	// +optional
	MaxUnavailable int32 `json:"maxUnavailable,omitempty"`
	// Soak is how long a replaced member must stay ready before the next one goes. Default: the System's.
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9.]+(h|m|s|ms|us|µs|ns)|0)+$') && duration(self) >= duration('0s')",message="soak is no time, or a negative one: write it as 30s, 10m or 1h30m"
	// +optional
	Soak *metav1.Duration `json:"soak,omitempty"`
	// ProgressDeadline is how long nothing may get better before the attempt fails. Time in which Theseus is not running or
	// the attempt is paused does not count. Default 10m.
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9.]+(h|m|s|ms|us|µs|ns)|0)+$') && duration(self) >= duration('1s')",message="progressDeadline is no time of at least 1s: write it as 90s, 10m or 1h30m"
	// +optional
	ProgressDeadline *metav1.Duration `json:"progressDeadline,omitempty"`
	// Finalize says whether the last hop is made irreversible at once or waits for a person. Default Automatic.
	// +optional
	Finalize Approval `json:"finalize,omitempty"`
	// BackupTTL is how long a backup that an upgrade took is kept, in Kubernetes; then what is stored is deleted. It is the ttl of the Backups that are
	// made from now on. Default: for ever. Example: 2160h.
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9.]+(h|m|s|ms|us|µs|ns)|0)+$') && duration(self) >= duration('1m')",message="backupTTL is no time of at least 1m: write it as 2160h for 90 days (there is no unit for days), or leave it away to keep what is stored for ever"
	// +optional
	BackupTTL *metav1.Duration `json:"backupTTL,omitempty"`
	// PauseAfter pauses the attempt once after so many replaced members: a canary. Default 0: never. Example: 1.
	// +kubebuilder:validation:Minimum=0
	// +optional
	PauseAfter int32 `json:"pauseAfter,omitempty"`
	// AllowDowntime lets a group of one be replaced, and its leader without a handover. Default false.
	// +optional
	AllowDowntime bool `json:"allowDowntime,omitempty"`
	// Edits says what happens with other edits while an attempt runs. Default Refuse.
	// +optional
	Edits EditPolicy `json:"edits,omitempty"`
}

// MemberNames are members by readiness, and what they say of themselves.
type MemberNames struct {
	// Ready are the members that are ready to serve.
	// +optional
	Ready []string `json:"ready,omitempty"`
	// Unready are the others.
	// +optional
	Unready []string `json:"unready,omitempty"`
	// Said is what each member last said of itself. One that does not answer is not among them.
	// +optional
	// +listType=map
	// +listMapKey=name
	Said []MemberSaid `json:"said,omitempty"`
}

// MemberSaid is what a member says of itself, as the System's expressions read its answers.
type MemberSaid struct {
	// Name of the member. Example: kv-etcd-0.
	Name string `json:"name"`
	// Version that it runs.
	// +optional
	Version string `json:"version,omitempty"`
	// Role that it has now, such as leader.
	// +optional
	Role string `json:"role,omitempty"`
}
