package operator

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/ask"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// Look is part of runner.Platform. All of it is read from the API server, not from a cache.
func (p *Platform) Look(ctx context.Context, s runner.Scene) (upgrade.Look, error) {
	look := upgrade.Look{Complete: true, Configured: map[string]string{}, Changed: map[string]upgrade.Change{}, Blocked: map[string]string{}}
	pods := &corev1.PodList{}
	if err := p.Live.List(ctx, pods, client.InNamespace(p.Key.Namespace), client.MatchingLabels{clusterLabel: p.Key.Name}); err != nil {
		return look, fmt.Errorf("list pods: %w", err)
	}
	hosts := map[string]string{}
	p.rooms, p.silentNow = map[string]room{}, nil
	for _, c := range s.System.Components() {
		add := p.component
		if s.Cluster.Spec.Components[c.Name()].Adopt != nil {
			add = p.adoptedComponent
		}
		if s.Cluster.Status.Moving(c.Name()) != nil {
			add = p.movingComponent
		}
		if err := add(ctx, s, c, pods, &look, hosts); err != nil {
			return look, err
		}
	}
	for i := range look.Members {
		if host := look.Members[i].View.Host; host != "" && hosts[host] == "" {
			hosts[host] = ""
		}
	}
	p.know(hosts)
	p.unlock(ctx, s, look.Members)
	p.forgetPods(pods.Items)
	p.question(ctx, s, look.Members)
	if err := p.outcomes(ctx, s, &look); err != nil {
		return look, err
	}
	p.remember(look.Members)
	p.silences = p.silentNow
	return look, ctx.Err()
}

// outcomes are those of what takes longer than a pass.
func (p *Platform) outcomes(ctx context.Context, s runner.Scene, look *upgrade.Look) (err error) {
	if look.Runs, err = p.runOutcomes(ctx, s); err != nil {
		return fmt.Errorf("look at the runs: %w", err)
	}
	if look.Backups, err = p.backupOutcomes(ctx, s); err != nil {
		return fmt.Errorf("look at the backups: %w", err)
	}
	if look.Prepared, err = p.preparedOutcomes(ctx, s); err != nil {
		return fmt.Errorf("look at the images: %w", err)
	}
	return nil
}

func (p *Platform) remember(members []upgrade.Member) {
	p.seen = map[string]*system.Member{}
	for i := range members {
		p.seen[members[i].View.Name] = &members[i].View
	}
}

// component adds the members of one component: those of the pods, and one that is absent for each that has none.
func (p *Platform) component(ctx context.Context, s runner.Scene, c *system.Component, pods *corev1.PodList, look *upgrade.Look, hosts map[string]string) error {
	made, err := p.configured(ctx, s, c)
	if err != nil {
		return err
	}
	if made.revision != "" {
		look.Configured[c.Name()] = made.revision
		if made.change, err = p.changedBeside(ctx, s, c, made.revision); err != nil {
			return err
		}
	}
	if made.change.What != "" {
		look.Changed[c.Name()] = made.change
	}
	replicas := upgrade.Replicas(&s.Cluster.Spec, c)
	members, coming, err := p.membersOf(ctx, c, pods.Items, replicas)
	if err != nil {
		return err
	}
	for _, pod := range coming {
		m := p.member(ctx, p.view(c, pod.Name, replicas), c.Name(), pod)
		m.Revision, m.View.Version = pod.Annotations[revisionAnnotation], pod.Annotations[versionAnnotation]
		look.Coming = append(look.Coming, m)
	}
	vols := volumes{}
	if made.holds || renews(s, c.Name()) || someHeld(members) {
		if vols, err = p.volumesOf(ctx, s.Cluster); err != nil {
			return err
		}
	}
	waiting, err := p.lift(ctx, c, made.revision, members, vols)
	if err != nil {
		return err
	}
	for _, ordinal := range waiting {
		delete(members, ordinal)
	}
	for _, ordinal := range slices.Sorted(maps.Keys(members)) { // what is said of the first one is the same in each look
		pod := members[ordinal]
		m := p.member(ctx, p.view(c, memberName(p.Key.Name, c.Name(), ordinal), ordinal), c.Name(), pod)
		m.Revision, m.View.Version = pod.Annotations[revisionAnnotation], pod.Annotations[versionAnnotation]
		if !stateful(c) {
			m.View.Host = pod.Status.PodIP
		}
		m.Volume = vols.name(m.View.Name)
		p.rooms[m.View.Name] = room{pod: pod.Name, container: c.Name(), uid: pod.UID}
		if pod.Status.PodIP != "" {
			hosts[m.View.Host] = pod.Status.PodIP
		}
		look.Members = append(look.Members, m)
	}
	for i := range replicas {
		if members[i] == nil {
			name := memberName(p.Key.Name, c.Name(), i)
			why := cmp.Or(made.failure, p.absent(ctx, name, made.uid))
			look.Members = append(look.Members, upgrade.Member{View: p.view(c, name, i), State: upgrade.ProcessAbsent, Volume: vols.name(name), Message: why})
		}
	}
	return nil
}

// membersOf are the pods of a component by the ordinal of the member that they are, and those that come before one has gone.
func (p *Platform) membersOf(ctx context.Context, c *system.Component, pods []corev1.Pod, replicas int) (members map[int]*corev1.Pod, coming []*corev1.Pod, err error) {
	members = map[int]*corev1.Pod{}
	var nameless []*corev1.Pod
	for i := range pods {
		pod := &pods[i]
		// Kubernetes puts another pod in the place of one that ended, and leaves the object: of a Deployment it would keep its name for good.
		gone := leaves(pod)
		if pod.Labels[componentLabel] != c.Name() {
			continue
		}
		name := pod.Name
		if !stateful(c) {
			name = pod.Annotations[memberAnnotation]
		}
		ordinal, ok := ordinalOf(workloadName(p.Key.Name, c.Name()), name)
		switch {
		case ok && (stateful(c) || !gone):
			members[ordinal] = pod
		case !stateful(c) && !gone:
			nameless = append(nameless, pod)
		}
	}
	coming, err = p.christen(ctx, c, members, nameless, replicas)
	return members, coming, err
}

// christen makes pods of a Deployment members, each for good: one that goes leaves its name to one that comes. What comes before one has gone waits for its turn, and is
// returned.
func (p *Platform) christen(ctx context.Context, c *system.Component, members map[int]*corev1.Pod, nameless []*corev1.Pod, replicas int) ([]*corev1.Pod, error) {
	slices.SortFunc(nameless, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	for i := range replicas {
		if members[i] != nil || len(nameless) == 0 {
			continue
		}
		pod := nameless[0]
		nameless = nameless[1:]
		before := pod.DeepCopy()
		pod.Annotations = merged(pod.Annotations, map[string]string{memberAnnotation: memberName(p.Key.Name, c.Name(), i)})
		if err := p.API.Patch(ctx, pod, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return nil, client.IgnoreNotFound(err)
		}
		members[i] = pod
	}
	return nameless, nil
}

// standing is what is known of a component's workload.
type standing struct {
	// revision that the next pod gets: none as long as the controller may still have an older template in mind, or somebody edited it.
	revision string
	holds    bool      // this pod is held at first
	uid      types.UID // of a StatefulSet
	failure  string    // why a Deployment cannot make pods
	change   upgrade.Change
}

func (p *Platform) configured(ctx context.Context, s runner.Scene, c *system.Component) (standing, error) {
	key := types.NamespacedName{Namespace: p.Key.Namespace, Name: workloadName(p.Key.Name, c.Name())}
	if stateful(c) {
		w := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: key.Name}}
		if err := p.Live.Get(ctx, key, w); err != nil {
			return noWorkload(w, err)
		}
		made := standing{revision: appliedRevision(w, w.Status.ObservedGeneration, &w.Spec.Template), change: changeOf(s.Cluster, w), holds: holds(&w.Spec.Template), uid: w.UID}
		return made, p.loosen(ctx, s, w)
	}
	w := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: key.Name}}
	if err := p.Live.Get(ctx, key, w); err != nil {
		return noWorkload(w, err)
	}
	made := standing{revision: appliedRevision(w, w.Status.ObservedGeneration, &w.Spec.Template), change: changeOf(s.Cluster, w), failure: replicaFailure(w)}
	return made, p.holdBack(ctx, s, c, w)
}

// noWorkload is what is known of a workload that could not be read.
func noWorkload(w client.Object, err error) (standing, error) {
	if apierrors.IsNotFound(err) {
		return standing{change: upgrade.Change{What: gone(w)}}, nil
	}
	return standing{}, err
}

func appliedRevision(w client.Object, observed int64, t *corev1.PodTemplateSpec) string {
	made, err := generationOf(w)
	if err != nil || observed < w.GetGeneration() || w.GetAnnotations()[appliedAnnotation] != made {
		return ""
	}
	return t.Annotations[revisionAnnotation]
}

func (p *Platform) view(c *system.Component, member string, ordinal int) system.Member {
	m := system.Member{Name: member, Component: c.Name(), Ordinal: ordinal, Host: hostOf(member, p.Key.Name, c.Name(), p.Key.Namespace), Bind: "0.0.0.0",
		Data: dataOf(c.Name()), Port: map[string]int64{}}
	for port, n := range c.API().Ports {
		m.Port[port] = int64(n)
	}
	return m
}

// member is what a pod and its container of the member show without asking it.
func (p *Platform) member(ctx context.Context, view system.Member, container string, pod *corev1.Pod) upgrade.Member {
	m := upgrade.Member{View: view, Incarnation: string(pod.UID)}
	st := containerOf(pod, container)
	if st != nil {
		m.Crashes = st.RestartCount
	}
	m.State, m.Message = stateOf(pod, st)
	switch {
	case m.State == upgrade.ProcessRunning:
		m.Unready = p.unready(ctx, pod)
	case m.State != upgrade.ProcessStarting:
	case held(pod):
		m.Message = "it is held until its volume is one that " + m.View.Version + " may start on"
	default:
		m.Message = p.waits(ctx, pod)
	}
	m.Broken = brokenBy(pod)
	if why := p.blocked[string(pod.UID)]; why != "" {
		m.Message = joined(m.Message, why)
	}
	ended := m.Crashes
	if i := slices.IndexFunc(pod.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool { return !s.Ready && s.RestartCount > 0 }); i >= 0 {
		container, ended = pod.Status.InitContainerStatuses[i].Name, pod.Status.InitContainerStatuses[i].RestartCount
	}
	if ended > 0 {
		m.Message = joined(m.Message, p.lastWords(ctx, pod, container, ended))
	}
	return m
}

func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}

func containerOf(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	i := slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &pod.Status.ContainerStatuses[i]
}

// stateOf is the state of the member's process, and the pod's own reason where it ran and does not.
func stateOf(pod *corev1.Pod, st *corev1.ContainerStatus) (upgrade.ProcessState, string) {
	switch {
	case pod.DeletionTimestamp != nil:
		return upgrade.ProcessStopping, leaving(pod)
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return upgrade.ProcessExited, joined(pod.Status.Reason, pod.Status.Message)
	case pod.Status.Phase == corev1.PodUnknown:
		return upgrade.ProcessUnknown, "its node does not answer"
	case st != nil && st.State.Running != nil:
		return upgrade.ProcessRunning, restarted(st)
	case st != nil && st.State.Terminated != nil:
		return upgrade.ProcessExited, ending(st.State.Terminated)
	case st != nil && st.State.Waiting != nil && st.RestartCount > 0:
		message := joined(st.State.Waiting.Reason, st.State.Waiting.Message)
		if last := st.LastTerminationState.Terminated; last != nil {
			message = joined(st.State.Waiting.Reason, ending(last))
		}
		return upgrade.ProcessExited, message
	}
	return upgrade.ProcessStarting, ""
}

// leaving is why a pod has to go, where somebody else said so, and that its node cannot let it.
func leaving(pod *corev1.Pod) string {
	why := joined(pod.Status.Reason, pod.Status.Message)
	if c := conditionOf(pod, corev1.DisruptionTarget); c != nil && c.Status == corev1.ConditionTrue && why == "" {
		why = joined(c.Reason, c.Message)
	}
	if c := conditionOf(pod, corev1.PodReady); c != nil && c.Status == corev1.ConditionFalse && nodeLost(c) && pod.Spec.NodeName != "" {
		why = joined("node "+pod.Spec.NodeName+" does not answer", why)
	}
	return why
}

// conditionOf is a condition of a pod; nil where nobody has written it.
func conditionOf(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &pod.Status.Conditions[i]
}

// nodeLost says of a pod that is not ready that this is for the loss of its node, which is written without a reason; a kubelet gives one.
func nodeLost(ready *corev1.PodCondition) bool { return ready.Reason == "" }

func restarted(st *corev1.ContainerStatus) string {
	if st.RestartCount == 0 {
		return ""
	}
	message := fmt.Sprintf("started again; before it ended by itself %d times", st.RestartCount)
	if last := st.LastTerminationState.Terminated; last != nil {
		message += ", last with " + ending(last)
	}
	return message
}

func ending(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" && t.Reason != "Completed" {
		text += " (" + t.Reason + ")"
	}
	if t.Reason == "StartError" || t.Reason == "ContainerCannotRun" { // it has written nothing: the runtime says why
		text = joined(text, t.Message)
	}
	return text
}

// pending says what a pod waits for that has not run yet.
func pending(pod *corev1.Pod) string {
	if c := conditionOf(pod, corev1.PodScheduled); c != nil && c.Status != corev1.ConditionTrue {
		return joined(c.Reason, c.Message)
	}
	if _, why := waitingOf(pod); why != "" {
		return why
	}
	for _, st := range pod.Status.InitContainerStatuses {
		if t := st.State.Terminated; t != nil && t.ExitCode != 0 {
			return "init container " + st.Name + ": " + ending(t)
		}
	}
	return ""
}

// waitingOf is why the first container waits that waits for something else than its turn.
func waitingOf(pod *corev1.Pod) (reason, why string) {
	inits := len(pod.Status.InitContainerStatuses)
	for i, st := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		w := st.State.Waiting
		if w == nil || w.Reason == "" || w.Reason == "PodInitializing" || w.Reason == "ContainerCreating" {
			continue
		}
		why := joined(w.Reason, w.Message)
		if last := st.LastTerminationState.Terminated; last != nil {
			why = joined(w.Reason, ending(last))
		}
		if i < inits {
			why = "init container " + st.Name + ": " + why
		}
		return w.Reason, why
	}
	return "", ""
}

// hopeless are the reasons that trying again does not heal. A first error of a pull is not among them: the kubelet tries some times before it backs off.
var hopeless = []string{"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

// brokenBy says why a pod cannot come up at all.
func brokenBy(pod *corev1.Pod) string {
	reason, why := waitingOf(pod)
	if !slices.Contains(hopeless, reason) || pod.DeletionTimestamp != nil {
		return ""
	}
	return why
}

// tailLines is how many of its own last lines a member that ended is shown with.
const tailLines = 15

// words are what a pod said before it ended for the n-th time.
type words struct {
	crashes int32
	text    string
}

// lastWords are the last lines of the run that ended, read once for each end. Where the kubelet does not tell them, those of the run before are better than none.
func (p *Platform) lastWords(ctx context.Context, pod *corev1.Pod, container string, crashes int32) string {
	w := p.words[pod.UID]
	if w.crashes == crashes && w.text != "" {
		return w.text
	}
	text := p.previousLog(ctx, pod, container)
	if text == "" {
		return w.text
	}
	if p.words == nil {
		p.words = map[types.UID]words{}
	}
	p.words[pod.UID] = words{crashes, text}
	return text
}

// forgetPods lets go of what is known of pods that are gone.
func (p *Platform) forgetPods(pods []corev1.Pod) {
	gone := func(uid types.UID) bool {
		return !slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return pod.UID == uid })
	}
	maps.DeleteFunc(p.words, func(uid types.UID, _ words) bool { return gone(uid) })
	maps.DeleteFunc(p.made, func(uid types.UID, _ *made) bool { return gone(uid) })
}

func (p *Platform) previousLog(ctx context.Context, pod *corev1.Pod, container string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	tail, limit := int64(tailLines), int64(16<<10)
	stream, err := p.Pods.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, Previous: true, TailLines: &tail, LimitBytes: &limit}).Stream(ctx)
	if err != nil {
		return "" // it may be there with the next look
	}
	defer stream.Close()
	return said(io.LimitReader(stream, limit))
}

// said is what a log says; nothing where the kubelet answers, as if it were the log, that it has none of that run any more.
func said(log io.Reader) string {
	var lines []string
	for in := bufio.NewScanner(log); in.Scan(); {
		lines = append(lines, in.Text())
	}
	if len(lines) == 1 && strings.HasPrefix(lines[0], "unable to retrieve container logs for ") {
		return ""
	}
	return strings.Join(lines, "\n")
}

// question puts every question to every member that runs, all at once.
func (p *Platform) question(ctx context.Context, s runner.Scene, members []upgrade.Member) {
	asker := p.askerFor(s)
	var groups sync.WaitGroup
	for _, c := range s.System.Components() {
		var targets []ask.Target
		byName := map[string]*upgrade.Member{}
		all := viewsOf(c.Name(), members)
		for i := range members {
			if m := &members[i]; m.View.Component == c.Name() && m.State == upgrade.ProcessRunning {
				byName[m.View.Name] = m
				targets = append(targets, p.target(p.scope(s, m.View, all), false))
			}
		}
		groups.Go(func() {
			for name, look := range asker.All(ctx, c.API().Ask, targets) {
				byName[name].View.Answers = look.Answers
				byName[name].Message = joined(byName[name].Message, look.Why())
			}
		})
	}
	groups.Wait()
}

func (p *Platform) scope(s runner.Scene, m system.Member, all []*system.Member) *system.Scope {
	return &system.Scope{Cluster: p.Key.Name, Version: m.Version, Options: s.System.Options(&s.Cluster.Spec), M: &m, All: all}
}

// viewsOf are copies, so that answers do not appear while others are asked.
func viewsOf(component string, members []upgrade.Member) []*system.Member {
	var views []*system.Member
	for _, m := range members {
		if m.View.Component == component {
			view := m.View
			views = append(views, &view)
		}
	}
	slices.SortFunc(views, func(a, b *system.Member) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	return views
}
