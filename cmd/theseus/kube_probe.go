package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"theseus.dev/operator"
	"theseus.dev/system"
)

// tunnelNote is what a verdict over tunnels says of itself.
const tunnelNote = "what clients inside of the cluster see: each request went through a tunnel of the API server and the kubelet, which is part of its latency, " +
	"and which breaks with its pod"

// reach leads to the members through tunnels, by their names.
func (o *object) reach(ctx context.Context, k *opened) (*reach, error) {
	pods, err := o.memberPods(ctx)
	if err != nil {
		return nil, err
	}
	c := k.system.Components()[0]
	port, err := clientPort(c)
	if err != nil {
		return nil, err
	}
	r := &reach{dial: o.tunnels().dial, resources: o.volumes, same: "names and volumes", note: tunnelNote}
	for i := range pods {
		member, container := operator.MemberOf(&pods[i])
		if container == c.Name() {
			r.endpoints = append(r.endpoints, fmt.Sprintf("http://%s:%d", member, portOf(&pods[i], c, port)))
		}
	}
	if slices.Sort(r.endpoints); len(r.endpoints) == 0 {
		return nil, inputNext("look why: "+o.command("status", k.name), "%s has no members that run", k.name)
	}
	return r, nil
}

// portOf is the number of a port: as the pod names it, or as the System does.
func portOf(pod *corev1.Pod, c *system.Component, name string) int32 {
	for i := range pod.Spec.Containers {
		for _, p := range pod.Spec.Containers[i].Ports {
			if p.Name == name {
				return p.ContainerPort
			}
		}
	}
	return c.API().Ports[name]
}

// volumes are the members with the volumes that they use.
func (o *object) volumes(ctx context.Context) ([]resource, error) {
	pods, err := o.memberPods(ctx)
	if err != nil {
		return nil, err
	}
	var out []resource
	for i := range pods {
		r := resource{}
		r.name, _ = operator.MemberOf(&pods[i])
		if r.data, err = o.claimsOf(ctx, &pods[i]); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b resource) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// claimsOf names the claims that a pod mounts, each with what tells it from another one of the same name.
func (o *object) claimsOf(ctx context.Context, pod *corev1.Pod) (string, error) {
	var out []string
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		c := &corev1.PersistentVolumeClaim{}
		err := o.api.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: v.PersistentVolumeClaim.ClaimName}, c)
		if err != nil && !apierrors.IsNotFound(err) {
			return "", o.problem(err)
		}
		out = append(out, v.PersistentVolumeClaim.ClaimName+" "+string(c.UID))
	}
	return strings.Join(out, ", "), nil
}
