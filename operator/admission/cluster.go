package admission

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// ClusterFacts are what was looked up about a Cluster.
type ClusterFacts struct {
	// System that spec.system names now.
	System SystemFacts
	// Pinned Systems by hash: all that the status refers to, as far as PinnedErr is nil.
	Pinned    map[string]*system.System
	PinnedErr error
	// Place is about spec.backup.
	Place PlaceFacts
	// Secrets that members are asked with, those of spec.credentials and of tls.
	Secrets map[types.NamespacedName]Known[Secret]
	// Adopted are the StatefulSets that the Cluster adopts, by component. They are looked at where it is created.
	Adopted map[string]AdoptedFacts
	// Others are the Clusters of the namespace whose names may collide; OthersErr is set where nobody knows them.
	Others    []Other
	OthersErr error
	// Wrote is the latest version that may have written to volumes that are there for the members already. They are looked at where the Cluster is created.
	Wrote    string
	WroteErr error
}

// change is what an operation does to a Cluster.
type change int

const (
	created  change = iota
	kept            // the spec is the same: labels, requests, finalizers
	policy          // spec.upgrade alone
	goesBack        // to what runs, or to where the running attempt began its hop
	moved           // to another version
	edited          // anything else
)

// edit is one operation on a Cluster.
type edit struct {
	Verdict
	old, new *v1alpha1.Cluster // copies with defaults; old is nil where the Cluster is created
	facts    *ClusterFacts
	sys      *system.System // known now, nil where there is none
}

// NeedsFacts says whether CheckCluster looks at facts about the Cluster at all, so that an edit that always comes through needs no look-up.
func NeedsFacts(old, new *v1alpha1.Cluster) bool {
	switch newEdit(old, new, &ClusterFacts{}).change() {
	case kept, policy, goesBack:
		return false
	}
	return true
}

func newEdit(old, new *v1alpha1.Cluster, facts *ClusterFacts) *edit {
	e := &edit{new: new.DeepCopy(), facts: facts, sys: facts.System.Value}
	manifest.DefaultCluster(e.new)
	e.new.Status = v1alpha1.ClusterStatus{} // the API server drops what a write of the spec carries
	if old != nil {
		e.old = old.DeepCopy()
		manifest.DefaultCluster(e.old)
		e.new.Status = e.old.Status
	}
	return e
}

// CheckCluster judges the creation of a Cluster (old is nil) or an edit of it.
func CheckCluster(old, new *v1alpha1.Cluster, facts *ClusterFacts) Verdict {
	e := newEdit(old, new, facts)
	switch e.change() {
	case kept:
	case policy, goesBack:
		e.policy()
	default:
		e.whole()
	}
	return e.Verdict
}

func (e *edit) change() change {
	if e.old == nil {
		return created
	}
	o, n := &e.old.Spec, &e.new.Spec
	same := reflect.DeepEqual(o.Upgrade, n.Upgrade)
	switch rest := sameRest(o, n); {
	case e.new.DeletionTimestamp != nil, same && rest && o.Version == n.Version:
		return kept
	case rest && o.Version == n.Version:
		return policy
	case !e.same(o.Version, n.Version) && e.runs() != nil && e.same(n.Version, e.runs().Version) && (rest || sameRest(e.runs(), n)):
		return goesBack
	case !e.same(o.Version, n.Version):
		return moved
	}
	return edited
}

// runs is what a way back leads to: where the hop of the running attempt began, or what the members were rolled with.
func (e *edit) runs() *v1alpha1.ClusterSpec {
	st := &e.old.Status
	switch a := st.Attempt; {
	case a != nil && !a.Phase.Ended() && a.Base != nil:
		return &a.Base.Spec
	case st.Applied != nil:
		return &st.Applied.Spec
	}
	return nil
}

// same says whether two texts name one version, as far as the System is known.
func (e *edit) same(a, b string) bool {
	return a == b || e.sys != nil && e.sys.SameVersion(a, b)
}

// sameRest compares specs without version and policy, and with defaults.
func sameRest(a, b *v1alpha1.ClusterSpec) bool { return reflect.DeepEqual(remainder(a), remainder(b)) }

func remainder(spec *v1alpha1.ClusterSpec) *v1alpha1.ClusterSpec {
	c := v1alpha1.Cluster{Spec: *spec.DeepCopy()}
	manifest.DefaultCluster(&c)
	c.Spec.Version, c.Spec.Upgrade = "", v1alpha1.UpgradePolicy{}
	c.Spec.Forget()
	for name, component := range c.Spec.Components {
		if reflect.ValueOf(component).IsZero() {
			delete(c.Spec.Components, name)
		}
	}
	for _, m := range []any{&c.Spec.Components, &c.Spec.Options, &c.Spec.Programs, &c.Spec.Credentials} {
		if v := reflect.ValueOf(m).Elem(); v.Len() == 0 {
			v.SetZero() // an empty map says as little as none
		}
	}
	return &c.Spec
}

// policy checks spec.upgrade and nothing else: it may be edited at any time, and beside the way back. It needs no look-up.
func (e *edit) policy() {
	e.ratchet(policyProblems(e.new), policyProblems(e.old))
	e.hint()
}

func policyProblems(c *v1alpha1.Cluster) []Problem {
	only := &v1alpha1.Cluster{Spec: v1alpha1.ClusterSpec{System: "any", Version: "0", Upgrade: c.Spec.Upgrade}}
	only.Name = "any"
	return problemsOf("", manifest.ValidateCluster(only, nil).OrNil())
}

func (e *edit) whole() {
	if e.new.Spec.System == "" || !e.facts.System.check(&e.Verdict, "spec.system", e.new.Spec.System) {
		e.ratchet(problemsOf("", manifest.ValidateCluster(e.new, nil).OrNil()), nil)
		return
	}
	var before []Problem
	if e.old != nil {
		before = e.alone(e.old)
	}
	e.ratchet(e.alone(e.new), before)
	if e.old != nil {
		e.immutable()
		e.combined()
		e.volumes()
		e.running()
	} else {
		checkNames(&e.Verdict, e.new, e.sys)
		e.others()
		e.adopted()
		e.left()
	}
	if e.Allowed() {
		e.planned()
	}
	e.place()
	e.secrets()
	e.hint()
}

// alone is all that is wrong with a Cluster itself and with its System.
func (e *edit) alone(c *v1alpha1.Cluster) []Problem {
	v := Verdict{Problems: problemsOf("", manifest.ValidateCluster(c, e.sys).OrNil())}
	for _, component := range e.sys.Components() {
		path := "spec.components." + component.Name()
		if c.Spec.Foreign(component.Name()) {
			continue // somebody else writes its image
		}
		if cmp.Or(c.Spec.Components[component.Name()].Image, component.API().Image, e.sys.API().Versions.Image) == "" {
			v.refuse(path+".image", "", "is missing, and System "+e.sys.Name()+" names no image", "write it as registry.example/"+e.sys.Name()+":${version}")
		}
	}
	return v.Problems
}

// immutable refuses what cannot change once the Cluster exists, because Kubernetes cannot change it in a StatefulSet, or nobody could bring the data over.
func (e *edit) immutable() {
	o, n := &e.old.Spec, &e.new.Spec
	if o.System != n.System {
		e.refuse("spec.system", n.System, fmt.Sprintf("cannot change (it is %s)", o.System), "make another cluster")
	}
	at := e.old.Status.Attempt
	unused := at != nil && upgrade.Unused(at)
	components := slices.Collect(maps.Keys(o.Components))
	components = slices.AppendSeq(components, maps.Keys(n.Components))
	slices.Sort(components)
	for _, name := range slices.Compact(components) {
		a, b, path := o.Components[name], n.Components[name], "spec.components."+name
		e.adoptKept(path+".adopt", a.Adopt, b.Adopt)
		if unused {
			continue // checked as a correction of the first start
		}
		if a.Storage != b.Storage {
			e.refuse(path+".storage", b.Storage, fmt.Sprintf("cannot change (it is %q)", a.Storage), "set it back, or restore a backup into a new cluster")
		}
		if a.StorageClass != b.StorageClass {
			e.refuse(path+".storageClass", b.StorageClass, fmt.Sprintf("cannot change (it is %q)", a.StorageClass), "set it back, or restore a backup into a new cluster")
		}
	}
}

// combined refuses another version together with anything else: if it failed, nobody could say which of the two it was, and going back would
// have to take both back. Where nothing runs yet there is nothing to go back to.
func (e *edit) combined() {
	o, n := &e.old.Spec, &e.new.Spec
	if e.same(o.Version, n.Version) || sameRest(o, n) || e.runs() == nil {
		return
	}
	before, after := remainder(o), remainder(n)
	for name := range changesWith(e.edges()) {
		drop(before, name)
		drop(after, name)
	}
	for _, field := range differences(before, after) {
		e.refuse(field, "", "changes together with spec.version", "change one first, and the other when that is done; only spec.upgrade may change with it")
	}
}

// edges are those of the way from what runs to the wanted version.
func (e *edit) edges() []*v1alpha1.Edge {
	from := e.runs()
	if from == nil {
		return nil
	}
	hops, err := e.sys.Path(from.Version, e.new.Spec.Version)
	if err != nil {
		return nil // planned says why
	}
	var edges []*v1alpha1.Edge
	for _, h := range hops {
		edges = append(edges, h.Rules)
	}
	return edges
}

// changesWith are the options that edges list as changing together with the version.
func changesWith(edges []*v1alpha1.Edge) map[string]bool {
	options := map[string]bool{}
	for _, e := range edges {
		for _, name := range e.Changes {
			options[name] = true
		}
	}
	return options
}

// drop leaves an option out of a comparison.
func drop(spec *v1alpha1.ClusterSpec, option string) {
	delete(spec.Options, option)
	if len(spec.Options) == 0 {
		spec.Options = nil
	}
}

// differences are the fields in which two specs differ, as deep as people think of them.
func differences(a, b *v1alpha1.ClusterSpec) []string {
	var fields []string
	if a.System != b.System {
		fields = append(fields, "spec.system")
	}
	fields = append(fields, keys("spec.components.", a.Components, b.Components)...)
	fields = append(fields, keys("spec.options.", a.Options, b.Options)...)
	fields = append(fields, keys("spec.programs.", a.Programs, b.Programs)...)
	if !reflect.DeepEqual(a.Backup, b.Backup) {
		fields = append(fields, "spec.backup")
	}
	return append(fields, keys("spec.credentials.", a.Credentials, b.Credentials)...)
}

func keys[T any](prefix string, a, b map[string]T) []string {
	var fields []string
	all := maps.Clone(a)
	if all == nil {
		all = map[string]T{}
	}
	maps.Copy(all, b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, inA := a[name]
		y, inB := b[name]
		if inA != inB || !reflect.DeepEqual(x, y) {
			fields = append(fields, prefix+name)
		}
	}
	return fields
}

// underway is what runs or shall run while an edit must not replace members, and what that goes on for; nil where nothing does.
func underway(st *v1alpha1.ClusterStatus) (target *v1alpha1.Pinned, what string) {
	switch a := st.Attempt; {
	case a != nil && !a.Phase.Ended():
		return &a.Target, "the attempt that is under way"
	case st.Loading != nil:
		return st.Applied, "restore " + st.Loading.Restore
	}
	return nil, ""
}

// running is promise 6: what may change while an attempt runs, or a restore writes into the members.
func (e *edit) running() {
	st := &e.old.Status
	target, what := underway(st)
	if target == nil {
		return
	}
	sys := e.pinned(target.System.Hash)
	if sys == nil {
		return
	}
	old, new := e.seen(e.old), e.seen(e.new)
	err := upgrade.CheckEdit(sys, st, &old.Spec, &new.Spec)
	if err == nil {
		switch {
		case upgrade.StartsOver(sys, st, &new.Spec):
			e.warn("no member was ready yet: the first start begins again with this, and its members are replaced together")
		case e.same(e.old.Spec.Version, e.new.Spec.Version):
			e.warn("this waits until " + what + " has ended (spec.upgrade.edits is Defer)")
		}
		return
	}
	// What runs or shall run may always be written again, after an edit that came in while the webhook was off.
	if target := e.defaulted(&target.Spec); upgrade.CheckEdit(sys, st, target, &new.Spec) == nil {
		return
	}
	e.add(problemsOf("spec", err)...)
}

func (e *edit) defaulted(spec *v1alpha1.ClusterSpec) *v1alpha1.ClusterSpec {
	c := &v1alpha1.Cluster{Spec: *spec.DeepCopy()}
	manifest.DefaultCluster(c)
	return &c.Spec
}

// pinned is a System that the status refers to. Where it is not known, that is a problem.
func (e *edit) pinned(hash string) *system.System {
	if s := e.facts.Pinned[hash]; s != nil {
		return s
	}
	err := e.facts.PinnedErr
	if err == nil {
		err = fmt.Errorf("hash %.12s", hash)
	}
	e.unknown("spec.system", "the System that the members were rolled with", err)
	return nil
}

// planned asks the core whether it could follow the spec.
func (e *edit) planned() {
	now := e.plan(e.new)
	if len(now) == 0 {
		return
	}
	var before []Problem
	if e.old != nil {
		before = e.plan(e.old)
	}
	e.ratchet(now, before)
}

func (e *edit) plan(c *v1alpha1.Cluster) []Problem {
	in := upgrade.Input{Cluster: e.seen(c), System: e.sys, Systems: map[string]*system.System{e.sys.Hash(): e.sys}}
	maps.Copy(in.Systems, e.facts.Pinned)
	for _, hash := range references(&c.Status) {
		if in.Systems[hash] == nil {
			v := edit{facts: e.facts}
			v.pinned(hash)
			return v.Problems
		}
	}
	return problemsOf("spec.version", upgrade.New().Check(in))
}

// references are the hashes of Systems that planning needs.
func references(st *v1alpha1.ClusterStatus) []string {
	var hashes []string
	if st.Applied != nil {
		hashes = append(hashes, st.Applied.System.Hash)
	}
	if a := st.Attempt; a != nil && !a.Phase.Ended() {
		hashes = append(hashes, a.Target.System.Hash)
		if a.Base != nil {
			hashes = append(hashes, a.Base.System.Hash)
		}
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// place checks what spec.backup refers to when it is written, and before it is needed.
func (e *edit) place() {
	b := e.new.Spec.Backup
	if b == nil || b.URL == "" {
		return
	}
	change := e.change()
	if change == created || change == moved || !reflect.DeepEqual(e.old.Spec.Backup, b) {
		e.facts.Place.check(&e.Verdict, "spec.backup", e.new.Namespace, b)
	}
}

func (e *edit) others() {
	if e.facts.OthersErr != nil {
		e.unknown("metadata.name", "whether it collides with another cluster", e.facts.OthersErr)
		return
	}
	checkOthers(&e.Verdict, e.new, e.sys, e.facts.Others)
}

// hint warns about what is allowed and likely not meant.
func (e *edit) hint() {
	if !e.Allowed() || e.sys == nil {
		return
	}
	e.warn(manifest.Warnings(e.seen(e.new), e.sys)...)
	e.hintAdopted()
	if t := e.new.Status.FailedTarget; t != "" && e.same(t, e.new.Spec.Version) {
		e.warn(fmt.Sprintf("spec.version: the upgrade to %s failed or was taken back, and is not begun again by itself; ask for a retry once the cause is gone", t))
	}
}
