package probetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"theseus.dev/probe"
)

// Harness is a system with a driver for it. Subtests may share one until a
// replica was taken away.
type Harness struct {
	Driver probe.Driver

	// Version is what every replica runs.
	Version string

	// Down takes a replica away so that nothing listens any more. Nil: the
	// system has no other replica to go on with, and those tests are left out.
	Down func(endpoint int)

	// Freeze makes a replica take connections and answer nothing, and returns
	// how to undo that. Nil: cannot.
	Freeze func(endpoint int) (thaw func())
}

// limit is how long the suite waits for anything that should happen at once.
const limit = 30 * time.Second

// TestDriver is the suite that every driver passes. make is called for each
// subtest and sees to the cleaning up.
func TestDriver(t *testing.T, make func(*testing.T) Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"reads through every endpoint what was written through every other", writtenIsRead},
		{"a key never written does not exist", absent},
		{"counts writes exactly, if it counts", counted},
		{"looks at every replica", looked},
		{"ends when the context ends", ended},
		{"may be used from many goroutines", concurrent},
		{"says that a refused write was not applied", refused},
		{"leaves a frozen replica at the deadline with an unknown outcome", frozen},
		{"removes a prefix and nothing else", cleaned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, make(t)) })
	}
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func put(t *testing.T, h Harness, endpoint int, key, value string) {
	t.Helper()
	if err := h.Driver.Put(bounded(t), endpoint, key, value); err != nil {
		t.Fatalf("put %s through %d: %v", key, endpoint, err)
	}
}

func get(t *testing.T, h Harness, endpoint int, key string) probe.Value {
	t.Helper()
	v, err := h.Driver.Get(bounded(t), endpoint, key)
	if err != nil {
		t.Fatalf("get %s through %d: %v", key, endpoint, err)
	}
	return v
}

func writtenIsRead(t *testing.T, h Harness) {
	for w := range h.Driver.Endpoints() {
		for r := range h.Driver.Endpoints() {
			want := fmt.Sprintf("%d-%d", w, r)
			put(t, h, w, "suite/written", want)
			if v := get(t, h, r, "suite/written"); !v.Exists || v.Data != want {
				t.Fatalf("wrote %q through %d, read %+v through %d", want, w, v, r)
			}
		}
	}
}

func absent(t *testing.T, h Harness) {
	for e := range h.Driver.Endpoints() {
		if v := get(t, h, e, "suite/absent"); v.Exists {
			t.Fatalf("endpoint %d: %+v, want a key that does not exist", e, v)
		}
	}
}

func counted(t *testing.T, h Harness) {
	for i := range 5 {
		put(t, h, 0, "suite/counted", "same value")
		v := get(t, h, 0, "suite/counted")
		if v.Applied == 0 {
			t.Skip("the system does not count")
		}
		if v.Applied != int64(i+1) {
			t.Fatalf("after %d writes: applied %d", i+1, v.Applied)
		}
	}
}

func looked(t *testing.T, h Harness) {
	for e := range h.Driver.Endpoints() {
		m, err := h.Driver.Look(bounded(t), e)
		if err != nil || !m.Ready || m.Version != h.Version {
			t.Fatalf("endpoint %d: %+v, %v; want ready with version %q", e, m, err, h.Version)
		}
	}
}

func ended(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Driver.Put(ctx, 0, "suite/ended", "x"); err == nil {
		t.Error("put with an ended context: no error")
	}
	if _, err := h.Driver.Get(ctx, 0, "suite/ended"); err == nil {
		t.Error("get with an ended context: no error")
	}
	if _, err := h.Driver.Look(ctx, 0); err == nil {
		t.Error("look with an ended context: no error")
	}
}

func concurrent(t *testing.T, h Harness) {
	n := len(h.Driver.Endpoints())
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			key, want := fmt.Sprintf("suite/many/%d", i), fmt.Sprint(i)
			if err := h.Driver.Put(bounded(t), i%n, key, want); err != nil {
				t.Errorf("put %s: %v", key, err)
				return
			}
			if v, err := h.Driver.Get(bounded(t), (i+1)%n, key); err != nil || v.Data != want {
				t.Errorf("get %s: %+v, %v; want %q", key, v, err, want)
			}
		})
	}
	wg.Wait()
}

// refused needs that a driver connected before the replica went away.
func refused(t *testing.T, h Harness) {
	if h.Down == nil {
		t.Skip("the harness takes no replica away")
	}
	put(t, h, 0, "suite/refused", "before")
	h.Down(0)
	if err := notApplied(t, h); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Driver.Look(bounded(t), 0); err == nil {
		t.Error("look at a replica that is gone: no error")
	}
	if len(h.Driver.Endpoints()) > 1 {
		if v := get(t, h, 1, "suite/refused"); v.Data != "before" {
			t.Errorf("%q, want what was written before the refusals", v.Data)
		}
	}
}

// notApplied tries until a write is refused for certain: the first ones may
// still meet the dying connection, whose outcome is rightly unknown.
func notApplied(t *testing.T, h Harness) error {
	ctx := bounded(t)
	for {
		err := h.Driver.Put(ctx, 0, "suite/refused-2", "during")
		if err == nil {
			return errors.New("put through a replica that is gone: acknowledged")
		}
		if errors.Is(err, probe.ErrNotApplied) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("put through a replica that is gone: %w; want ErrNotApplied", err)
		}
	}
}

func frozen(t *testing.T, h Harness) {
	if h.Freeze == nil {
		t.Skip("the harness freezes no replica")
	}
	put(t, h, 0, "suite/frozen", "before")
	thaw := h.Freeze(0)
	defer thaw()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := h.Driver.Put(ctx, 0, "suite/frozen", "during")
	if err == nil || errors.Is(err, probe.ErrNotApplied) {
		t.Fatalf("put through a frozen replica: %v; want an unknown outcome", err)
	}
}

func cleaned(t *testing.T, h Harness) {
	c, ok := h.Driver.(probe.Cleaner)
	if !ok {
		t.Skip("the driver does not clean")
	}
	put(t, h, 0, "suite/a/1", "x")
	put(t, h, 0, "suite/a/2", "x")
	put(t, h, 0, "suite/b", "x")
	if err := c.Clean(bounded(t), "suite/a/"); err != nil {
		t.Fatalf("clean: %v", err)
	}
	for key, want := range map[string]bool{"suite/a/1": false, "suite/a/2": false, "suite/b": true} {
		if v := get(t, h, 0, key); v.Exists != want {
			t.Errorf("%s exists: %t, want %t", key, v.Exists, want)
		}
	}
}
