package admission

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// store is the System of most Clusters here.
const store = `
apiVersion: theseus.dev/v1alpha1
kind: System
metadata: {name: store}
versions: {listed: [3.5.0, 3.5.1, 3.6.0, 3.6.1, 3.7.0, 4.0.0], program: "store-${version}", image: "registry.example/store:${version}"}
edges:
- {from: 3.x, to: 3.x, within: Minor}
- {from: 3.5.x, to: 3.6.x}
- {from: 3.6.x, to: 3.7.x, backup: Required}
components:
- {name: store, replicas: 3, ports: {client: 1}, start: [store], ask: {h: {get: ":client/"}}, ready: m.h.json.ok, version: m.h.json.version}
- {name: proxy, replicas: 2, ports: {client: 1}, start: [proxy], ask: {h: {get: ":client/"}}, ready: m.h.json.ok, version: m.h.json.version}
options: {quota: {pattern: "[0-9]+"}, color: {}}
backup: {run: [dump]}
restore: {run: [load]}
`

// compiled keeps Systems by text: every row wants one.
var compiled = map[string]*system.System{}

func compile(t testing.TB, text string) *system.System {
	t.Helper()
	if s := compiled[text]; s != nil {
		return s
	}
	object := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Fatal(err)
	}
	s, err := system.Compile(object)
	if err != nil {
		t.Fatal(err)
	}
	compiled[text] = s
	return s
}

type specs = v1alpha1.ClusterSpec

// kv is a Cluster that nothing is wrong with, with changes.
func kv(changes ...func(*specs)) *v1alpha1.Cluster {
	c := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "kv"}}
	c.Spec = specs{System: "store", Version: "3.6.0", Components: map[string]v1alpha1.ComponentSpec{"store": {Storage: "1Gi", StorageClass: "fast"}},
		Options: map[string]string{"quota": "1"}}
	for _, change := range changes {
		if change != nil {
			change(&c.Spec)
		}
	}
	return c
}

func all(changes ...func(*specs)) func(*specs) {
	return func(s *specs) {
		for _, change := range changes {
			change(s)
		}
	}
}

func version(v string) func(*specs) { return func(s *specs) { s.Version = v } }

func option(name, value string) func(*specs) {
	return func(s *specs) { s.Options = map[string]string{"quota": "1", name: value} }
}

func store1(change func(*v1alpha1.ComponentSpec)) func(*specs) {
	return func(s *specs) {
		c := s.Components["store"]
		change(&c)
		s.Components = map[string]v1alpha1.ComponentSpec{"store": c}
	}
}

func replicas(n int32) func(*specs) {
	return store1(func(c *v1alpha1.ComponentSpec) { c.Replicas = &n })
}

func upgrades(change func(*v1alpha1.UpgradePolicy)) func(*specs) {
	return func(s *specs) { change(&s.Upgrade) }
}

func deferred(s *specs) { s.Upgrade.Edits = v1alpha1.EditsDeferred }

func negative(s *specs) { s.Upgrade.Soak = &metav1.Duration{Duration: -time.Second} }

func pauses(s *specs) { s.Upgrade.OnFailure = v1alpha1.FailurePauses }

func s3(s *specs) {
	s.Backup = &v1alpha1.BackupPlace{URL: "s3://bucket/kv", Secret: &v1alpha1.SecretKey{Name: "cloud"}}
}

func elsewhere(s *specs) { s3(s); s.Backup.Secret.Namespace = "ops" }

func login(namespace, key string) func(*specs) {
	return func(s *specs) {
		s.Credentials = map[string]v1alpha1.Credentials{"root": {Username: "root", Secret: &v1alpha1.SecretKey{Namespace: namespace, Name: "login", Key: key}}}
	}
}

// certified has members that are asked with the certificates of a secret.
func certified(secret string) func(*specs) {
	return store1(func(c *v1alpha1.ComponentSpec) {
		c.TLS = map[string]v1alpha1.TLSFiles{"client": {CA: "/tls/ca.crt", Cert: "/tls/tls.crt", Key: "/tls/tls.key", Secret: secret}}
	})
}

func at(name string) types.NamespacedName {
	namespace, name, _ := strings.Cut(name, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func files(claim string) func(*specs) {
	return func(s *specs) {
		s.Backup = &v1alpha1.BackupPlace{URL: "file:///backups", Claim: claim}
	}
}

// applied is a status of a Cluster that runs what the changes say.
func applied(t testing.TB, changes ...func(*specs)) func(*v1alpha1.ClusterStatus) {
	sys := compile(t, store)
	return func(st *v1alpha1.ClusterStatus) {
		st.Applied = &v1alpha1.Pinned{Spec: kv(changes...).Spec, System: v1alpha1.SystemRef{Name: sys.Name(), Hash: sys.Hash()}}
		st.ReadyReplicas = 5
	}
}

// attempt is a status in which an upgrade from 3.6.0 to a version runs.
func attempt(t testing.TB, to string, disrupted bool) func(*v1alpha1.ClusterStatus) {
	return func(st *v1alpha1.ClusterStatus) {
		applied(t, s3)(st)
		target := *st.Applied.DeepCopy()
		target.Spec.Version = to
		st.Attempt = &v1alpha1.Attempt{ID: 1, Kind: v1alpha1.AttemptUpgrade, Phase: v1alpha1.PhaseRunning, From: "3.6.0", To: to, Base: st.Applied.DeepCopy(),
			Target: target, Hops: []v1alpha1.HopStatus{{From: "3.6.0", To: to, Edge: 2}}, Disrupted: disrupted}
	}
}

// loading is a status in which a restore writes into members that run what the changes say.
func loading(t testing.TB, changes ...func(*specs)) func(*v1alpha1.ClusterStatus) {
	return func(st *v1alpha1.ClusterStatus) {
		applied(t, changes...)(st)
		st.Loading = &v1alpha1.Loading{Restore: "r"}
	}
}

// first is a status in which the first members are started at 3.6.0, and came so far.
func first(t testing.TB, ran, served bool) func(*v1alpha1.ClusterStatus) {
	return func(st *v1alpha1.ClusterStatus) {
		applied(t)(st)
		var wrote []string
		if ran {
			wrote = []string{"3.6.0"}
		}
		st.Attempt = &v1alpha1.Attempt{ID: 1, Kind: v1alpha1.AttemptCreate, Phase: v1alpha1.PhasePaused, Resume: v1alpha1.PhaseRunning, To: "3.6.0", Target: *st.Applied,
			Hops: []v1alpha1.HopStatus{{From: "3.6.0", To: "3.6.0", Edge: -1}}, Failure: &v1alpha1.Failure{}, Wrote: wrote, Served: served}
		st.Applied, st.ReadyReplicas = nil, 0
	}
}

// takes is a Cluster that adopts StatefulSet old for its component store.
func takes(mode v1alpha1.AdoptMode, changes ...func(*v1alpha1.ComponentSpec)) func(*specs) {
	return func(s *specs) {
		c := v1alpha1.ComponentSpec{Adopt: &v1alpha1.Adopt{StatefulSet: "old", Mode: mode}}
		for _, change := range changes {
			change(&c)
		}
		s.Components = map[string]v1alpha1.ComponentSpec{"store": c}
	}
}

func consents(c *v1alpha1.ComponentSpec) {
	a := *c.Adopt
	a.Allow = []v1alpha1.AdoptConsent{v1alpha1.TakeImage}
	c.Adopt = &a
}

func container(name string) func(*v1alpha1.ComponentSpec) {
	return func(c *v1alpha1.ComponentSpec) { c.Adopt.Container = name }
}

// old is the StatefulSet that is adopted here, with changes.
func oldSet(change func(*appsv1.StatefulSet)) func(*ClusterFacts) {
	return func(f *ClusterFacts) {
		set := f.Adopted["store"].Value.DeepCopy()
		change(set)
		f.Adopted = map[string]AdoptedFacts{"store": {Value: set}}
	}
}

// writtenBy says who wrote the image of the StatefulSet that is adopted, and another field each.
func writtenBy(managers ...string) func(*ClusterFacts) {
	return oldSet(func(s *appsv1.StatefulSet) {
		s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "somebody", FieldsV1: metav1.NewFieldsV1(`{"f:spec": {"f:replicas": {}}}`)}}
		for _, m := range managers {
			s.ManagedFields = append(s.ManagedFields, metav1.ManagedFieldsEntry{Manager: m, FieldsV1: metav1.NewFieldsV1(
				`{"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"store\"}": {".": {}, "f:image": {}}}}}}}`)})
		}
	})
}

// seen is what a status holds of a Cluster that adopts: a template, and the number of members.
func seen(version string, change func(*specs)) func(*specs) {
	return func(s *specs) {
		change(s)
		five := int32(5)
		s.See("store", "sum", &five)
		s.Version = version
	}
}

// changed is the System store with each old text replaced by the new one that follows it.
func changed(t testing.TB, replace ...string) func(*ClusterFacts) {
	return func(f *ClusterFacts) {
		f.System.Value = compile(t, strings.NewReplacer(replace...).Replace(store))
		f.Pinned[f.System.Value.Hash()] = f.System.Value
	}
}

// adoptedAttempt is an upgrade to 3.6.1 of a StatefulSet in mode Version.
func adoptedAttempt(t testing.TB) func(*v1alpha1.ClusterStatus) {
	return func(st *v1alpha1.ClusterStatus) {
		attempt(t, "3.6.1", true)(st)
		applied(t, seen("3.6.0", takes(v1alpha1.AdoptVersion)))(st)
		a := st.Attempt
		a.Base, a.Target = st.Applied.DeepCopy(), *st.Applied.DeepCopy()
		a.Hops[0].Edge, a.Target.Spec.Version = 0, "3.6.1"
	}
}

// row is one admission. Without old the Cluster is created.
type row struct {
	name     string
	old, new func(*specs)
	create   bool
	status   func(*v1alpha1.ClusterStatus)
	named    string // instead of kv
	facts    func(*ClusterFacts)
	want     string // in the message; allowed where it is empty
	warns    string // in the warnings
	unknown  bool
}

func rows(t testing.TB) []row {
	running := applied(t)
	lost := errors.New("connection refused")
	noSystem := func(f *ClusterFacts) { f.System = SystemFacts{} }
	return []row{
		// Creating.
		{name: "create", create: true},
		{name: "unlisted version", create: true, new: version("3.9.0"), want: `spec.version: "3.9.0" is not listed; use one of`},
		{name: "unreadable version", create: true, new: version("latest"), want: `spec.version: "latest" does not begin with a number`},
		{name: "no version", create: true, new: version(""), want: "spec.version: is missing"},
		{name: "unknown option", create: true, new: option("colr", "red"), want: `spec.options.colr: is no option of store; did you mean color`},
		{name: "value of an option", create: true, new: option("quota", "much"), want: `spec.options.quota: "much" does not match`},
		{name: "unknown component", create: true, new: func(s *specs) { s.Components["stor"] = v1alpha1.ComponentSpec{} }, want: `spec.components.stor: is no component of store`},
		{name: "replicas", create: true, new: replicas(0), want: `spec.components.store.replicas: "0" is not between 1 and 99`},
		{name: "size", create: true, new: store1(func(c *v1alpha1.ComponentSpec) { c.Storage = "much" }), want: `spec.components.store.storage: "much" is not a size`},
		{name: "name is no label", create: true, named: "kv.prod", want: `metadata.name: "kv.prod" is not a DNS label`},
		{name: "name longer than any", create: true, named: strings.Repeat("k", 41), want: "is longer than 40 characters"},
		{name: "longest name", create: true, named: strings.Repeat("k", 40)},
		{name: "name for revisions", create: true, named: strings.Repeat("k", 24), facts: func(f *ClusterFacts) {
			f.System.Value = compile(t, strings.ReplaceAll(store, "{name: store, rep", "{name: "+strings.Repeat("s", 28)+", rep"))
		}, new: func(s *specs) { s.Components = nil }, want: "the revisions of StatefulSet"},
		{name: "volumes of a later version", create: true, new: version("3.6.0"), facts: func(f *ClusterFacts) { f.Wrote = "3.7.0" },
			want: `spec.version: "3.6.0": is older than 3.7.0, which wrote to the volumes that are there for its members already; write 3.7.0`},
		{name: "volumes of an earlier version", create: true, new: version("3.6.0"), facts: func(f *ClusterFacts) { f.Wrote = "3.5.0" }},
		{name: "volumes that nobody knows", create: true, facts: func(f *ClusterFacts) { f.WroteErr = errors.New("no right") }, unknown: true, want: "spec.version: which version wrote to the volumes that are there is not known now: no right"},
		{name: "names collide", create: true, named: "kv-a", facts: func(f *ClusterFacts) {
			f.Others = []Other{{Name: "kv", Components: []string{"a-store"}}}
		}, want: `metadata.name: "kv-a" collides with cluster kv`},
		{name: "name of a service collides", create: true, facts: func(f *ClusterFacts) {
			f.Others = []Other{{Name: "kv-store", Components: []string{"client"}}}
		}, want: "would both be named kv-store-client"},
		{name: "names do not collide", create: true, named: "kv-a", facts: func(f *ClusterFacts) {
			f.Others = []Other{{Name: "kv", Components: []string{"store"}}, {Name: "kv-a", Components: []string{"store"}}}
		}},
		{name: "others not known", create: true, facts: func(f *ClusterFacts) { f.OthersErr = lost }, want: "collides with another cluster is not known now: connection refused; try again", unknown: true},
		{name: "no such System", create: true, facts: noSystem, want: `spec.system: "store" is not known; apply the System first`},
		{name: "System is broken", create: true, facts: func(f *ClusterFacts) { f.System = SystemFacts{Broken: errors.New("ready: is empty")} }, want: `spec.system: "store" cannot be used: ready: is empty`},
		{name: "System not known now", create: true, facts: func(f *ClusterFacts) { f.System = SystemFacts{}; f.System.Err = lost }, want: `System "store" is not known now: connection refused`, unknown: true},
		{name: "no image", create: true, facts: func(f *ClusterFacts) {
			f.System.Value = compile(t, strings.ReplaceAll(store, `, image: "registry.example/store:${version}"`, ""))
		}, new: store1(func(c *v1alpha1.ComponentSpec) { c.Image = "a:${version}" }), want: "spec.components.proxy.image: is missing, and System store names no image"},
		{name: "own images", create: true, facts: func(f *ClusterFacts) {
			f.System.Value = compile(t, strings.ReplaceAll(store, `, image: "registry.example/store:${version}"`, ""))
		}, new: func(s *specs) {
			s.Components = map[string]v1alpha1.ComponentSpec{"store": {Image: "a:${version}"}, "proxy": {Image: "b:${version}"}}
		}},
		{name: "image is no template", create: true, new: store1(func(c *v1alpha1.ComponentSpec) { c.Image = "a:${" }), want: "spec.components.store.image:"},
		{name: "no claim", create: true, new: files(""), want: "spec.backup.claim: is missing, and a place of the scheme file needs it in Kubernetes"},
		{name: "claim", create: true, new: files("disk")},
		{name: "claim is not there", create: true, new: files("disk"), facts: func(f *ClusterFacts) { f.Place.Claim.Value = nil }, want: `spec.backup.claim: "disk" is no PersistentVolumeClaim in namespace prod`},
		{name: "claim is not known", create: true, new: files("disk"), facts: func(f *ClusterFacts) { f.Place.Claim = Known[struct{}]{Err: lost} }, want: "PersistentVolumeClaim prod/disk is not known now", unknown: true},
		{name: "claim for a bucket", create: true, new: all(s3, func(s *specs) { s.Backup.Claim = "disk" }), want: `spec.backup.claim: "disk" is of no use`},
		{name: "secret", create: true, new: s3},
		{name: "no such secret", create: true, new: s3, facts: func(f *ClusterFacts) { f.Place.Secret.Value = nil }, want: `spec.backup.secret.name: "cloud" is no secret in namespace prod; create it first`},
		{name: "no such key", create: true, new: s3, facts: func(f *ClusterFacts) { f.Place.Secret.Value.Keys = []string{"keys.json"} }, want: `spec.backup.secret.key: "key.json" is no key of the secret prod/cloud; did you mean keys.json`},
		{name: "secret is not known", create: true, new: s3, facts: func(f *ClusterFacts) { f.Place.Secret = Known[Secret]{Err: lost} }, want: "spec.backup.secret: secret prod/cloud is not known now: connection refused; try again", unknown: true},
		{name: "secret without a grant", create: true, new: elsewhere, want: `spec.backup.secret.namespace: "ops" does not grant its secret cloud to namespace prod; annotate the secret there with theseus.dev/granted-to: "prod"`},
		{name: "secret granted to others", create: true, new: elsewhere, facts: func(f *ClusterFacts) { f.Place.Secret.Value.GrantedTo = "production, test" }, want: "does not grant its secret"},
		{name: "password", create: true, new: login("", "password")},
		{name: "password granted", create: true, new: login("ops", "password")},
		{name: "no such password", create: true, new: login("", "pasword"), want: `spec.credentials.root.secret.key: "pasword" is no key of the secret prod/login; did you mean password`},
		{name: "no secret of passwords", create: true, new: login("test", "password"), want: `spec.credentials.root.secret.name: "login" is no secret in namespace test; create it first`},
		{name: "password without a grant", create: true, new: login("dev", "password"), want: `spec.credentials.root.secret.namespace: "dev" does not grant its secret login to namespace prod`},
		{name: "certificates", create: true, new: certified("whole")},
		{name: "no certificates", create: true, new: certified("none"), want: `spec.components.store.tls.client.secret: "none" is no secret in namespace prod`},
		{name: "certificates without a key", create: true, new: certified("half"), want: `spec.components.store.tls.client.secret: "tls.key" is no key of the secret prod/half`},
		{name: "certificates not known", create: true, new: certified("whole"), facts: func(f *ClusterFacts) { f.Secrets[at("prod/whole")] = Known[Secret]{Err: lost} }, want: "spec.components.store.tls.client.secret: secret prod/whole is not known now", unknown: true},
		{name: "certificates gone before an upgrade", status: applied(t, certified("none")), old: certified("none"), new: all(certified("none"), version("3.6.1")), want: "is no secret in namespace prod"},
		{name: "certificates replaced by none", status: applied(t, certified("whole")), old: certified("whole"), new: certified("none"), want: "is no secret in namespace prod"},
		{name: "certificates gone, and an edit of something else", status: applied(t, certified("none")), old: certified("none"), new: all(certified("none"), option("color", "red"))},
		{name: "secret granted", create: true, new: elsewhere, facts: func(f *ClusterFacts) { f.Place.Secret.Value.GrantedTo = "test, prod" }},
		{name: "one member", create: true, new: replicas(1), warns: "a group of one cannot be upgraded while it serves"},
		{name: "rule that only warns", create: true, new: option("color", "grey"), facts: func(f *ClusterFacts) {
			f.System.Value = compile(t, store+"rules: [{rule: bright, is: options.color != 'grey', warn: true, remedy: take another one}]\n")
		}, warns: `spec.options.color: "color=grey" does not keep the rule "bright"; take another one`},
		{name: "two problems", create: true, new: all(version("3.9.0"), option("quota", "much")), want: "spec.version: \"3.9.0\" is not listed; use one of 3.5.0, 3.5.1, 3.6.0, 3.6.1, 3.7.0, 4.0.0\nspec.options.quota:"},

		// While a restore writes into the members.
		{name: "loading: version", status: loading(t, s3), old: s3, new: all(s3, version("3.6.1")), want: "spec.version: restore r is to write into the members"},
		{name: "loading: option", status: loading(t, s3), old: s3, new: all(s3, option("color", "red")), want: "spec.options: restore r is to write into the members"},
		{name: "loading: policy", status: loading(t, s3), old: s3, new: all(s3, func(s *specs) { s.Upgrade.PauseAfter = 1 })},
		{name: "loading: back to what runs", status: loading(t, s3), old: all(s3, version("3.6.1")), new: s3},
		{name: "loading: deferred", status: loading(t, s3), old: s3, new: all(s3, option("color", "red"), func(s *specs) { s.Upgrade.Edits = v1alpha1.EditsDeferred }),
			warns: "this waits until restore r has ended"},
		{name: "loading: before the first member", status: func(st *v1alpha1.ClusterStatus) { st.Loading = &v1alpha1.Loading{Restore: "r"} }, new: version("3.6.1")},

		// Adopting.
		{name: "adopt: Order", create: true, new: takes(v1alpha1.AdoptOrder)},
		{name: "adopt: Version", create: true, new: takes(v1alpha1.AdoptVersion, consents)},
		{name: "adopt: no StatefulSet named", create: true, new: takes(v1alpha1.AdoptOrder, func(c *v1alpha1.ComponentSpec) { c.Adopt.StatefulSet = "" }), want: "spec.components.store.adopt.statefulSet: is missing"},
		{name: "adopt: mode", create: true, new: takes("Odrer"), want: `spec.components.store.adopt.mode: "Odrer" is not known; did you mean Order`},
		{name: "adopt: no mode", create: true, new: takes(""), want: "spec.components.store.adopt.mode: is missing"},
		{name: "adopt: consent", create: true, new: takes(v1alpha1.AdoptOrder, func(c *v1alpha1.ComponentSpec) { c.Adopt.Allow = []v1alpha1.AdoptConsent{"OnDelete"} }), want: `spec.components.store.adopt.allow.0: "OnDelete" is not known`},
		{name: "adopt: consent of no use", create: true, new: takes(v1alpha1.AdoptOrder, consents), want: "spec.components.store.adopt.allow: is of no use: TakeImage is for mode Version"},
		{name: "adopt: image in Order", create: true, new: takes(v1alpha1.AdoptOrder, func(c *v1alpha1.ComponentSpec) { c.Image = "a:${version}" }), want: "spec.components.store.image: is of no use: mode Order leaves the image to whoever owns StatefulSet old"},
		{name: "adopt: packaging", create: true, new: takes(v1alpha1.AdoptVersion, func(c *v1alpha1.ComponentSpec) { c.Storage = "1Gi" }), want: "spec.components.store.storage: is of no use: StatefulSet old says it, which is adopted; leave it away"},
		{name: "adopt: replicas", create: true, new: takes(v1alpha1.AdoptVersion, func(c *v1alpha1.ComponentSpec) { c.Replicas = new(int32); *c.Replicas = 3 }), want: "spec.components.store.replicas: is of no use"},
		{name: "adopt: Theseus' own field", create: true, new: takes(v1alpha1.AdoptVersion, func(c *v1alpha1.ComponentSpec) { c.Adopt.Template = "x" }), want: `spec.components.store.adopt.template: "x" is what Theseus notes in its own copies; leave it away`},
		{name: "adopt: one for two", create: true, new: all(takes(v1alpha1.AdoptOrder), func(s *specs) { s.Components["proxy"] = s.Components["store"] }), want: `spec.components.store.adopt.statefulSet: "old" is adopted by component proxy`},
		{name: "adopt: a Deployment's component", create: true, new: takes(v1alpha1.AdoptOrder), facts: func(f *ClusterFacts) {
			f.System.Value = compile(t, strings.ReplaceAll(store, "{name: store, rep", "{name: store, workload: Deployment, rep"))
		}, want: "spec.components.store.adopt: is for components that keep data"},
		{name: "adopt: not there yet", create: true, new: takes(v1alpha1.AdoptOrder), facts: func(f *ClusterFacts) { f.Adopted = nil }, warns: "StatefulSet old is not in namespace prod yet; the Cluster waits for it"},
		{name: "adopt: not known", create: true, new: takes(v1alpha1.AdoptOrder), facts: func(f *ClusterFacts) { f.Adopted = map[string]AdoptedFacts{"store": {Err: lost}} }, want: "spec.components.store.adopt.statefulSet: StatefulSet old is not known now", unknown: true},
		{name: "adopt: rolls by itself", create: true, new: takes(v1alpha1.AdoptOrder), facts: oldSet(func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.Type = "RollingUpdate" }), warns: "the update strategy of StatefulSet old is RollingUpdate; the Cluster waits until it is OnDelete"},
		{name: "adopt: written by others", create: true, new: takes(v1alpha1.AdoptVersion), facts: writtenBy("kubectl-client-side-apply", "theseus"),
			warns: "spec.components.store.adopt: the image of container store of StatefulSet old is also written by kubectl-client-side-apply; an upgrade waits until"},
		{name: "adopt: upgrade of what others write", status: applied(t, seen("3.6.0", takes(v1alpha1.AdoptVersion))), old: takes(v1alpha1.AdoptVersion), new: all(takes(v1alpha1.AdoptVersion), version("3.6.1")), facts: writtenBy("helm"), warns: "is also written by helm"},
		{name: "adopt: written by others, who may be written over", create: true, new: takes(v1alpha1.AdoptVersion, consents), facts: writtenBy("helm")},
		{name: "adopt: written by others, who go on", create: true, new: takes(v1alpha1.AdoptOrder), facts: writtenBy("helm")},
		{name: "adopt: container", create: true, new: takes(v1alpha1.AdoptOrder, container("sotre")), want: `spec.components.store.adopt.container: "sotre" is no container of StatefulSet old; did you mean store`},
		{name: "adopt: a Cluster's own", create: true, new: takes(v1alpha1.AdoptOrder), facts: oldSet(func(s *appsv1.StatefulSet) {
			yes := true
			s.OwnerReferences = []metav1.OwnerReference{{Kind: "Cluster", Name: "first", Controller: &yes}}
		}), want: `spec.components.store.adopt.statefulSet: "old" was made by Cluster first`},
		{name: "adopt: adopted already", create: true, new: takes(v1alpha1.AdoptOrder), facts: func(f *ClusterFacts) { f.Others = []Other{{Name: "first", Adopts: []string{"old"}}} }, want: `"old" is adopted by cluster first; name another one, or delete that cluster`},
		{name: "adopt: what another will make", create: true, new: takes(v1alpha1.AdoptOrder), facts: func(f *ClusterFacts) {
			f.Others = []Other{{Name: "o", Components: []string{"ld", "x"}}, {Name: "old", Components: []string{"x"}}}
		}},
		{name: "adopt: what another makes", create: true, new: takes(v1alpha1.AdoptOrder, func(c *v1alpha1.ComponentSpec) { c.Adopt.StatefulSet = "first-store" }), facts: func(f *ClusterFacts) {
			f.Others = []Other{{Name: "first", Components: []string{"store"}}}
		}, want: `"first-store" belongs to cluster first`},
		{name: "what another adopts", create: true, facts: func(f *ClusterFacts) { f.Others = []Other{{Name: "first", Adopts: []string{"kv-store"}}} }, want: "collides with cluster first, which adopts StatefulSet kv-store"},
		{name: "adopt later", status: running, old: func(s *specs) { s.Components = nil }, new: takes(v1alpha1.AdoptOrder), want: "spec.components.store.adopt: can neither be added nor taken away; delete the Cluster, which leaves"},
		{name: "adopt: another one", old: takes(v1alpha1.AdoptVersion), new: takes(v1alpha1.AdoptVersion, func(c *v1alpha1.ComponentSpec) { c.Adopt.StatefulSet = "older" }), want: `adopt.statefulSet: "older" cannot change (it is old)`},
		{name: "adopt: another mode", old: takes(v1alpha1.AdoptVersion), new: takes(v1alpha1.AdoptOrder), want: `adopt.mode: "Order" cannot change (it is Version)`},
		{name: "adopt: another container", old: takes(v1alpha1.AdoptVersion), new: takes(v1alpha1.AdoptVersion, container("store")), want: `adopt.container: "store" cannot change (it is "")`},
		{name: "adopt: version", status: applied(t, seen("3.6.0", takes(v1alpha1.AdoptVersion))), old: takes(v1alpha1.AdoptVersion), new: all(takes(v1alpha1.AdoptVersion), version("3.6.1"))},
		{name: "adopt: version without a path", status: applied(t, seen("3.6.0", takes(v1alpha1.AdoptVersion))), old: takes(v1alpha1.AdoptVersion), new: all(takes(v1alpha1.AdoptVersion), version("4.0.0")), want: "no edges of store lead from 3.6.0 to 4.0.0"},
		{name: "adopt: volumes made anew", status: applied(t, seen("3.6.0", takes(v1alpha1.AdoptVersion))), old: takes(v1alpha1.AdoptVersion), new: all(takes(v1alpha1.AdoptVersion), version("3.6.1")),
			facts: changed(t, "within: Minor", "within: Minor, recreateVolumes: [store]", "name: store, rep", "name: store, settled: [{rule: all, is: size(all) > 0}], rep"), want: "makes volumes anew, which cannot be done with StatefulSet old: somebody else made it"},
		{name: "adopt: all members at once", status: applied(t, seen("3.6.0", takes(v1alpha1.AdoptVersion))), old: takes(v1alpha1.AdoptVersion), new: all(takes(v1alpha1.AdoptVersion), version("3.6.1")),
			facts: changed(t, "within: Minor", "within: Minor, strategy: Recreate"), want: "stops all members at once, which cannot be done with StatefulSet old"},
		{name: "adopt: version of no effect", status: applied(t, seen("3.6.1", takes(v1alpha1.AdoptOrder))), old: takes(v1alpha1.AdoptOrder), new: all(takes(v1alpha1.AdoptOrder), version("3.5.0")), warns: "spec.version: changes nothing, because component store is adopted in mode Order"},
		{name: "adopt: consent while an attempt runs", status: adoptedAttempt(t), old: all(takes(v1alpha1.AdoptVersion), version("3.6.1")), new: all(takes(v1alpha1.AdoptVersion, consents), version("3.6.1"))},
		{name: "adopt: option while an attempt runs", status: adoptedAttempt(t), old: all(takes(v1alpha1.AdoptVersion), version("3.6.1")), new: all(takes(v1alpha1.AdoptVersion), version("3.6.1"), option("quota", "2")), want: "an attempt is under way"},
		{name: "adopt: back while an attempt runs", status: adoptedAttempt(t), old: all(takes(v1alpha1.AdoptVersion), version("3.6.1")), new: takes(v1alpha1.AdoptVersion)},

		// Another version.
		{name: "upgrade", status: running, new: version("3.6.1")},
		{name: "downgrade", status: running, new: version("3.5.1"), want: "spec.version: store 3.6.0 to 3.5.1 is a downgrade"},
		{name: "no path", status: running, new: version("4.0.0"), want: "spec.version: no edges of store lead from 3.6.0 to 4.0.0; from there one can reach 3.6.1, 3.7.0"},
		{name: "not listed", status: running, new: version("3.6.9"), want: `spec.version: "3.6.9" is not listed`},
		{name: "no place for a backup", status: running, new: version("3.7.0"), want: "spec.backup: the hop from 3.6.0 to 3.7.0 requires a backup and there is no place for it; set spec.backup.url"},
		{name: "place for a backup", status: applied(t, s3), old: s3, new: all(s3, version("3.7.0"))},
		{name: "place and version at once", status: running, new: all(s3, version("3.7.0")), want: "spec.backup: changes together with spec.version; change one first"},
		{name: "secret gone before an upgrade", status: applied(t, s3), old: s3, new: all(s3, version("3.6.1")), facts: func(f *ClusterFacts) { f.Place.Secret.Value = nil }, want: "is no secret in namespace prod"},
		{name: "version and option", status: running, new: all(version("3.6.1"), option("quota", "2")), want: "spec.options.quota: changes together with spec.version"},
		{name: "version and argument", status: running, new: all(version("3.6.1"), store1(func(c *v1alpha1.ComponentSpec) { c.Args = []string{"-v"} })), want: "spec.components.store: changes together with spec.version"},
		{name: "version and policy", status: running, new: all(version("3.6.1"), pauses)},
		{name: "version and an empty component", status: running, new: all(version("3.6.1"), func(s *specs) { s.Components["proxy"] = v1alpha1.ComponentSpec{} })},
		{name: "back to what runs", status: running, old: version("3.7.0"), new: nil},
		{name: "back to what runs, after a combined edit", status: running, old: all(version("3.6.1"), option("quota", "2")), new: nil},
		{name: "back to what runs, and something else", status: running, old: version("3.6.1"), new: option("quota", "2"), want: "spec.options.quota: changes together"},
		{name: "back to a version that is not listed any more", status: applied(t, version("3.4.0")), old: nil, new: version("3.4.0")},
		{name: "back to what runs with a wrong policy, although the System is gone", status: running, old: version("3.6.1"), new: negative, facts: noSystem, want: "spec.upgrade.soak:"},
		{name: "back although the System is gone", status: running, old: version("3.6.1"), new: nil, facts: noSystem},
		{name: "one member stays down", status: applied(t, replicas(1)), old: replicas(1), new: all(replicas(1), version("3.6.1")), want: `spec.upgrade.allowDowntime: "false": component store has one member`},
		{name: "one member may be down", status: applied(t, replicas(1)), old: replicas(1), new: all(replicas(1), version("3.6.1"), upgrades(func(u *v1alpha1.UpgradePolicy) { u.AllowDowntime = true }))},
		{name: "what failed before", status: func(st *v1alpha1.ClusterStatus) { running(st); st.FailedTarget = "3.6.1" }, new: version("3.6.1"), warns: "is not begun again by itself"},
		{name: "members on a System that is lost", status: running, new: version("3.6.1"), facts: func(f *ClusterFacts) {
			f.System.Value = compile(t, "description: a newer one\n"+strings.TrimSpace(store))
			f.Pinned, f.PinnedErr = nil, lost
		}, want: "the System that the members were rolled with is not known now", unknown: true},

		// Other edits.
		{name: "nothing", status: running},
		{name: "nothing, of a Cluster that is wrong", old: version("latest"), new: version("latest"), facts: noSystem},
		{name: "option", status: running, new: option("quota", "2")},
		{name: "another System", status: running, new: func(s *specs) { s.System = "other" }, want: `spec.system: "other" cannot change (it is store); make another cluster`},
		{name: "storage", status: running, new: store1(func(c *v1alpha1.ComponentSpec) { c.Storage = "2Gi" }), want: `spec.components.store.storage: "2Gi" cannot change (it is "1Gi"); set it back, or restore a backup into a new cluster`},
		{name: "storage of a first start", status: first(t, true, false), new: store1(func(c *v1alpha1.ComponentSpec) { c.Storage = "2Gi" }), want: `spec.components.store.storage: "2Gi": the cluster was begun with volumes of another kind; delete the cluster with its data and make it anew`},
		{name: "storage away", status: applied(t, store1(func(c *v1alpha1.ComponentSpec) { c.StorageClass = "" })), old: store1(func(c *v1alpha1.ComponentSpec) { c.StorageClass = "" }), new: func(s *specs) { s.Components = nil }, want: "spec.components.store.storage: cannot change"},
		{name: "storage class", status: running, new: store1(func(c *v1alpha1.ComponentSpec) { c.StorageClass = "slow" }), want: `spec.components.store.storageClass: "slow" cannot change (it is "fast")`},
		{name: "more members", status: running, new: replicas(5), want: `spec.components.store.replicas: "5": the number of members cannot change yet (it is 3); set it back to 3`},
		{name: "the number of members, said", status: running, new: replicas(3)},
		{name: "secret replaced by one that is not there", status: applied(t, files("disk")), old: files("disk"), new: s3, facts: func(f *ClusterFacts) { f.Place.Secret.Value = nil }, want: "is no secret"},
		{name: "secret gone, and an edit of something else", status: applied(t, s3), old: s3, new: all(s3, option("color", "red")), facts: func(f *ClusterFacts) { f.Place.Secret.Value = nil }},
		{name: "old mistake", status: running, old: option("quota", "much"), new: all(option("quota", "much"), store1(func(c *v1alpha1.ComponentSpec) { c.Args = []string{"-v"} })), warns: "(it was so before)"},
		{name: "old mistake in scale", status: running, old: replicas(5), new: all(replicas(5), option("color", "red")), warns: "(it was so before)"},
		{name: "name is not looked at again", named: strings.Repeat("k", 40), status: running, new: option("color", "red")},
		{name: "policy", status: running, new: pauses},
		{name: "policy of a Cluster that is wrong", old: version("latest"), new: all(version("latest"), pauses), facts: noSystem},
		{name: "policy that is likely not meant", status: running, new: upgrades(func(u *v1alpha1.UpgradePolicy) { u.MaxUnavailable = 3 }), warns: "3 lets all 3 members of store be unavailable at once"},
		{name: "wrong policy", status: running, new: upgrades(func(u *v1alpha1.UpgradePolicy) { u.OnFailure = "Rolback" }), want: `spec.upgrade.onFailure: "Rolback" is not known; did you mean Rollback`},
		{name: "negative soak", status: running, new: negative, want: "spec.upgrade.soak:"},

		// While an attempt runs.
		{name: "running: option", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0")), new: all(s3, version("3.7.0"), option("quota", "2")), want: "spec.options: an attempt is under way; until it ends only spec.upgrade and spec.version can change; wait for its end, or set spec.upgrade.edits: Defer"},
		{name: "running: option deferred", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0"), deferred), new: all(s3, version("3.7.0"), deferred, option("quota", "2")), warns: "waits until the attempt"},
		{name: "running: scale deferred", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0"), deferred), new: all(s3, version("3.7.0"), deferred, replicas(5)), want: "the number of members cannot change yet"},
		{name: "running: policy", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0")), new: all(s3, version("3.7.0"), pauses)},
		{name: "running: back", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0")), new: s3},
		{name: "running: back with a wrong policy", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0")), new: all(s3, negative), want: `spec.upgrade.soak: "-1s" is less than 0s`},
		{name: "running: back with a policy that was wrong before", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0"), negative), new: all(s3, negative), warns: "(it was so before)"},
		{name: "running: back with another policy", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0")), new: all(s3, pauses)},
		{name: "running: back, secret gone", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0")), new: s3, facts: func(f *ClusterFacts) { f.Place.Secret = Known[Secret]{Err: lost} }},
		{name: "running: third version", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0")), new: all(s3, version("3.6.1")), want: `spec.version: "3.6.1": the upgrade to 3.7.0 is under way; wait for its end, or set the version back to 3.6.0 to roll back first`},
		{name: "begun: third version", status: attempt(t, "3.7.0", false), old: all(s3, version("3.7.0")), new: all(s3, version("3.6.1"))},
		{name: "begun: version without a path", status: attempt(t, "3.7.0", false), old: all(s3, version("3.7.0")), new: all(s3, version("4.0.0")), want: "no edges of store lead from 3.6.0 to 4.0.0"},
		{name: "begun: below the start", status: attempt(t, "3.7.0", false), old: all(s3, version("3.7.0")), new: all(s3, version("3.5.1")), want: "store 3.6.0 to 3.5.1 is a downgrade"},
		{name: "begun: third version and option", status: attempt(t, "3.7.0", false), old: all(s3, version("3.7.0")), new: all(s3, version("3.6.1"), option("quota", "2")), want: "spec.options.quota: changes together"},
		{name: "first start: image", status: first(t, false, false), new: store1(func(c *v1alpha1.ComponentSpec) { c.Image = "a:${version}" })},
		{name: "first start: lower version and option", status: first(t, false, false), new: all(version("3.5.0"), option("quota", "2"))},
		{name: "first start: unlisted version", status: first(t, false, false), new: version("3.9.0"), want: `spec.version: "3.9.0" is not listed`},
		{name: "first start: more members", status: first(t, false, false), new: replicas(5), want: `spec.components.store.replicas: "5": the cluster was begun with 3 members; delete the cluster`},
		{name: "first start: lower version after members ran", status: first(t, true, false), new: version("3.5.0"), want: "3.6.0 may have written to volumes already, and no edge says that 3.5.0 can just go on with that"},
		{name: "first start: next version after members ran", status: first(t, true, false), new: version("3.6.1")},
		{name: "first start: option after members ran", status: first(t, true, false), new: option("quota", "2"), warns: "the first start begins again with this"},
		{name: "first start: option after members served", status: first(t, true, true), new: option("quota", "2"), want: "spec.options: an attempt is under way"},
		{name: "running: what the attempt works with, again", status: attempt(t, "3.7.0", true), old: all(s3, version("3.7.0"), option("quota", "2")), new: all(s3, version("3.7.0"))},
		{name: "ended: option", status: func(st *v1alpha1.ClusterStatus) {
			attempt(t, "3.7.0", true)(st)
			st.Applied, st.Attempt.Phase = &st.Attempt.Target, v1alpha1.PhaseSucceeded
		}, old: all(s3, version("3.7.0")), new: all(s3, version("3.7.0"), option("quota", "2"))},
		{name: "being created: another version", status: func(st *v1alpha1.ClusterStatus) {
			running(st)
			st.Attempt = &v1alpha1.Attempt{ID: 1, Kind: v1alpha1.AttemptCreate, Phase: v1alpha1.PhaseRunning, To: "3.6.0", Target: *st.Applied, Served: true}
			st.Applied = nil
		}, new: version("3.5.1"), want: "is a downgrade"},
	}
}

// decideRow makes the objects and the facts of a row, and asks.
func decideRow(t testing.TB, r row) (old, new *v1alpha1.Cluster, v Verdict) {
	sys := compile(t, store)
	facts := &ClusterFacts{System: SystemFacts{Known: Known[system.System]{Value: sys}}, Pinned: map[string]*system.System{sys.Hash(): sys}}
	facts.Place.Secret.Value = &Secret{Keys: []string{"key.json"}}
	facts.Place.Claim.Value = &struct{}{}
	facts.Secrets = map[types.NamespacedName]Known[Secret]{
		at("prod/login"): {Value: &Secret{Keys: []string{"password"}}},
		at("ops/login"):  {Value: &Secret{Keys: []string{"password"}, GrantedTo: "prod"}},
		at("dev/login"):  {Value: &Secret{Keys: []string{"password"}}},
		at("prod/whole"): {Value: &Secret{Keys: []string{"ca.crt", "tls.crt", "tls.key"}}},
		at("prod/half"):  {Value: &Secret{Keys: []string{"ca.crt", "tls.crt"}}},
	}
	set := &appsv1.StatefulSet{}
	set.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
	set.Spec.Template.Spec.Containers = []corev1.Container{{Name: "proxy"}, {Name: "store"}}
	facts.Adopted = map[string]AdoptedFacts{"store": {Value: set}, "proxy": {Value: set}}
	if r.facts != nil {
		r.facts(facts)
	}
	new = kv(r.new)
	if !r.create {
		old = kv(r.old)
		if r.status != nil {
			r.status(&old.Status)
		}
	}
	if r.named != "" {
		new.Name = r.named
		if old != nil {
			old.Name = r.named
		}
	}
	return old, new, CheckCluster(old, new, facts)
}

func TestClusters(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows(t) {
		if seen[r.name] {
			t.Errorf("two rows are called %q", r.name)
		}
		seen[r.name] = true
		t.Run(r.name, func(t *testing.T) {
			_, _, v := decideRow(t, r)
			if r.want == "" && !v.Allowed() || !strings.Contains(v.Message(), r.want) || r.want != "" && v.Allowed() {
				t.Errorf("got %q, want %q", v.Message(), r.want)
			}
			if v.Unknown() != r.unknown {
				t.Errorf("unknown is %t, want %t: %s", v.Unknown(), r.unknown, v.Message())
			}
			if lines := strings.Count(r.want, "\n") + 1; r.want != "" && len(v.Problems) != lines {
				t.Errorf("got %d problems, want %d: %s", len(v.Problems), lines, v.Message())
			}
			if warnings := strings.Join(v.Warnings, "\n"); !strings.Contains(warnings, r.warns) || r.warns == "" && (strings.Contains(warnings, "before)") || strings.Contains(warnings, "also written by")) {
				t.Errorf("got the warnings %q, want %q", warnings, r.warns)
			}
		})
	}
}

// TestAgrees runs the controller's own decision on what the webhook accepted as an edit that is not of the policy alone: it must not refuse it.
func TestAgrees(t *testing.T) {
	agreed := 0
	for _, r := range rows(t) {
		old, new, v := decideRow(t, r)
		if old == nil || !v.Allowed() || r.warns != "" || !NeedsFacts(old, new) || old.Status.Applied == nil {
			continue
		}
		new.Status = old.Status
		sys := compile(t, store)
		d := upgrade.New().Decide(upgrade.Input{Cluster: new, System: sys, Systems: map[string]*system.System{sys.Hash(): sys}, Now: time.Unix(1, 0)})
		if d.Refusal != nil {
			t.Errorf("%s: the webhook accepts it, and the controller refuses: %v", r.name, d.Refusal)
		}
		agreed++
	}
	if agreed < 8 {
		t.Errorf("only %d rows were tried", agreed)
	}
}
