//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	fakeNode = "fake"
	// fakeNetwork has an address for each pod of the fake node. The kernel takes all of them for this machine's own.
	fakeNetwork = "10.100.0.0/14"
	memberPort  = 7000
)

// kubelet plays a node whose pods are ready at once and go at once, and no process runs. Its members answer as the stand-in does: by one server,
// which tells them apart by the address that is asked.
type kubelet struct {
	*kube
	queue workqueue.TypedRateLimitingInterface[types.NamespacedName]
	pods  cache.SharedIndexInformer

	mu      sync.Mutex
	last    uint32
	members map[string]*corev1.Pod // by address
	leaders map[string]string      // of each Cluster: name of a member
}

// startKubelet registers the node, and serves it until ctx ends.
func (k *kube) startKubelet(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "ip", "route", "add", "local", fakeNetwork, "dev", "lo").CombinedOutput(); err != nil {
		return fmt.Errorf("route %s to this machine: %w: %s", fakeNetwork, err, out)
	}
	f := &kubelet{kube: k, queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]()),
		members: map[string]*corev1.Pod{}, leaders: map[string]string{}}
	if err := f.register(ctx); err != nil {
		return err
	}
	if err := f.serve(ctx); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(k, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = "spec.nodeName=" + fakeNode }))
	f.pods = factory.Core().V1().Pods().Informer()
	add := func(o any) {
		if pod, ok := o.(*corev1.Pod); ok {
			f.queue.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
		}
	}
	if _, err := f.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, o any) { add(o) }}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	context.AfterFunc(ctx, f.queue.ShutDown)
	for range 16 {
		go f.work(ctx)
	}
	return nil
}

// register makes the node, and renews its lease as long as ctx lasts.
func (f *kubelet) register(ctx context.Context) error {
	room := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000"), corev1.ResourceMemory: resource.MustParse("10Ti"), corev1.ResourcePods: resource.MustParse("100k")}
	now := metav1.Now()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fakeNode, Labels: map[string]string{corev1.LabelHostname: fakeNode}}, Status: corev1.NodeStatus{Capacity: room, Allocatable: room,
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Fake", LastHeartbeatTime: now, LastTransitionTime: now}}}}
	if _, err := f.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return err
	}
	leases := f.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	holder, seconds := fakeNode, int32(40)
	lease, err := leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: fakeNode}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	go func() {
		tick := time.NewTicker(2 * time.Second) // a lab gives up a node after 8 s
		defer tick.Stop()
		for ctx.Err() == nil {
			lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
			if next, err := leases.Update(ctx, lease, metav1.UpdateOptions{}); err == nil {
				lease = next
			} else if next, err := leases.Get(ctx, fakeNode, metav1.GetOptions{}); err == nil {
				lease = next
			}
			<-tick.C
		}
	}()
	return nil
}

func (f *kubelet) work(ctx context.Context) {
	for {
		key, ended := f.queue.Get()
		if ended {
			return
		}
		if err := f.sync(ctx, key); err != nil {
			f.queue.AddRateLimited(key)
		} else {
			f.queue.Forget(key)
		}
		f.queue.Done(key)
	}
}

// sync makes a pod ready, or lets it go.
func (f *kubelet) sync(ctx context.Context, key types.NamespacedName) error {
	object, there, err := f.pods.GetStore().GetByKey(key.String())
	if err != nil || !there {
		return err
	}
	pod := object.(*corev1.Pod).DeepCopy()
	pods := f.CoreV1().Pods(pod.Namespace)
	if pod.DeletionTimestamp != nil {
		f.leave(pod)
		now := int64(0)
		err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err
	}
	if pod.Status.PodIP != "" {
		return nil
	}
	pod.Status = f.running(pod)
	if _, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (f *kubelet) running(pod *corev1.Pod) corev1.PodStatus {
	now, yes := metav1.Now(), true
	ip := f.join(pod)
	st := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &now, QOSClass: pod.Status.QOSClass}
	for _, c := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		st.Conditions = append(st.Conditions, corev1.PodCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	for _, c := range pod.Spec.Containers {
		st.ContainerStatuses = append(st.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: true, Started: &yes,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}})
	}
	for _, c := range pod.Spec.InitContainers {
		st.InitContainerStatuses = append(st.InitContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: true,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: now, FinishedAt: now}}})
	}
	return st
}

// group is the Cluster that a pod is a member of.
func group(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Labels["theseus.dev/cluster"] }

// join gives a pod an address. The first member of a Cluster leads.
func (f *kubelet) join(pod *corev1.Pod) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	ip := net.IPv4(10, 100+byte(f.last>>16&3), byte(f.last>>8), byte(f.last)).String() //nolint:gosec // cut on purpose
	f.members[ip] = pod
	if f.leaders[group(pod)] == "" {
		f.leaders[group(pod)] = pod.Name
	}
	return ip
}

// leave takes a member away; where it led another one does.
func (f *kubelet) leave(pod *corev1.Pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.members, pod.Status.PodIP)
	if f.leaders[group(pod)] != pod.Name {
		return
	}
	f.leaders[group(pod)] = ""
	for _, other := range f.members {
		if group(other) == group(pod) {
			f.leaders[group(pod)] = other.Name
			return
		}
	}
}

// serve answers for all members.
func (f *kubelet) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", f.answer(func(*http.Request, *corev1.Pod) any { return map[string]string{"health": "true"} }))
	mux.HandleFunc("GET /status", f.answer(func(_ *http.Request, pod *corev1.Pod) any {
		leader, role := f.leaders[group(pod)], "follower"
		if leader == pod.Name {
			role = "leader"
		}
		return map[string]any{"name": pod.Name, "version": pod.Annotations["theseus.dev/version"], "ready": true, "role": role, "leader": leader, "settled": true, "left": 0, "actions": map[string]int{}}
	}))
	mux.HandleFunc("POST /handover", f.answer(func(r *http.Request, pod *corev1.Pod) any {
		var ask struct{ To string }
		if json.NewDecoder(r.Body).Decode(&ask) == nil && ask.To != "" {
			f.leaders[group(pod)] = ask.To
		}
		return map[string]string{"leader": f.leaders[group(pod)]}
	}))
	listen := net.ListenConfig{}
	l, err := listen.Listen(ctx, "tcp4", fmt.Sprintf("0.0.0.0:%d", memberPort))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }() // until it is closed
	return nil
}

// answer finds the member that is meant. A pod that is gone answers nothing.
func (f *kubelet) answer(as func(*http.Request, *corev1.Pod) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ip, _, err := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		f.mu.Lock()
		defer f.mu.Unlock()
		pod := f.members[ip]
		if err != nil || pod == nil {
			panic(http.ErrAbortHandler)
		}
		_ = json.NewEncoder(w).Encode(as(r, pod))
	}
}
