package operator

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// loading is the stand-in with an action that a Job does, and a Cluster whose attempt waits for run 5 of it.
func loading(t *testing.T) runner.Scene {
	t.Helper()
	source := standin(t).Source().DeepCopy()
	source.Actions["load"] = v1alpha1.Action{Call: v1alpha1.Call{Run: []string{"loader-${version}", "--to=${m.name}", "$${as it is}"}, Env: map[string]string{"FROM": "${from}"}},
		Job: &v1alpha1.ActionJob{Image: "lab.test/tools:${version}"}}
	sys, err := system.Compile(source)
	fatal(t, err)
	c := kv()
	c.Status.Acts = 5
	c.Status.Attempt = &v1alpha1.Attempt{Phase: v1alpha1.PhaseRunning, Target: v1alpha1.Pinned{Spec: c.Spec}, Steps: []v1alpha1.StepStatus{{Runs: []v1alpha1.RunRef{{ID: 5}}}}}
	return runner.Scene{Cluster: c, System: sys}
}

func loadIntent() v1alpha1.Intent {
	return v1alpha1.Intent{ID: 5, Act: v1alpha1.ActRun, Component: "standin", Member: "kv-standin-0", Action: system.NamedActionPath("load"), From: "1.0.0", Version: "1.1.0"}
}

// runsJobs is a new operator, which has seen the members.
func (w *world) runsJobs(s runner.Scene) *Platform {
	p := w.operator().platformFor(key)
	m := (&blueprint{cluster: s.Cluster, system: s.System, component: s.System.Component("standin"), spec: &s.Cluster.Spec, version: "1.0.0"}).view("kv-standin-0", 0)
	p.seen = map[string]*system.Member{m.Name: m}
	return p
}

// pursue is what the core does about a run: it begins what was not begun, and waits for its end.
func (w *world) pursue(s runner.Scene) upgrade.Outcome {
	w.Helper()
	p := w.runsJobs(s)
	for range 30 {
		if w.dead {
			p = w.runsJobs(s)
		}
		out, err := p.runOutcomes(w.Context(), s)
		if err == nil && out[5].Phase == upgrade.NotBegun {
			err = p.run(w.Context(), s, loadIntent())
		}
		if err != nil && !errors.Is(err, errKilled) {
			w.Fatal(err)
		}
		if err == nil && out[5].Phase != upgrade.NotBegun && out[5].Phase != upgrade.Underway {
			return out[5]
		}
		w.wantClaimed()
		w.turn()
	}
	w.Fatal("the run does not end")
	return upgrade.Outcome{}
}

// wantClaimed wants of every Job that may run that its run is claimed: who finds it gone then knows that it may have happened.
func (w *world) wantClaimed() {
	w.Helper()
	jobs := &batchv1.JobList{}
	w.must(w.api.List(w.Context(), jobs))
	for _, job := range jobs.Items {
		m := &corev1.ConfigMap{}
		err := w.api.Get(w.Context(), types.NamespacedName{Namespace: key.Namespace, Name: runsName("kv")}, m)
		c := claim{}
		if !suspended(&job) && (err != nil || json.Unmarshal([]byte(m.Data["5"]), &c) != nil || c.Job != job.UID) {
			w.Errorf("Job %s may run, and its run is not claimed: %q", job.Name, m.Data["5"])
		}
	}
}

// TestJobOfARunKilled: whenever the operator ends, the run is done once, and known to have succeeded.
func TestJobOfARunKilled(t *testing.T) {
	story := func(killAt int, after bool) int {
		w := &world{T: t, api: fakeAPI(t), killAt: killAt, killAfter: after}
		if o := w.pursue(loading(t)); o.Phase != upgrade.Succeeded {
			t.Errorf("killed at write %d (after it: %v): the outcome is %+v, want success", killAt, after, o)
		}
		w.wantRan("run", 1)
		return w.writes
	}
	writes := story(0, false)
	if writes != 5 { // make, claim, let go, give it a time to go, write down how it ended
		t.Errorf("it takes %d writes, want 5", writes)
	}
	for at := 1; at <= writes; at++ {
		story(at, false)
		story(at, true)
	}
}

// TestJobOfARun has the program, filled in, in the image that the action names, with this program beside it, and no right to anything.
func TestJobOfARun(t *testing.T) {
	s := loading(t)
	w := &world{T: t, api: fakeAPI(t)}
	fatal(t, w.runsJobs(s).run(t.Context(), s, loadIntent()))
	job := w.theJob(s)
	c, order := job.Spec.Template.Spec.Containers[0], RunOrder{}
	fatal(t, orderOf(job, runContainer, &order))
	if want := []string{"loader-1.1.0", "--to=kv-standin-0", "${as it is}"}; !slices.Equal(order.Run, want) || order.Env["FROM"] != "1.0.0" || order.Version != "1.0.0" {
		t.Errorf("the order is %+v, want %q", order, want)
	}
	if c.Image != "lab.test/tools:1.1.0" || !slices.Equal(c.Command, []string{toolsProgram, RunCommand}) || job.Spec.Template.Spec.InitContainers[0].Image != "lab.test/theseus:1" {
		t.Errorf("the container is %+v", c)
	}
	if *job.Spec.BackoffLimit != 0 || job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever || !metav1.IsControlledBy(job, s.Cluster) {
		t.Errorf("the Job is %+v; want one try, and one that belongs to the Cluster", job)
	}
	if job.Labels[clusterLabel] != "" || job.Spec.Template.Labels[clusterLabel] != "" {
		t.Error("its pod would be taken for a member")
	}
}

func (w *world) theJob(s runner.Scene) *batchv1.Job {
	w.Helper()
	job := &batchv1.Job{}
	w.must(w.api.Get(w.Context(), types.NamespacedName{Namespace: key.Namespace, Name: runJobName(s.Cluster.UID, 5)}, job))
	return job
}

// TestJobOfARunEnds: what a Job said counts, else how it ended; and of one that is gone nobody knows.
func TestJobOfARunEnds(t *testing.T) {
	for name, x := range map[string]struct {
		message string
		end     batchv1.JobConditionType
		podless bool
		gone    bool
		want    upgrade.OutcomePhase
		says    string
	}{
		"said so":               {message: `{"outcome": "failed", "message": "exit code 3"}`, end: batchv1.JobFailed, want: upgrade.Failed, says: "exit code 3"},
		"does not know":         {message: `{"outcome": "unknown", "message": "killed"}`, end: batchv1.JobFailed, want: upgrade.OutcomeUnknown, says: "killed"},
		"ended well, pod gone":  {end: batchv1.JobComplete, podless: true, want: upgrade.Succeeded},
		"ended badly, pod gone": {end: batchv1.JobFailed, podless: true, want: upgrade.OutcomeUnknown, says: "its pod is gone"},
		"said nothing":          {message: "Killed", end: batchv1.JobFailed, want: upgrade.OutcomeUnknown, says: "Killed"},
		"deleted by hand":       {gone: true, want: upgrade.OutcomeUnknown, says: "its Job is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			s := loading(t)
			w := &world{T: t, api: fakeAPI(t)}
			p := w.runsJobs(s)
			fatal(t, p.run(t.Context(), s, loadIntent()))
			job := w.theJob(s)
			if x.gone {
				w.must(w.api.Delete(t.Context(), job))
			} else {
				w.ends(job, x.end, x.message, x.podless)
			}
			for range 2 { // from the Job, and then as it was written down
				out, err := p.runOutcomes(t.Context(), s)
				if err != nil || out[5].Phase != x.want || !strings.Contains(out[5].Message, x.says) {
					t.Errorf("the outcome is %+v, %v; want %s with %q", out[5], err, x.want, x.says)
				}
				w.must(client.IgnoreNotFound(w.api.Delete(t.Context(), job.DeepCopy())))
			}
		})
	}
}

// ends has a Job end.
func (w *world) ends(job *batchv1.Job, how batchv1.JobConditionType, message string, podless bool) {
	w.Helper()
	if !podless {
		w.put(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: "said", Labels: map[string]string{batchv1.JobNameLabel: job.Name}},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: runContainer, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message}}}}}})
	}
	job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{Type: how, Status: corev1.ConditionTrue})
	w.must(w.api.Status().Update(w.Context(), job))
}

// TestJobOfARunTakenBack: one that nobody waits for any more is deleted, so that it does not begin after the upgrade that it was for; one of which this status
// does not know yet is left alone.
func TestJobOfARunTakenBack(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*v1alpha1.ClusterStatus)
		gone   bool
	}{
		"waited for":          {func(*v1alpha1.ClusterStatus) {}, false},
		"counted as done":     {func(st *v1alpha1.ClusterStatus) { st.Attempt.Steps[0].Runs[0].Done = true }, true},
		"of another attempt":  {func(st *v1alpha1.ClusterStatus) { st.Attempt.Steps = nil }, true},
		"of one that ended":   {func(st *v1alpha1.ClusterStatus) { st.Attempt.Phase = v1alpha1.PhaseAborted }, true},
		"of one that waits":   {func(st *v1alpha1.ClusterStatus) { st.Attempt.Phase = v1alpha1.PhasePaused }, false},
		"later than it knows": {func(st *v1alpha1.ClusterStatus) { st.Acts, st.Attempt = 4, nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := loading(t)
			w := &world{T: t, api: fakeAPI(t)}
			p := w.runsJobs(s)
			fatal(t, p.run(t.Context(), s, loadIntent()))
			x.change(&s.Cluster.Status)
			out, err := p.runOutcomes(t.Context(), s)
			fatal(t, err)
			jobs := &batchv1.JobList{}
			w.must(w.api.List(t.Context(), jobs))
			if gone := len(jobs.Items) == 0; gone != x.gone || gone != (out[5].Phase == upgrade.OutcomeUnknown) {
				t.Errorf("the Job is gone: %v, want %v; the outcome is %+v", gone, x.gone, out[5])
			}
		})
	}
}

// TestJobOfARunIsRefused: what can never become a Job has failed, and is not tried for ever.
func TestJobOfARunIsRefused(t *testing.T) {
	s := loading(t)
	w := &world{T: t, api: fakeAPI(t)}
	p := w.runsJobs(s)
	p.Image = ""
	fatal(t, p.run(t.Context(), s, loadIntent()))
	out, err := p.runOutcomes(t.Context(), s)
	if err != nil || out[5].Phase != upgrade.Failed || !strings.Contains(out[5].Message, "set --image") {
		t.Errorf("the outcome is %+v, %v; want that it failed for want of an image", out[5], err)
	}
}
