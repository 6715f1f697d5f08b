package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/ask"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Runs are done by this process, or by Jobs (run_job.go). Before one is begun its id is claimed in a ConfigMap of the Cluster, by a write that only one
// can win; how it ended is written there too. A claim of a process that is gone, without an end, is an unknown outcome.

// claim is what the ConfigMap says of one run.
type claim struct {
	Owner string `json:"owner"`
	// Cluster for which it is, of those that had its name.
	Cluster types.UID `json:"cluster,omitempty"`
	// Job that does it, if one does.
	Job types.UID `json:"job,omitempty"`
	// Outcome is empty until it has ended: succeeded, failed or unknown.
	Outcome string `json:"outcome,omitempty"`
	Message string `json:"message,omitempty"`
}

// Runs are the runs of this process by Cluster, whichever Platform began them. The zero value is ready to use.
type Runs struct {
	mu   sync.Mutex
	ends map[types.UID]map[int64]upgrade.Outcome
}

func (r *Runs) note(cluster types.UID, id int64, o upgrade.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends == nil {
		r.ends = map[types.UID]map[int64]upgrade.Outcome{}
	}
	if r.ends[cluster] == nil {
		r.ends[cluster] = map[int64]upgrade.Outcome{}
	}
	r.ends[cluster][id] = o
}

// of are the runs of a Cluster whose ends are not written down. Who only looks has none.
func (r *Runs) of(cluster types.UID) map[int64]upgrade.Outcome {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.ends[cluster])
}

// forget lets go of a run whose end is written down.
func (r *Runs) forget(cluster types.UID, id int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ends[cluster], id)
	if len(r.ends[cluster]) == 0 {
		delete(r.ends, cluster)
	}
}

// keptRuns is how many runs are kept; those that a step refers to are kept in any case.
const keptRuns = 64

func runsName(cluster string) string { return cluster + "-theseus-runs" }

func (p *Platform) runsKey() types.NamespacedName {
	return types.NamespacedName{Namespace: p.Key.Namespace, Name: runsName(p.Key.Name)}
}

func (p *Platform) run(ctx context.Context, s runner.Scene, i v1alpha1.Intent) error {
	if s.System == nil {
		return errors.New("run: the System is not known")
	}
	action, err := s.System.Action(i.Action)
	if err != nil {
		return err
	}
	if p.seen == nil {
		if _, err := p.Look(ctx, s); err != nil {
			return err
		}
	}
	if action.Job != nil {
		return p.beginJob(ctx, s, i, action)
	}
	mine := claim{Owner: p.Identity, Cluster: s.Cluster.UID}
	won, err := p.claimRun(ctx, s.Cluster, i.ID, mine)
	if err != nil || !won {
		return err
	}
	p.Runs.note(s.Cluster.UID, i.ID, upgrade.Outcome{Phase: upgrade.Underway})
	sc, err := p.scopeOf(s, i)
	target := ask.Target{}
	if err == nil {
		target = p.target(sc, true)
	}
	asker, where := p.askerFor(s), p.rooms[i.Member]
	go p.fly(context.WithoutCancel(ctx), i.ID, mine, func(ctx context.Context) error {
		if err == nil {
			err = p.same(ctx, where) // another pod may have its address by now
		}
		if err != nil {
			return &ask.Failed{Err: err}
		}
		_, err := asker.Do(ctx, action, target)
		return err
	})
	return nil
}

// scopeOf has the member that an action is done to, as the last look showed it.
func (p *Platform) scopeOf(s runner.Scene, i v1alpha1.Intent) (*system.Scope, error) {
	var all []*system.Member
	for _, m := range p.seen {
		if m.Component == i.Component {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *system.Member) int { return a.Ordinal - b.Ordinal })
	sc := &system.Scope{Cluster: p.Key.Name, Version: i.Version, From: i.From, Options: s.System.Options(&s.Cluster.Spec), M: p.seen[i.Member], All: all}
	if sc.M == nil {
		return nil, fmt.Errorf("member %s was not seen", i.Member)
	}
	if sc.To = p.seen[i.To]; sc.To == nil && i.To != "" {
		return nil, fmt.Errorf("member %s was not seen", i.To)
	}
	return sc, nil
}

// fly does a run and writes down how it ended.
func (p *Platform) fly(ctx context.Context, id int64, mine claim, do func(context.Context) error) {
	err := do(ctx)
	o := upgrade.Outcome{Phase: upgrade.Succeeded}
	switch {
	case err == nil:
	case errors.As(err, new(*ask.Failed)):
		o = upgrade.Outcome{Phase: upgrade.Failed, Message: err.Error()}
	default:
		o = upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: err.Error()}
	}
	p.Runs.note(mine.Cluster, id, o)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p.recordRun(ctx, id, mine, o)
}

// claimRun says whether this process is the one that begins the run. Nobody claims an id twice.
func (p *Platform) claimRun(ctx context.Context, c *v1alpha1.Cluster, id int64, mine claim) (won bool, err error) {
	err = p.changeRuns(ctx, c, func(claims map[string]string) bool {
		_, taken := claims[strconv.FormatInt(id, 10)]
		if won = !taken; won {
			forgetRuns(claims, id, c.Status.Attempt)
			claims[strconv.FormatInt(id, 10)] = encode(mine)
		}
		return won
	})
	return won && err == nil, err
}

// recordRun keeps trying, because nobody else knows how the run ended; until it is written this process remembers it. Where the claim is not there any
// more, or is of another Cluster of this name, nobody asks.
func (p *Platform) recordRun(ctx context.Context, id int64, mine claim, o upgrade.Outcome) {
	key, end := strconv.FormatInt(id, 10), mine
	end.Outcome, end.Message = o.Phase.String(), o.Message
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := p.changeRuns(ctx, nil, func(claims map[string]string) bool {
			if claims[key] != encode(mine) {
				return false
			}
			claims[key] = encode(end)
			return true
		})
		if err == nil || apierrors.IsNotFound(err) {
			p.Runs.forget(mine.Cluster, id)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts always marshal
	}
	return string(text)
}

// forgetRuns removes runs that nobody will ask about again: ids only grow.
func forgetRuns(claims map[string]string, now int64, a *v1alpha1.Attempt) {
	refers := map[int64]bool{}
	if a != nil {
		for _, step := range a.Steps {
			for _, r := range step.Runs {
				refers[r.ID] = true
			}
		}
	}
	for key := range claims {
		if id, err := strconv.ParseInt(key, 10, 64); err != nil || id <= now-keptRuns && !refers[id] {
			delete(claims, key)
		}
	}
}

func (p *Platform) changeRuns(ctx context.Context, c *v1alpha1.Cluster, change func(map[string]string) bool) error {
	return p.changeMap(ctx, p.runsKey(), c, change)
}

// changeMap changes a ConfigMap by a write that fails if somebody else wrote since it was read, and is then tried again on what is there. It is
// made for a Cluster that is given, and else must be there.
func (p *Platform) changeMap(ctx context.Context, key types.NamespacedName, c *v1alpha1.Cluster, change func(map[string]string) bool) error {
	for {
		m := &corev1.ConfigMap{}
		err := p.Live.Get(ctx, key, m)
		missing := apierrors.IsNotFound(err) && c != nil
		if err != nil && !missing {
			return err
		}
		if c != nil && !missing && !belongs(m, c) { // the garbage collector sees that it belongs to another one now
			m.Data, m.OwnerReferences = nil, []metav1.OwnerReference{ownerOf(c)}
		}
		if missing {
			m = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name,
				Labels: map[string]string{managedByLabel: managerName, clusterLabel: p.Key.Name}, OwnerReferences: []metav1.OwnerReference{ownerOf(c)}}}
		}
		if m.Data == nil {
			m.Data = map[string]string{}
		}
		if !change(m.Data) {
			return nil
		}
		if missing {
			err = p.API.Create(ctx, m)
		} else {
			err = p.API.Update(ctx, m)
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
}

// belongs says that a ConfigMap is of this Cluster. One of the same name may have left its own: what that says of runs and volumes is of other ones.
func belongs(m *corev1.ConfigMap, c *v1alpha1.Cluster) bool {
	return slices.ContainsFunc(m.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == c.UID })
}

func ownerOf(c *v1alpha1.Cluster) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindCluster, Name: c.Name, UID: c.UID}
}

// runOutcomes are the outcomes of all runs that were claimed.
func (p *Platform) runOutcomes(ctx context.Context, s runner.Scene) (map[int64]upgrade.Outcome, error) {
	flying := p.Runs.of(s.Cluster.UID) // before the read: one whose end is written behind it is in here still
	m := &corev1.ConfigMap{}
	if err := p.Live.Get(ctx, p.runsKey(), m); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	if !belongs(m, s.Cluster) {
		return nil, nil
	}
	out := map[int64]upgrade.Outcome{}
	for key, text := range m.Data {
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			continue
		}
		if out[id], err = p.outcomeOf(ctx, s, id, text, flying); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// claimIn reads a claim. Of a run whose claim cannot be read nobody knows how it ended.
func claimIn(text string) (c claim) {
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return claim{Outcome: upgrade.OutcomeUnknown.String(), Message: "its record cannot be read: " + err.Error()}
	}
	return c
}

func (p *Platform) outcomeOf(ctx context.Context, s runner.Scene, id int64, text string, flying map[int64]upgrade.Outcome) (upgrade.Outcome, error) {
	c := claimIn(text)
	if phase, ended := upgrade.Ended(c.Outcome); ended {
		return upgrade.Outcome{Phase: phase, Message: c.Message}, nil
	}
	if c.Job != "" {
		return p.followJob(ctx, s, id, c)
	}
	if o, ok := flying[id]; ok && c.Owner == p.Identity {
		return o, nil
	}
	return upgrade.Outcome{Phase: upgrade.OutcomeUnknown, Message: c.Owner + " began it and ended before it said how it went"}, nil
}
