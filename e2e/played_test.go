package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

// played is a cluster of a shipped System whose software cannot be had here: the stand-in plays each version of it, and
// its tools (servers/standin/played.go). The System is used as it is shipped.
type played struct {
	*cluster
	text string // of cluster.yaml
}

// standinEnv says who a member is to the stand-in, for a component with these ports.
func standinEnv(port string, more ...string) string {
	listen := "${m.bind}:${m.port." + port + "}"
	for _, p := range more {
		listen += ",${m.bind}:${m.port." + p + "}"
	}
	return fmt.Sprintf(`{STANDIN_MEMBER: "${m.name}", STANDIN_DATA: "${m.data}", STANDIN_KNOBS: CONTROL, STANDIN_LISTEN: "%s",
      STANDIN_PEERS: "${all.map(x, x.name + '=' + x.host + ':' + string(x.port.%s)).join(',')}"}`, listen, port)
}

// play writes the file of a cluster and starts nothing. DIR, NAME and CONTROL stand for what they say.
func play(t *testing.T, component, port, spec string, programs ...string) *played {
	t.Helper()
	c := &played{cluster: &cluster{TB: t, name: fmt.Sprintf("p%d-%d", os.Getpid(), clusters.Add(1)), dir: folder(t), component: component, port: port, patience: patience}}
	c.make("home", "faults", "backups", "programs")
	for _, p := range programs {
		if err := os.Symlink(filepath.Join(bin, "standin"), c.path("programs", p)); err != nil {
			t.Fatal(err)
		}
	}
	c.setEnv(c.path("programs"))
	c.control("")
	c.text = strings.NewReplacer("DIR", c.dir, "NAME", c.name, "CONTROL", c.path("control.json")).Replace(spec)
	c.write("cluster.yaml", c.text)
	t.Cleanup(c.end)
	return c
}

// refuses checks that a command is refused with words, exit code 2, and changes nothing.
func (c *played) refuses(words string, args ...string) {
	c.Helper()
	before := c.object().Status.Acts
	if r := c.must(2, args...); !strings.Contains(r.err, words) {
		c.Errorf("theseus %s: got %q, want %q in it", strings.Join(args, " "), r.err, words)
	}
	if now := c.object().Status.Acts; now != before {
		c.Errorf("theseus %s was refused and acted", strings.Join(args, " "))
	}
}

// told are the reasons and objects of the last attempt's events that have one of the reasons, in order.
func (c *played) told(reasons ...string) (told []string) {
	c.Helper()
	st := c.object().Status
	for _, e := range st.Events {
		if e.Attempt == st.Attempt.ID && slices.Contains(reasons, e.Reason) {
			told = append(told, e.Reason+" "+strings.TrimPrefix(e.Object, "member "+c.name+"-"))
		}
	}
	return told
}

func (c *played) tells(want []string, reasons ...string) {
	c.Helper()
	if got := c.told(reasons...); !slices.Equal(got, want) {
		c.Errorf("happened: %q\nwant:     %q\n%s", got, want, c.story())
	}
}

// ended checks how the last attempt ended, and at which version.
func (c *played) ended(phase v1alpha1.AttemptPhase, at string) {
	c.Helper()
	if a := c.attempt(); a.Phase != phase || c.object().Status.CurrentVersion != at {
		c.Fatalf("attempt %d ended %s at %s, want %s at %s\n%s", a.ID, a.Phase, c.object().Status.CurrentVersion, phase, at, c.story())
	}
}

// startedWith is the command line and environment with which a member was last started.
func (c *played) startedWith(member string) string {
	c.Helper()
	text, err := os.ReadFile(c.path("home", c.name, "members", c.name+"-"+member, "order.json"))
	if err != nil {
		c.Fatal(err)
	}
	return string(text)
}
