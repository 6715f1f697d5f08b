package main

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"theseus.dev/api/v1alpha1"
)

// A version that the System allows and does not list is warned of before anything begins.
func TestUnlistedVersion(t *testing.T) {
	etcd, err := known("etcd")
	if err != nil {
		t.Fatal(err)
	}
	c := running("3.6.16")
	c.Spec.System = "etcd"
	c.Spec.Components = map[string]v1alpha1.ComponentSpec{"etcd": c.Spec.Components["standin"]}
	c.Spec.Backup = &v1alpha1.BackupPlace{URL: "file:///backups"}
	c.Status.Applied = &v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: v1alpha1.SystemRef{Name: etcd.Name(), Hash: etcd.Hash()}}
	k := newTown(t, interceptor.Funcs{}, c).opened(t, "si")
	for to, want := range map[string]string{"3.7.9": "is not listed by etcd: nobody says that it works", "3.7.3": ""} {
		p, err := k.planTo(t.Context(), wish{to: to})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(p.warnings(), " ")
		if want != "" && !strings.Contains(got, want) || want == "" && strings.Contains(got, "listed") {
			t.Errorf("%s: warnings %q, want %q", to, got, want)
		}
	}
}

// What the options should keep is warned of in the plan, and once where the webhook says it too.
func TestOptionsThatWarn(t *testing.T) {
	aerospike, err := known("aerospike")
	if err != nil {
		t.Fatal(err)
	}
	const warning = "cannot be read or written while it is replaced"
	for factor, want := range map[string]int{"1": 1, "2": 0} {
		c := running("4.2.0.3")
		two := int32(2)
		c.Spec.System, c.Spec.Options = "aerospike", map[string]string{"replicationFactor": factor}
		c.Spec.Components = map[string]v1alpha1.ComponentSpec{"aerospike": {Replicas: &two}}
		c.Spec.Backup = &v1alpha1.BackupPlace{URL: "file:///backups"}
		c.Status.Applied = &v1alpha1.Pinned{Spec: *c.Spec.DeepCopy(), System: v1alpha1.SystemRef{Name: aerospike.Name(), Hash: aerospike.Hash()}}
		town := newTown(t, interceptor.Funcs{}, c)
		k := town.opened(t, "si")
		p, err := k.planTo(t.Context(), wish{to: "4.2.0.4"})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(strings.Join(p.warnings(), " "), warning); got != want {
			t.Errorf("replicationFactor %s: warned %d times, want %d: %q", factor, got, want, p.warnings())
		}
		town.heard.said = aerospike.OptionWarnings(&c.Spec)
		if err := k.printForesight(t.Context(), p.plan, p.proposal(k)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(town.out.String(), warning); got != want {
			t.Errorf("replicationFactor %s: the plan warns %d times, want %d:\n%s", factor, got, want, town.out.String())
		}
	}
}

// A version that failed before is tried again by who names it, and is warned of.
func TestTriedVersion(t *testing.T) {
	c := applied(t, running("1.0.0"))
	c.Status.FailedTarget = "1.1.0"
	k := newTown(t, interceptor.Funcs{}, c).opened(t, "si")
	for to, want := range map[string]bool{"1.1.0": true, "1.0.1": false} {
		p, err := k.planTo(t.Context(), wish{to: to})
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(p.warnings(), to+" failed or was taken back before, and is tried again"); got != want {
			t.Errorf("%s: warned %t, want %t: %q", to, got, want, p.warnings())
		}
	}
}

// An option or a value that there is not is named as such, and not as one that comes at the wrong time.
func TestUnknownOptionInSet(t *testing.T) {
	c := applied(t, running("1.0.0"))
	k := newTown(t, interceptor.Funcs{}, c).opened(t, "si")
	_, err := k.planTo(t.Context(), wish{to: "1.1.0", set: map[string]string{"pace": "x"}})
	if codeOf(err) != exitInput || !strings.Contains(err.Error(), "--set: spec.options.pace") || strings.Contains(err.Error(), "together") {
		t.Errorf("got %v", err)
	}
	k = newTown(t, interceptor.Funcs{}, c).opened(t, "si")
	if _, err = k.planTo(t.Context(), wish{to: "1.1.0", set: map[string]string{"control": "x"}}); err == nil || !strings.Contains(err.Error(), "together") {
		t.Errorf("an option that there is: got %v", err)
	}
}

// A program that is not there has a version that may be a mistake.
func TestProgramOfUnlistedVersion(t *testing.T) {
	etcd, err := known("etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("THESEUS_PROGRAMS", t.TempDir())
	m := &machine{app: &app{}}
	c := running("3.6.16")
	err = m.permit(t.Context(), &proposal{name: "si", spec: &c.Spec, system: etcd, versions: []string{"3.7"}})
	if got := (&app{began: true}).explain(nil, err); got.Next != "did you mean 3.7.3?" || got.ExitCode != exitInput {
		t.Errorf("got %+v", got)
	}
}
