package admission

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/api/meta"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/system"
)

// CheckSystem judges a System that is created or changed: it must compile. Clusters that run stay on the one that they were rolled with.
func CheckSystem(s *v1alpha1.System) Verdict {
	bare := &v1alpha1.System{ObjectMeta: metav1.ObjectMeta{Name: s.Name}, SystemSpec: s.SystemSpec}
	compiled, err := system.Compile(bare)
	if err != nil {
		return Verdict{Problems: problemsOf("", err)}
	}
	v := Verdict{Warnings: compiled.Warnings()}
	for i, c := range compiled.Components() {
		// The service for the clients of a component has its name with this ending, and the service of a component's members its name.
		if of, ok := strings.CutSuffix(c.Name(), "-client"); ok && compiled.Component(of) != nil {
			v.refuse(fmt.Sprintf("components.%d.name", i), c.Name(), "would share a service with the clients of component "+of, "give it another ending than -client")
		}
	}
	return v
}

// BackupFacts are what was looked up about a Backup.
type BackupFacts struct {
	// Cluster that is backed up.
	Cluster Known[v1alpha1.Cluster]
	// System of the Cluster.
	System SystemFacts
	// Place is about spec.place, or about spec.backup of the Cluster.
	Place PlaceFacts
}

// CheckBackup judges a new Backup. It cannot be changed, which is a rule in its CRD.
func CheckBackup(b *v1alpha1.Backup, f *BackupFacts) Verdict {
	v := Verdict{}
	if ttl := b.Spec.TTL; ttl != nil && ttl.Duration < time.Minute {
		v.refuse("spec.ttl", ttl.Duration.String(), "is less than a minute: the backup would be deleted as soon as it is taken", "write a time as 720h, or leave it away to keep the backup")
	}
	if b.Spec.Place != nil {
		v.add(placeProblems(b.Spec.Place)...)
		f.Place.check(&v, "spec.place", b.Namespace, b.Spec.Place)
	}
	c := f.Cluster.Value
	switch {
	case f.Cluster.Err != nil:
		v.unknown("spec.cluster", "Cluster "+b.Namespace+"/"+b.Spec.Cluster, f.Cluster.Err)
		return v
	case c == nil: // one file may apply both
		v.warn(fmt.Sprintf("spec.cluster: %q is no Cluster in namespace %s yet; the Backup waits some minutes for it, and then fails", b.Spec.Cluster, b.Namespace))
		return v
	case b.Spec.Place == nil && c.Spec.Backup == nil:
		v.refuse("spec.place", "", "is missing, and cluster "+c.Name+" has no spec.backup", "say where the backup goes, as s3://BUCKET/PATH")
		return v
	case b.Spec.Place == nil:
		f.Place.check(&v, "cluster "+c.Name+", spec.backup", b.Namespace, c.Spec.Backup)
	}
	if f.System.check(&v, "spec.cluster", c.Spec.System) && f.System.Value.API().Backup == nil {
		v.refuse("spec.cluster", c.Name, "cannot be backed up: System "+f.System.Value.Name()+" does not say how", "add backup to the System")
	}
	return v
}

// placeProblems checks the form of a place as that of a Cluster is checked.
func placeProblems(place *v1alpha1.BackupPlace) []Problem {
	c := &v1alpha1.Cluster{Spec: v1alpha1.ClusterSpec{System: "any", Version: "0", Backup: place}}
	c.Name = "any"
	problems := problemsOf("", manifest.ValidateCluster(c, nil).OrNil())
	for i := range problems {
		problems[i].Field = "spec.place" + problems[i].Field[len("spec.backup"):]
	}
	return problems
}

// RestoreFacts are what was looked up about a Restore.
type RestoreFacts struct {
	Backup Known[v1alpha1.Backup]
	// Place is about spec.from.
	Place PlaceFacts
	// Cluster that is to be made; it may not be there yet.
	Cluster Known[v1alpha1.Cluster]
	// System that took the backup.
	System SystemFacts
	// Others are the Restores of the namespace.
	Others Known[[]v1alpha1.Restore]
}

// CheckRestore judges a new Restore. It cannot be changed, which is a rule in its CRD.
func CheckRestore(r *v1alpha1.Restore, f *RestoreFacts) Verdict {
	v := Verdict{}
	f.checkBackup(&v, r)
	f.checkTarget(&v, r)
	f.checkOthers(&v, r)
	return v
}

func (f *RestoreFacts) checkBackup(v *Verdict, r *v1alpha1.Restore) {
	const field = "spec.backup"
	b := f.Backup.Value
	if from := r.Spec.From; from != nil {
		for _, p := range placeProblems(&from.Place) {
			p.Field = "spec.from.place" + strings.TrimPrefix(p.Field, "spec.place")
			v.add(p)
		}
		f.Place.check(v, "spec.from.place", r.Namespace, &from.Place)
		return
	}
	switch {
	case f.Backup.Err != nil:
		v.unknown(field, "Backup "+r.Namespace+"/"+r.Spec.Backup, f.Backup.Err)
		return
	case b == nil:
		v.refuse(field, r.Spec.Backup, "is no Backup in namespace "+r.Namespace, "name one that is there")
		return
	case meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFailed):
		v.refuse(field, b.Name, "failed: there is nothing to restore", "use another Backup")
		return
	case !meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionFinished):
		v.warn(fmt.Sprintf("spec.backup: %q is not finished; the restore waits for it", b.Name))
	}
	name := ""
	if b.Status.System != nil {
		name = b.Status.System.Name
	}
	if name == "" {
		return // it has not begun
	}
	if f.System.check(v, field, name) && f.System.Value.API().Restore == nil {
		v.refuse(field, b.Name, "cannot be restored: System "+name+" does not say how", "add restore to the System")
	}
}

func (f *RestoreFacts) checkTarget(v *Verdict, r *v1alpha1.Restore) {
	const field = "spec.cluster"
	c := f.Cluster.Value
	if f.Cluster.Err != nil {
		v.unknown(field, "Cluster "+r.Namespace+"/"+r.Spec.Cluster, f.Cluster.Err)
		return
	}
	if b := f.Backup.Value; b != nil && b.Spec.Cluster == r.Spec.Cluster && c == nil {
		v.warn(fmt.Sprintf("spec.cluster: %q is the cluster that was backed up; volumes that are left of it are not overwritten", r.Spec.Cluster))
	}
	if c == nil {
		return
	}
	if c.Status.Applied != nil || c.Status.ReadyReplicas > 0 || len(c.Status.Members.Unready)+len(c.Status.Members.Ready) > 0 {
		v.refuse(field, c.Name, "has members already, and a restore never goes over a cluster that runs", "name a cluster that is not there yet; when it serves, send clients there")
		return
	}
	if b := f.Backup.Value; b != nil && b.Status.System != nil && b.Status.System.Name != "" && b.Status.System.Name != c.Spec.System {
		v.refuse(field, c.Name, fmt.Sprintf("is of System %s, and the backup of %s", c.Spec.System, b.Status.System.Name), "name a cluster of System "+b.Status.System.Name)
	}
}

func (f *RestoreFacts) checkOthers(v *Verdict, r *v1alpha1.Restore) {
	if f.Others.Err != nil {
		v.unknown("spec.cluster", "whether another Restore goes into it", f.Others.Err)
		return
	}
	if f.Others.Value == nil {
		return
	}
	for _, o := range *f.Others.Value {
		ended := meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.ConditionFailed)
		if o.Name != r.Name && o.Spec.Cluster == r.Spec.Cluster && !ended {
			v.refuse("spec.cluster", r.Spec.Cluster, "is what Restore "+o.Name+" goes into", "delete that one first, or name another cluster")
			return
		}
	}
}

// placeOf is where a Backup goes: its own place, or that of its Cluster.
func placeOf(b *v1alpha1.Backup, c *v1alpha1.Cluster) *v1alpha1.BackupPlace {
	if c == nil {
		return b.Spec.Place
	}
	return cmp.Or(b.Spec.Place, c.Spec.Backup)
}
