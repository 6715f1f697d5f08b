package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// TestKillsUnderLoad kills each member twice while clients overwrite the same
// few keys, and then wants for each key the last acknowledged value or one
// written after it: an unacknowledged write may or may not be there.
func TestKillsUnderLoad(t *testing.T) {
	g := startGroup(t, "a", "b", "c")
	stop, clients := make(chan struct{}), sync.WaitGroup{}
	acked := make([]int, 6)
	for client := range acked {
		clients.Go(func() { acked[client] = g.writeUntil(stop, client) })
	}
	for round := range 2 * len(g.names) {
		victim := g.names[round%len(g.names)]
		g.kill(victim)
		g.start(victim)
		g.awaitReady(victim)
	}
	close(stop)
	clients.Wait()
	for client, last := range acked {
		if last == 0 {
			t.Errorf("client %d: nothing was acknowledged", client)
		}
		for _, name := range g.names {
			got := 0
			if _, err := fmt.Sscan(g.must("GET", name, fmt.Sprintf("/kv/%d", client), ""), &got); err != nil || got < last {
				t.Errorf("client %d at %s: got %d (%v), acknowledged %d", client, name, got, err, last)
			}
		}
	}
}

// writeUntil writes 1, 2, 3 ... to the client's key, by turns to every member,
// and returns the last number that was acknowledged.
func (g *group) writeUntil(stop <-chan struct{}, client int) int {
	last := 0
	for n := 1; ; n++ {
		select {
		case <-stop:
			return last
		default:
		}
		name := g.names[n%len(g.names)]
		if code, _ := g.call(http.MethodPut, name, fmt.Sprintf("/kv/%d", client), fmt.Sprint(n)); code == http.StatusOK {
			last = n
		}
	}
}
