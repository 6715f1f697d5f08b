package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// Kubernetes makes a pod as soon as one is gone. In two sorts of hop that pod must not start at once: where volumes are made anew, not on a
// volume that is not for its version; where versions must not mix, not beside another one. In these hops the pod template has a scheduling
// gate, and annotations that say until when. Each pod carries its own condition, so that one from an older template is judged by that. The
// look that sees it come true takes the gate away, which can be done again and again. When the attempt is over, so is the gate of the template: nobody's pods
// depend on an operator that runs, but in these hops.

const (
	holdGate = "theseus.dev/hold"
	// onlyOnAnnotation and neverOnAnnotation of a pod are as in an Intent.
	onlyOnAnnotation  = "theseus.dev/only-on"
	neverOnAnnotation = "theseus.dev/never-on"
	// aloneAnnotation of a pod holds it while a pod of another revision is there.
	aloneAnnotation = "theseus.dev/not-beside-others"
)

// hold is what must be so before a pod may start. The zero value holds nothing.
type hold struct {
	onlyOn, neverOn string
	alone           bool
}

func (h hold) some() bool { return h != hold{} }

// fits says whether a pod may start on a volume of this name.
func (h hold) fits(volume string) bool {
	return strings.HasPrefix(volume, h.onlyOn) && (h.neverOn == "" || !strings.HasPrefix(volume, h.neverOn))
}

func (h hold) brand(t *corev1.PodTemplateSpec) {
	if !h.some() {
		return
	}
	t.Spec.SchedulingGates = append(t.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: holdGate})
	for name, value := range map[string]string{onlyOnAnnotation: h.onlyOn, neverOnAnnotation: h.neverOn} {
		if value != "" {
			t.Annotations[name] = value
		}
	}
	if h.alone {
		t.Annotations[aloneAnnotation] = "true"
	}
}

func unbrand(t *corev1.PodTemplateSpec) {
	t.Spec.SchedulingGates = slices.DeleteFunc(t.Spec.SchedulingGates, isHold)
	for _, name := range []string{onlyOnAnnotation, neverOnAnnotation, aloneAnnotation} {
		delete(t.Annotations, name)
	}
}

func holdOf(pod *corev1.Pod) hold { return holdIn(pod.Annotations) }

func holdIn(a map[string]string) hold {
	return hold{onlyOn: a[onlyOnAnnotation], neverOn: a[neverOnAnnotation], alone: a[aloneAnnotation] != ""}
}

func isHold(g corev1.PodSchedulingGate) bool { return g.Name == holdGate }

// held says that a pod has not started and does not, until its gate is taken away.
func held(pod *corev1.Pod) bool {
	return pod != nil && slices.ContainsFunc(pod.Spec.SchedulingGates, isHold)
}

func someHeld(members map[int]*corev1.Pod) bool {
	for _, pod := range members {
		if held(pod) {
			return true
		}
	}
	return false
}

// holds says that pods of a template are held at first.
func holds(t *corev1.PodTemplateSpec) bool {
	return slices.ContainsFunc(t.Spec.SchedulingGates, isHold)
}

// hopEdge is the edge of the hop that is under way, nil if there is none.
func hopEdge(s runner.Scene) *v1alpha1.Edge {
	a := s.Cluster.Status.Attempt
	if a == nil || a.Phase.Ended() || int(a.Hop) >= len(a.Hops) || a.Hops[a.Hop].Edge < 0 {
		return nil
	}
	sys := s.Systems[a.Target.System.Hash] // it was planned with this one; members of a Backup run on an older one, with other edges
	if sys == nil {
		return nil
	}
	return sys.Edge(int(a.Hops[a.Hop].Edge))
}

// renews says that the hop under way makes the volumes of a component anew.
func renews(s runner.Scene, component string) bool {
	e := hopEdge(s)
	return e != nil && slices.Contains(e.RecreateVolumes, component)
}

// together says that the hop under way stops all members at once.
func together(s runner.Scene) bool {
	e := hopEdge(s)
	return e != nil && e.Strategy == v1alpha1.Recreate
}

// firstStart says that the attempt starts the first members. Those that it stops, because the spec was corrected, serve nobody, or a person said that
// they go: no budget is asked.
func firstStart(s runner.Scene) bool {
	a := s.Cluster.Status.Attempt
	return a != nil && !a.Phase.Ended() && a.Kind == v1alpha1.AttemptCreate
}

// lift lets those of a component's pods start whose time has come, and returns the ordinals of those that still must not start beside another
// version. They are absent members: there is a pod, and no process is asked for.
func (p *Platform) lift(ctx context.Context, c *system.Component, revision string, members map[int]*corev1.Pod, v volumes) (waiting []int, err error) {
	for ordinal, pod := range members {
		if !held(pod) || pod.DeletionTimestamp != nil {
			continue
		}
		h := holdOf(pod)
		switch {
		case h.alone && (pod.Annotations[revisionAnnotation] != revision || besideAnother(pod, members)):
			waiting = append(waiting, ordinal)
			continue
		case !h.fits(v.name(memberName(p.Key.Name, c.Name(), ordinal))):
			continue
		}
		if err := p.release(ctx, pod); err != nil {
			return nil, fmt.Errorf("let pod %s start: %w", pod.Name, err)
		}
	}
	return waiting, nil
}

// besideAnother says that a pod of another revision is there that may have started.
func besideAnother(pod *corev1.Pod, members map[int]*corev1.Pod) bool {
	for _, other := range members {
		if !held(other) && other.Annotations[revisionAnnotation] != pod.Annotations[revisionAnnotation] {
			return true
		}
	}
	return false
}

// release takes the gate of a pod away, which nobody can put back.
func (p *Platform) release(ctx context.Context, pod *corev1.Pod) error {
	text, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"spec":     map[string]any{"schedulingGates": []any{map[string]any{"name": holdGate, "$patch": "delete"}}},
	})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(p.API.Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, text)))
}

// loosen takes the gate out of a template whose hop is over. No pod changes with that. The write fails if somebody edited the workload since it was
// read, so that it makes the generation that it says.
func (p *Platform) loosen(ctx context.Context, s runner.Scene, w *appsv1.StatefulSet) error {
	a := s.Cluster.Status.Attempt
	if a == nil || !a.Phase.Ended() || !holds(&w.Spec.Template) || appliedRevision(w, w.Generation, &w.Spec.Template) == "" {
		return nil
	}
	if err := p.unsurpassed(ctx, s.Cluster); err != nil {
		return err
	}
	next := w.DeepCopy()
	unbrand(&next.Spec.Template)
	next.Annotations[appliedAnnotation] = strconv.FormatInt(w.Generation+1, 10)
	if err := p.API.Update(ctx, next); err != nil {
		return fmt.Errorf("take the gate out of %s: %w", w.Name, err)
	}
	return nil
}
