package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/upgrade"
)

// An act that cannot be begun is wanted again in each pass, for minutes where a disk is full. It is told once, and again after it could be begun.
func TestActErrorIsToldOnce(t *testing.T) {
	var errs bytes.Buffer
	a := &app{}
	a.err = &errs
	show := newProgress(a, &v1alpha1.ClusterStatus{})
	full := errors.New("no space left on device")
	for _, err := range []error{full, full, full, nil, full} {
		show.pass(runner.Pass{Cluster: &v1alpha1.Cluster{}, Decision: upgrade.Decision{Act: &v1alpha1.Intent{Act: v1alpha1.ActStart, Member: "kv-0"}}, ActError: err})
	}
	if n := strings.Count(errs.String(), full.Error()); n != 2 {
		t.Errorf("told %d times, want 2: %s", n, errs.String())
	}
}
