package operator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/upgrade"
)

// A run whose action says so is done by a Job, which outlives this process. The Job is made suspended, then claimed with its UID, and then let go. So
// none runs that is not claimed, and a claim whose Job is gone is an unknown outcome: no run is done twice, whenever an operator ends.

const (
	// RunCommand is the hidden subcommand with which a Job does a run.
	RunCommand   = "__run-action"
	runContainer = "run"
	runLabel     = "theseus.dev/run-of"

	// keptJob is for how long a Job that has ended is there, for its log.
	keptJob = 24 * time.Hour
)

// RunOrder is what the Job of a run needs to know.
type RunOrder struct {
	System v1alpha1.SystemRef `json:"system"`
	// Action is the path of the action in the System. Its templates are filled in below: nothing is asked in the pod.
	Action string            `json:"action"`
	Run    []string          `json:"run"`
	Env    map[string]string `json:"env,omitempty"`
	// Member that it is done to, and its version, for the names of programs.
	Member  string `json:"member"`
	Version string `json:"version"`
}

// RunResult is the termination message of the Job of a run.
type RunResult struct {
	// Outcome is succeeded, failed or unknown.
	Outcome string `json:"outcome"`
	Message string `json:"message,omitempty"`
}

// runJobName is fixed, and no other Cluster's: one of the same name may have counted its runs up to this id.
func runJobName(cluster types.UID, id int64) string {
	return jobName("run", cluster) + "-" + strconv.FormatInt(id, 10)
}

// beginJob has a run done by a Job. What keeps the Job from ever being made is a failure: nothing has happened.
func (p *Platform) beginJob(ctx context.Context, s runner.Scene, i v1alpha1.Intent, action *v1alpha1.Action) error {
	job, err := p.runJob(ctx, s, i, action)
	if apierrors.IsNotFound(err) || errors.As(err, new(refusal)) {
		_, err = p.claimRun(ctx, s.Cluster, i.ID, claim{Owner: p.Identity, Outcome: upgrade.Failed.String(), Message: err.Error()})
		return err
	}
	if err != nil {
		return err
	}
	err = p.API.Create(ctx, job)
	if apierrors.IsAlreadyExists(err) { // an operator that ended made it, and may not have claimed it
		err = p.Live.Get(ctx, client.ObjectKeyFromObject(job), job)
		if err == nil && !metav1.IsControlledBy(job, s.Cluster) {
			err = &ForeignError{"Job", job.Name, s.Cluster.Name}
		}
	}
	if err != nil {
		return fmt.Errorf("make Job %s: %w", job.Name, err)
	}
	won, err := p.claimRun(ctx, s.Cluster, i.ID, claim{Owner: p.Identity, Job: job.UID})
	if err != nil || !won {
		return err
	}
	return letGo(ctx, p.API, job)
}

// runJob is a Job in the image of the member, or in the one that the action names, which has the files that the member has.
func (p *Platform) runJob(ctx context.Context, s runner.Scene, i v1alpha1.Intent, action *v1alpha1.Action) (*batchv1.Job, error) {
	if p.Image == "" {
		return nil, refusal{fmt.Errorf("the operator was not told its own image, which does %s: set --image", i.Action)}
	}
	sc, err := p.scopeOf(s, i)
	if err != nil {
		return nil, refusal{err}
	}
	order := &RunOrder{System: v1alpha1.SystemRef{Name: s.System.Name(), Hash: s.System.Hash()}, Action: i.Action, Member: i.Member, Version: sc.M.Version}
	image, err := s.System.Expand(action.Job.Image, sc)
	if err != nil {
		return nil, refusal{fmt.Errorf("job.image: %w", err)}
	}
	if order.Run, order.Env, err = p.askerFor(s).Filled(&action.Call, sc); err != nil {
		return nil, refusal{err}
	}
	like, err := podLike(ctx, p.Live, &blueprint{cluster: s.Cluster, system: s.System, component: s.System.Component(i.Component), spec: specOf(s.Cluster), version: sc.M.Version}, sc.M)
	if err != nil {
		return nil, err
	}
	pod, command := inMembersImage(p.Image, like, s.System, RunCommand)
	pod.Containers[0].Image = cmp.Or(image, pod.Containers[0].Image)
	job, err := jobOf(p.Key.Namespace, pod, work{name: runJobName(s.Cluster.UID, i.ID), container: runContainer, labels: map[string]string{runLabel: s.Cluster.Name},
		owner: ownedBy(v1alpha1.KindCluster, s.Cluster), command: command, order: order})
	if err != nil {
		return nil, err
	}
	suspend(job)
	return job, nil
}

// specOf is what the members of a Cluster are made from, whatever was edited meanwhile.
func specOf(c *v1alpha1.Cluster) *v1alpha1.ClusterSpec {
	if a := c.Status.Attempt; a != nil && !a.Phase.Ended() {
		return &a.Target.Spec
	}
	return &c.Spec
}

// followJob sees how far the Job of a claimed run is, and writes down how it ended.
func (p *Platform) followJob(ctx context.Context, s runner.Scene, id int64, c claim) (upgrade.Outcome, error) {
	job := &batchv1.Job{}
	err := p.Live.Get(ctx, types.NamespacedName{Namespace: p.Key.Namespace, Name: runJobName(s.Cluster.UID, id)}, job)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return upgrade.Outcome{}, err
	case err != nil || job.UID != c.Job:
		return p.jobEnded(ctx, id, c, upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: "its Job is gone before it said how it went"})
	case finished(job):
		return p.finishJob(ctx, id, c, job)
	case unwanted(&s.Cluster.Status, id):
		return p.takeBack(ctx, id, c, job)
	case suspended(job): // whoever claimed it ended before it was let go
		if err := letGo(ctx, p.API, job); err != nil {
			return upgrade.Outcome{}, err
		}
	}
	why, err := jobHindrance(ctx, p.Live, job)
	return upgrade.Outcome{Phase: upgrade.Underway, Message: joined("Job "+job.Name, why)}, err
}

// finishJob gives a Job that has ended a time to go, and keeps what it said.
func (p *Platform) finishJob(ctx context.Context, id int64, c claim, job *batchv1.Job) (upgrade.Outcome, error) {
	message, how, err := messageOf(ctx, p.Live, job, runContainer)
	if err != nil {
		return upgrade.Outcome{}, err
	}
	if job.Spec.TTLSecondsAfterFinished == nil {
		before, ttl := job.DeepCopy(), int32(keptJob.Seconds())
		job.Spec.TTLSecondsAfterFinished = &ttl
		if err := p.API.Patch(ctx, job, client.MergeFrom(before)); err != nil {
			return upgrade.Outcome{}, err
		}
	}
	return p.jobEnded(ctx, id, c, saidBy(job, message, how))
}

// saidBy is the outcome of a run whose Job has ended. One of which nobody knows what it said was done if it ended well, and may have been if not.
func saidBy(job *batchv1.Job, message, how string) upgrade.Outcome {
	r := RunResult{}
	if json.Unmarshal([]byte(message), &r) == nil {
		if phase, ended := upgrade.Ended(r.Outcome); ended {
			return upgrade.Outcome{Phase: phase, Message: r.Message}
		}
	}
	if succeeded(job) {
		return upgrade.Outcome{Phase: upgrade.Succeeded}
	}
	return upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: joined("its Job "+job.Name+" failed", joined(how, message))}
}

// unwanted says that nobody waits for a run any more: its attempt is over, or a person counted it as done. Of a run that came after this status was written
// nothing is known.
func unwanted(st *v1alpha1.ClusterStatus, id int64) bool {
	if id > st.Acts {
		return false
	}
	a := st.Attempt
	if a == nil || a.Phase.Ended() {
		return true
	}
	for _, step := range a.Steps {
		for _, r := range step.Runs {
			if r.ID == id {
				return r.Done
			}
		}
	}
	return true
}

// takeBack ends a Job that nobody waits for: it must not begin, of all things, after the upgrade that it was for.
func (p *Platform) takeBack(ctx context.Context, id int64, c claim, job *batchv1.Job) (upgrade.Outcome, error) {
	if err := deleteJob(ctx, p.API, job); err != nil {
		return upgrade.Outcome{}, err
	}
	return p.jobEnded(ctx, id, c, upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: "nobody waited for it any more, and its Job was deleted before it ended"})
}

func (p *Platform) jobEnded(ctx context.Context, id int64, c claim, o upgrade.Outcome) (upgrade.Outcome, error) {
	c.Outcome, c.Message = o.Phase.String(), bounded(o.Message)
	return o, p.changeRuns(ctx, nil, func(claims map[string]string) bool {
		claims[strconv.FormatInt(id, 10)] = encode(c)
		return true
	})
}
