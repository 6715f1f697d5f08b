package e2e

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

var volumeJourneys = []journey{
	{"Forward", "2.0.0", "2.1.0", "", 0, v1alpha1.PhaseSucceeded, "2.1.0", "volumes.yaml"},
	{"Back", "2.0.0", "2.1.0", `{"members": {"NAME-standin-0@2.1.0": {"exitAtStart": 1}}}`, 1, v1alpha1.PhaseRolledBack, "2.0.0", "volumes.yaml"},
}

// TestKillVolumes kills the driver at each durable write of an upgrade that makes volumes anew and of one that goes back from it, each once:
// nothing is lost, and each volume is made anew exactly as often as without a kill.
func TestKillVolumes(t *testing.T) {
	for _, j := range volumeJourneys {
		t.Run(j.name, func(t *testing.T) {
			c, w := j.travel(t)
			before := len(c.points())
			if r := c.wait(c.start(faulty, "upgrade", c.name, "--to", j.to)); r.code != j.code {
				t.Fatalf("want exit code %d, got %s\n%s", j.code, r, c.story())
			}
			j.arrived(c, w)
			want := c.renewed()
			var points []point
			for _, p := range c.points()[before:] {
				own := strings.HasPrefix(p.name, "volume") || strings.HasPrefix(p.name, "order")
				if p.kind == "driver" && (long || own && (strings.HasSuffix(p.name, ".done") || j.code == 0 && !strings.HasSuffix(p.name, ".rename"))) { // see sample
					points = append(points, p)
				}
			}
			if len(points) < 18 {
				t.Fatalf("only %d points: %v", len(points), points)
			}
			each(t, points, point.String, func(t *testing.T, p point) {
				c, w := j.travel(t)
				for i := range 3 {
					if err := os.WriteFile(c.path("home", c.name, "members", c.member(i), "data", "mark"), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				c.killAt(p.String())
				r := c.wait(c.start(faulty, "upgrade", c.name, "--to", j.to))
				c.checkKill(p, r)
				if r = j.goOn(c, r, false); r.code != j.code {
					t.Fatalf("want exit code %d, got %s\n%s", j.code, r, c.story())
				}
				j.arrived(c, w)
				if got := c.renewed(); got != want {
					t.Errorf("made anew: %q, want %q", got, want)
				}
				for i := range 3 {
					if _, err := os.Stat(c.path("home", c.name, "members", c.member(i), "data", "mark")); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s still has what was on its old volume", c.member(i))
					}
				}
			})
		})
	}
}

// renewed are the members whose volumes were made anew, in order, as the events say.
func (c *cluster) renewed() string {
	var all []string
	for _, e := range c.object().Status.Events {
		if e.Reason == string(v1alpha1.ActRenew) {
			all = append(all, strings.TrimPrefix(e.Object, "member "+c.name+"-"))
		}
	}
	return strings.Join(all, " ")
}
