package e2e

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
)

const pravegaCluster = `
apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: NAME}
spec:
  system: pravega
  version: 0.6.2
  components:
    segmentstore:
      replicas: STORES
      env: SEGMENTSTORE
    controller:
      replicas: 2
      env: CONTROLLERS
  upgrade: {soak: 300ms, progressDeadline: 15s, allowDowntime: DOWNTIME}
`

const (
	jvmFlags  = "-XX:+UseContainerSupport -XX:+IgnoreUnrecognizedVMOptions"
	splitArgs = "--set=segmentStoreMemory=16Gi --set=segmentStoreHeap=4g --set=segmentStoreDirectMemory=12g --set=cacheMax=11811160064"
)

func pravega(t *testing.T, stores string) *played {
	t.Helper()
	downtime := "false"
	if stores == "1" {
		downtime = "true"
	}
	spec := strings.NewReplacer("SEGMENTSTORE", standinEnv("service", "rest"), "CONTROLLERS", standinEnv("rest", "rpc"), "STORES", stores, "DOWNTIME", downtime).Replace(pravegaCluster)
	c := play(t, "segmentstore", "12345", spec, "pravega-0.5.0-1", "pravega-0.6.2", "pravega-0.7.0", "pravega-0.8.1", "pravega-0.9.0", "pravega-0.10.1")
	c.up()
	return c
}

func (c *played) upgrade(code int, to string, set ...string) result {
	c.Helper()
	return c.must(code, append([]string{"upgrade", c.name, "--to", to}, set...)...)
}

// TestPravegaDocument goes the document's whole way: the memory split with 0.7, the JVM flags with 0.9, no way down.
func TestPravegaDocument(t *testing.T) {
	t.Parallel()
	c := pravega(t, "3")
	split := strings.Fields(splitArgs)
	flags := []string{"--set=segmentStoreJvmOptions=" + jvmFlags, "--set=controllerJvmOptions=" + jvmFlags}

	c.refuses("spec.options.segmentStoreMemory: the hop from 0.6.2 to 0.7.0 requires it", "upgrade", c.name, "--to", "0.7.0")
	c.refuses("raise segmentStoreMemory", "upgrade", c.name, "--to", "0.7.0", split[0], "--set=segmentStoreHeap=8g", split[2], split[3])
	c.refuses("lower cacheMax", "upgrade", c.name, "--to", "0.7.0", split[0], split[1], split[2], "--set=cacheMax=12884901888")
	c.refuses("it changes together with the version, 0.6.2 to 0.7.0", append([]string{"upgrade", c.name, "--to", "0.7.0", "--set=properties=-Da=b"}, split...)...)
	c.refuses("is a downgrade", "upgrade", c.name, "--to", "0.5.0-1")

	c.upgrade(0, "0.7.0", split...)
	c.ended(v1alpha1.PhaseSucceeded, "0.7.0")
	c.tells([]string{"Stop segmentstore-2", "Stop segmentstore-1", "Stop segmentstore-0", "Stop controller-1", "Stop controller-0"}, "Stop")
	if got := c.startedWith("segmentstore-0"); !strings.Contains(got, "-Xmx4g -XX:MaxDirectMemorySize=12g -Dpravegaservice.cache.size.max=11811160064") {
		t.Errorf("the segment store was started without the memory split: %s", got)
	}

	c.refuses("spec.options.segmentStoreJvmOptions: the hop from 0.7.0 to 0.9.0 requires it", "upgrade", c.name, "--to", "0.9.0")
	c.refuses(`does not keep the rule "JVM flags"; add -XX:+UseContainerSupport`, "upgrade", c.name, "--to", "0.9.0",
		"--set=segmentStoreJvmOptions=-XX:+UseContainerSupport", "--set=controllerJvmOptions=-XX:+UseContainerSupport")
	c.upgrade(0, "0.9.0", flags...)
	c.upgrade(0, "0.10.1") // not listed: allowed, with a warning
	c.ended(v1alpha1.PhaseSucceeded, "0.10.1")
	if got := strings.Join(c.object().Status.VersionHistory, " "); got != "0.6.2 0.7.0 0.9.0 0.10.1" {
		t.Errorf("history %s", got)
	}
	c.refuses("is a downgrade", "upgrade", c.name, "--to", "0.9.0")
}

// TestPravegaFails: a pod of the new version that restarts stops the upgrade; what was replaced goes back in reverse order, with
// the old options.
func TestPravegaFails(t *testing.T) {
	t.Parallel()
	c := pravega(t, "3")
	c.control(`{"members": {"NAME-controller-0@0.7.0": {"crashAfterReady": "100ms"}}}`)
	r := c.upgrade(1, "0.7.0", strings.Fields(splitArgs)...)
	c.ended(v1alpha1.PhaseRolledBack, "0.6.2")
	if !strings.Contains(r.err, "CrashLoop") && !strings.Contains(c.story(), "CrashLoop") {
		t.Errorf("the reason is not told: %s", r)
	}
	told := c.told("Stop", "RollingBack")
	back := told[len(told)-5:]
	want := "Stop segmentstore-2,Stop segmentstore-1,Stop segmentstore-0"
	if got := strings.Join(back, ","); !strings.HasSuffix(got, want) || !strings.Contains(got, "controller") {
		t.Errorf("went back: %s, want the controllers and then %s", strings.Join(told, ","), want)
	}
	if got := c.startedWith("segmentstore-0"); strings.Contains(got, "-Xmx4g") {
		t.Errorf("the segment store went back and kept the new options: %s", got)
	}
	c.must(0, "status", c.name)
	if st := c.object().Status; st.FailedTarget != "0.7.0" || st.Applied.Spec.Options["segmentStoreHeap"] != "" {
		t.Errorf("failed target %q, applied options %v", st.FailedTarget, st.Applied.Spec.Options)
	}
}

// TestPravegaOneStore: with a single segment store the controller cannot get ready before it is back.
func TestPravegaOneStore(t *testing.T) {
	t.Parallel()
	c := pravega(t, "1")
	c.control(`{"members": {"NAME-controller-0@0.7.0": {"crashAfterReady": "100ms"}}}`)
	c.upgrade(1, "0.7.0", strings.Fields(splitArgs)...)
	c.ended(v1alpha1.PhaseRolledBack, "0.6.2")
	told := c.told("Stop", "RollingBack")
	at := 0
	for i, s := range told {
		if strings.HasPrefix(s, "RollingBack") {
			at = i
		}
	}
	if back := strings.Join(told[at+1:], ","); !strings.HasPrefix(back, "Stop segmentstore-0") {
		t.Errorf("went back: %s, want the segment store first", back)
	}
}
