package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/probe"
	"theseus.dev/systems"
)

// The versions of the demo's story. The last one is a real 3.7 that was built to die some seconds after it
// began to serve.
const (
	demoFrom   = "3.5.35"
	demoTo     = "3.7.3"
	demoBroken = "3.7.4"
	demoName   = "demo"
)

func newDemo(a *app) *cobra.Command {
	var dir string
	var rate float64
	var keep bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Upgrade a real etcd under load, and take a broken version back",
		Long: `Start three real etcd members at ` + demoFrom + `, write to them at a constant rate,
upgrade them to ` + demoTo + ` in two hops, try a broken ` + demoBroken + `, watch it go back, and judge what
the clients noticed. It needs the servers that "make servers" builds.`,
		Example: "  theseus demo\n  theseus demo --rate 200 --keep",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.kube.given() {
				return inputErrorf("the demo is on this machine; leave --context, --namespace and --kubeconfig out")
			}
			telling := *a // what the commands of the story come to is talk here; the verdict is the result
			telling.out, telling.json = a.err, false
			d := &demo{app: &telling, result: a, dir: dir, rate: rate, keep: keep}
			return d.run(c.Context())
		},
	}
	c.Flags().StringVar(&dir, "dir", "demo", "folder for everything that the demo makes; it is emptied first")
	c.Flags().Float64Var(&rate, "rate", 1000, "requests a second")
	c.Flags().BoolVar(&keep, "keep", false, "leave the members running")
	return c
}

type demo struct {
	*app
	result *app
	dir    string
	rate   float64
	keep   bool
}

// run tells the story. Whatever happens, the members are stopped at its end, unless they shall stay.
func (d *demo) run(ctx context.Context) (err error) {
	if err := d.prepare(); err != nil {
		return err
	}
	defer func() {
		if d.keep {
			d.talkf("the members go on: theseus --home %s status %s", d.home, demoName)
			return
		}
		err = errors.Join(err, d.stopMembers(context.WithoutCancel(ctx)))
	}()
	d.chapter("three etcd members at " + demoFrom)
	if err := d.up(ctx, filepath.Join(d.dir, "cluster.yaml"), upFlags{}); err != nil {
		return err
	}
	k, err := d.open(ctx, demoName)
	if err != nil {
		return err
	}
	r, err := k.at.reach(ctx, k)
	if err != nil {
		return err
	}
	before, err := r.resources(ctx)
	if err != nil {
		return err
	}
	d.chapter(fmt.Sprintf("clients write and read, %g requests/s; a baseline first", d.rate))
	m, err := startProbe(ctx, r.probed, probe.Options{Rate: d.rate})
	if err != nil {
		return err
	}
	wait(ctx, m, 7*time.Second)
	if err := d.upgradeAndBack(ctx, m); err != nil {
		_, _ = m.Stop()
		return err
	}
	m.Mark(probe.Settle, "after")
	wait(ctx, m, 7*time.Second)
	d.chapter("every acknowledged write is read back")
	facts, err := k.facts(ctx, r, before)
	if err != nil {
		return err
	}
	return d.result.judge(m, probe.Quick(), facts, filepath.Join(d.dir, "verdict"))
}

// upgradeAndBack is the middle of the story, with each event on the probe's timeline.
func (d *demo) upgradeAndBack(ctx context.Context, m *measuring) error {
	d.watch = func(e v1alpha1.Event) { m.Step(strings.TrimSpace(eventLine(e))) }
	defer func() { d.watch = nil }()

	d.chapter("the plan to " + demoTo)
	if err := d.showPlanTo(ctx, demoName, demoTo); err != nil {
		return err
	}
	d.chapter("the upgrade: two hops, a backup before each")
	m.Mark(probe.Upgrade, demoFrom+" → "+demoTo)
	if err := d.upgrade(ctx, demoName, upgradeFlags{wish: wish{to: demoTo}}); err != nil {
		return err
	}
	d.chapter("a broken " + demoBroken + ": it serves, and dies some seconds later")
	m.Mark(probe.Upgrade, demoTo+" → "+demoBroken+" and back")
	err := d.upgrade(ctx, demoName, upgradeFlags{wish: wish{to: demoBroken}})
	return d.wentBack(ctx, err)
}

// wentBack checks that the broken version failed and that the cluster is where it was before.
func (d *demo) wentBack(ctx context.Context, err error) error {
	var e *exitError
	if !errors.As(err, &e) || e.code != exitFailed {
		return fmt.Errorf("the broken version should have failed and been rolled back: %w", err)
	}
	k, openErr := d.open(ctx, demoName)
	if openErr != nil {
		return openErr
	}
	st := &k.cluster.Status
	if at := st.Attempt; at == nil || at.Phase != v1alpha1.PhaseRolledBack || st.CurrentVersion != demoTo {
		return fmt.Errorf("the broken version was not rolled back: the members run %s", st.CurrentVersion)
	}
	d.talkf("rolled back by itself; every member runs %s again", st.CurrentVersion)
	return nil
}

func (d *demo) chapter(text string) { d.talkf("\n── %s", text) }

// prepare empties the demo's folder and writes the two files that a person would write.
func (d *demo) prepare() error {
	dir, err := filepath.Abs(d.dir)
	if err != nil {
		return inputError(err)
	}
	d.dir, d.home = dir, filepath.Join(dir, "state")
	if d.programs, err = demoPrograms(d.programs); err != nil {
		return err
	}
	if err := d.empty(); err != nil {
		return err
	}
	sys, err := demoSystem()
	if err != nil {
		return err
	}
	if err := writeYAML(filepath.Join(dir, "etcd.yaml"), sys); err != nil {
		return err
	}
	return writeYAML(filepath.Join(dir, "cluster.yaml"), d.cluster())
}

// demoMark is in a folder that a demo made, and may empty.
const demoMark = ".theseus-demo"

func (d *demo) empty() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return inputError(err)
	}
	mark := filepath.Join(d.dir, demoMark)
	if _, err := os.Stat(mark); err != nil && len(entries) > 0 {
		return inputErrorf("--dir %s: the folder is not empty and no demo made it; name another", d.dir)
	}
	if err := d.stopMembers(context.Background()); err != nil {
		return fmt.Errorf("stop what an earlier demo left running: %w", err)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return inputError(err)
	}
	return os.WriteFile(mark, []byte("made by theseus demo\n"), 0o644)
}

// demoPrograms finds the servers: in the folders given, or beside this program, where make puts them.
func demoPrograms(given []string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	folders := append(slices.Clone(given), filepath.Join(filepath.Dir(self), "servers"))
	for _, f := range folders {
		if _, err := os.Stat(filepath.Join(f, "etcd-"+demoFrom)); err == nil {
			return folders, nil
		}
	}
	return nil, inputErrorf("etcd-%s is in none of %s; build it with: make servers", demoFrom, strings.Join(folders, ", "))
}

// demoSystem is the shipped System with the broken version listed.
func demoSystem() (*v1alpha1.System, error) {
	text, err := systems.Load("etcd")
	if err != nil {
		return nil, err
	}
	objects, err := manifest.Decode("etcd.yaml", text)
	if err != nil {
		return nil, err
	}
	s := objects[0].System
	if !slices.Contains(s.Versions.Listed, demoBroken) {
		s.Versions.Listed = append(s.Versions.Listed, demoBroken)
	}
	return s, nil
}

func (d *demo) cluster() *v1alpha1.Cluster {
	three := int32(3)
	return &v1alpha1.Cluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindCluster},
		ObjectMeta: metav1.ObjectMeta{Name: demoName},
		Spec: v1alpha1.ClusterSpec{
			System:     "./etcd.yaml",
			Version:    demoFrom,
			Components: map[string]v1alpha1.ComponentSpec{"etcd": {Replicas: &three}},
			Backup:     &v1alpha1.BackupPlace{URL: "file://" + filepath.Join(d.dir, "backups")},
			Upgrade: v1alpha1.UpgradePolicy{
				Soak:             &metav1.Duration{Duration: 5 * time.Second},
				ProgressDeadline: &metav1.Duration{Duration: 2 * time.Minute},
			},
		},
	}
}

func writeYAML(path string, v any) error {
	text, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func (d *demo) stopMembers(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(d.home, demoName)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return d.down(ctx, demoName, downFlags{})
}
