package systems_test

import (
	"slices"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/system"
	"theseus.dev/systems"
)

func shipped(t *testing.T, name string) *system.System {
	t.Helper()
	text, err := systems.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := manifest.Decode(name+".yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := system.Compile(objects[0].System)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// path is the way from one version to another, or the error.
func path(s *system.System, from, to string) string {
	hops, err := s.Path(from, to)
	if err != nil {
		return err.Error()
	}
	var way []string
	for _, h := range hops {
		way = append(way, h.To)
	}
	return strings.Join(way, " ")
}

func TestAerospikePaths(t *testing.T) {
	s := shipped(t, "aerospike")
	for _, tc := range []struct {
		from, to, want string
		volumes        bool
	}{
		{"4.0.0.4", "4.3.0.10", "4.3.0.10", true},
		{"4.1.0.6", "4.2.0.3", "4.2.0.3", true},
		{"4.0.0.4", "4.1.0.6", "4.1.0.6", false},
		{"4.2.0.4", "4.2.0.10", "4.2.0.10", false},
		{"4.2.0.10", "4.3.0.2", "4.3.0.2", false}, // the operator compared each part alone
		{"4.2.0.10", "4.2.0.4", "is a downgrade", false},
		{"4.2.0.3", "4.2.0.6", "is not listed", false},
		{"4.3.0.10", "5.0.0.1", "is not listed", false},
	} {
		got := path(s, tc.from, tc.to)
		if got != tc.want && !(strings.Contains(tc.want, "is ") && strings.Contains(got, tc.want)) {
			t.Errorf("%s to %s: %s, want %s", tc.from, tc.to, got, tc.want)
			continue
		}
		hops, err := s.Path(tc.from, tc.to)
		if err != nil {
			continue
		}
		if e := hops[0].Rules; e.Backup != v1alpha1.BackupRequired || len(e.RecreateVolumes) > 0 != tc.volumes || slices.Contains(e.Needs, "twoCopies") != tc.volumes {
			t.Errorf("%s to %s: backup %s, volumes of %v, needs %v", tc.from, tc.to, e.Backup, e.RecreateVolumes, e.Needs)
		}
	}
	for factor, want := range map[string]system.Answer{"1": system.No, "2": system.Yes} {
		if got, why := s.Need("twoCopies").Is(&system.Scope{Options: map[string]string{"replicationFactor": factor}}); got != want {
			t.Errorf("two copies with replicationFactor %s: %v (%s), want %v", factor, got, why, want)
		}
	}
}

func TestAerospikeSettled(t *testing.T) {
	c := shipped(t, "aerospike").Component("aerospike")
	member := func(name, statistics string) *system.Member {
		return &system.Member{Name: name, Answers: system.Answers{"statistics": map[string]any{"exit": int64(0), "text": statistics + "\n"}}}
	}
	for statistics, want := range map[string]string{
		"cluster_size=2;cluster_key=AB;migrate_partitions_remaining=0;uptime=3": "",
		"uptime=3;migrate_partitions_remaining=0;cluster_size=2":                "",
		"cluster_size=12;migrate_partitions_remaining=0":                        "one cluster",
		"cluster_size=1;migrate_partitions_remaining=0":                         "one cluster",
		"cluster_size=2;migrate_partitions_remaining=4096":                      "no migrations",
		"cluster_size=2": "no migrations", // unknown
	} {
		m := member("a", statistics)
		sc := &system.Scope{M: m, All: []*system.Member{m, member("b", statistics)}}
		got := ""
		for _, r := range c.Settled() {
			if a, _ := r.Is(sc); a != system.Yes && got == "" {
				got = r.Name()
			}
			if left, ok := r.Left(sc); strings.Contains(statistics, "4096") && r.Name() == "no migrations" && (!ok || left != 4096) {
				t.Errorf("left %v, %v", left, ok)
			}
		}
		if got != want {
			t.Errorf("%s: does not hold: %q, want %q", statistics, got, want)
		}
	}
}

func TestAerospikeRules(t *testing.T) {
	s := shipped(t, "aerospike")
	for factor, want := range map[string]string{"2": "", "3": "lower replicationFactor, or run more members", "0": "does not match"} {
		errs := s.CheckOptions(&v1alpha1.ClusterSpec{Version: "4.2.0.3", Options: map[string]string{"replicationFactor": factor}})
		if (want == "") != (len(errs) == 0) || !strings.Contains(errs.Error(), want) {
			t.Errorf("replicationFactor %s of 2 members: %v, want %q", factor, errs, want)
		}
	}
	for factor, want := range map[string]int{"1": 1, "2": 0} {
		c := &v1alpha1.Cluster{Spec: v1alpha1.ClusterSpec{Version: "4.2.0.3", Options: map[string]string{"replicationFactor": factor}}}
		warnings := manifest.Warnings(c, s)
		if errs := s.CheckOptions(&c.Spec); len(errs) > 0 || len(warnings) != want || !strings.Contains(strings.Join(warnings, ""), strings.Repeat("cannot be read or written while it is replaced", want)) {
			t.Errorf("replicationFactor %s: %v, and the warnings %q", factor, errs, warnings)
		}
	}
}

func TestPravegaPaths(t *testing.T) {
	s := shipped(t, "pravega")
	for _, tc := range []struct{ from, to, want string }{
		{"0.4.0", "0.5.0", "0.5.0"},
		{"0.4.0", "0.5.0-1", "0.5.0-1"},
		{"0.5.0", "0.5.0-1", "0.5.0-1"},
		{"0.5.0-1", "0.5.0", "is a downgrade"},
		{"0.5.0", "0.9.1", "0.9.1"},
		{"0.9.1", "0.13.0", "0.13.0"},
		{"0.10.0", "0.9.1", "is a downgrade"},
	} {
		if got := path(s, tc.from, tc.to); got != tc.want && !(strings.HasPrefix(tc.want, "is ") && strings.Contains(got, tc.want)) {
			t.Errorf("%s to %s: %s, want %s", tc.from, tc.to, got, tc.want)
		}
	}
	for _, tc := range []struct {
		from, to string
		requires int
		changes  bool
		moves    bool
	}{{"0.6.2", "0.7.0", 4, true, true}, {"0.6.2", "0.9.0", 6, true, true}, {"0.7.0", "0.9.0", 2, true, false}, {"0.5.0", "0.6.2", 0, false, false},
		{"0.9.0", "0.10.1", 0, false, false}} {
		hops, err := s.Path(tc.from, tc.to)
		if err != nil || len(hops[0].Rules.Requires) != tc.requires || len(hops[0].Rules.Changes) > 0 != tc.changes || len(hops[0].Rules.Moves) > 0 != tc.moves {
			t.Errorf("%s to %s: %v, requires %v, changes %v, moves %+v", tc.from, tc.to, err, hops[0].Rules.Requires, hops[0].Rules.Changes, hops[0].Rules.Moves)
		}
	}
}

func TestPravegaRules(t *testing.T) {
	s := shipped(t, "pravega")
	const flags = "-XX:+UseContainerSupport -XX:+IgnoreUnrecognizedVMOptions"
	with := func(change ...string) map[string]string {
		o := map[string]string{"segmentStoreMemory": "16Gi", "segmentStoreHeap": "4g", "segmentStoreDirectMemory": "12g", "cacheMax": "11811160064",
			"segmentStoreJvmOptions": flags, "controllerJvmOptions": flags}
		for i := 0; i < len(change); i += 2 {
			o[change[i]] = change[i+1]
		}
		return o
	}
	for _, tc := range []struct {
		version string
		options map[string]string
		want    string
	}{
		{"0.9.0", with(), ""}, // the document's example
		{"0.6.2", nil, ""},
		{"0.7.0", nil, "set all four"},
		{"0.9.0", with("segmentStoreHeap", "5g"), "the heap can stay at 4g"},
		{"0.9.0", with("cacheMax", "11811160065"), "lower cacheMax"},
		{"0.9.0", with("controllerJvmOptions", ""), "add -XX:+UseContainerSupport"},
		{"0.8.1", with("controllerJvmOptions", ""), ""},
		{"0.6.2", with("segmentStoreJvmOptions", "-Xmx4g"), "use segmentStoreHeap"},
		{"0.9.0", with("segmentStoreMemory", "16GB"), "does not match"},
	} {
		errs := s.CheckOptions(&v1alpha1.ClusterSpec{Version: tc.version, Options: tc.options})
		if (tc.want == "") != (len(errs) == 0) || !strings.Contains(errs.Error(), tc.want) {
			t.Errorf("%s %v: %v, want %q", tc.version, tc.options, errs, tc.want)
		}
	}
}

func TestPravegaReady(t *testing.T) {
	s := shipped(t, "pravega")
	for _, tc := range []struct {
		component, version string
		answers            system.Answers
		want               system.Answer
	}{
		{"segmentstore", "0.9.0", system.Answers{"open": map[string]any{"ok": true}}, system.Yes},
		{"segmentstore", "0.10.1", system.Answers{"open": map[string]any{"ok": true}}, system.Unknown},
		{"segmentstore", "0.10.1", system.Answers{"readiness": map[string]any{"status": int64(200), "text": "true"}}, system.Yes},
		{"segmentstore", "0.10.1", system.Answers{"readiness": map[string]any{"status": int64(200), "text": "false\n"}}, system.No},
		{"controller", "0.9.0-2", system.Answers{"scopes": map[string]any{"status": int64(200), "text": `{"scopes":[{"scopeName":"_system"}]}`}}, system.Yes},
		{"controller", "0.9.0", system.Answers{"scopes": map[string]any{"status": int64(503), "text": ""}}, system.No},
	} {
		m := &system.Member{Name: "x", Version: tc.version, Answers: tc.answers}
		if got, why := s.Component(tc.component).Ready(&system.Scope{M: m}); got != tc.want {
			t.Errorf("%s %s %v: %s (%s), want %s", tc.component, tc.version, tc.answers, got, why, tc.want)
		}
	}
}

func TestPravegaExternalServices(t *testing.T) {
	s := shipped(t, "pravega")
	m := &system.Member{Name: "x", Answers: system.Answers{"zookeeper": map[string]any{"status": int64(503)}}}
	for url, want := range map[string]system.Answer{"": system.Yes, "http://zk:8080/commands/ruok": system.No} {
		sc := &system.Scope{All: []*system.Member{m}, Options: s.Options(&v1alpha1.ClusterSpec{Options: map[string]string{"zookeeperHealth": url}})}
		if got, why := s.Need("externalServices").Is(sc); got != want {
			t.Errorf("zookeeperHealth %q: %s (%s), want %s", url, got, why, want)
		}
	}
}
