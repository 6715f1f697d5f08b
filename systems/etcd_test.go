package systems_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/system"
	"theseus.dev/systems"
)

func etcd(t *testing.T) *system.System {
	t.Helper()
	text, err := systems.Load("etcd")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := manifest.Decode("etcd.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := system.Compile(objects[0].System)
	if err != nil {
		t.Fatal(err)
	}
	if w := s.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
	return s
}

// parsed is a JSON answer as a question gives it.
func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"json": v, "text": text}
}

// Answers as real members gave them, by version.
const (
	status35 = `{"header":{"cluster_id":"9","member_id":"ID","revision":"1","raft_term":"2"},"version":"3.5.35","dbSize":"20480","leader":"100","raftIndex":"5000","raftTerm":"2","raftAppliedIndex":"5000","dbSizeInUse":"16384"}`
	status36 = `{"header":{"cluster_id":"9","member_id":"ID","revision":"1","raft_term":"2"},"version":"3.6.16","dbSize":"20480","leader":"100","raftIndex":"5000","raftTerm":"2","raftAppliedIndex":"5000","dbSizeInUse":"16384","storageVersion":"3.6.0","dbSizeQuota":"2147483648","downgradeInfo":{}}`
	noLeader = `{"header":{"cluster_id":"9","member_id":"ID","revision":"1","raft_term":"4"},"version":"3.6.16","dbSize":"20480","raftIndex":"11","raftTerm":"4","raftAppliedIndex":"11","errors":["etcdserver: no leader"],"dbSizeInUse":"16384","storageVersion":"3.6.0","dbSizeQuota":"2147483648","downgradeInfo":{}}`
	versions = `{"etcdserver":"3.5.35","etcdcluster":"3.5.0"}`
	later    = `{"etcdserver":"3.6.16","etcdcluster":"CLUSTER","storage":"STORAGE"}`
	list     = `{"members":[{"ID":"100","name":"kv-etcd-0","clientURLs":["http://a:2379"]},{"ID":"101","name":"kv-etcd-1","clientURLs":["http://b:2379"]},{"ID":"102","name":"kv-etcd-2","clientURLs":["http://c:2379"]}]}`
)

func downgrading(status string) string {
	return strings.Replace(status, `"downgradeInfo":{}`, `"downgradeInfo":{"enabled":true,"targetVersion":"3.5.0"}`, 1)
}

func v36(cluster, storage string) string {
	return strings.NewReplacer("CLUSTER", cluster, "STORAGE", storage).Replace(later)
}

// group is three members; each is given as its status and its versions, or "" for no answer.
func group(t *testing.T, answers ...string) *system.Scope {
	t.Helper()
	sc := &system.Scope{Cluster: "kv", From: "3.5.35", Version: "3.6.16", Options: etcd(t).Options(&v1alpha1.ClusterSpec{})}
	for i := range 3 {
		id := string(rune('0' + i))
		m := &system.Member{Name: "kv-etcd-" + id, Component: "etcd", Ordinal: i, Host: "127.0.0.1" + id, Data: "/data/" + id,
			Port: map[string]int64{"client": 2379, "peer": 2380}, Answers: system.Answers{}}
		if status := answers[2*i]; status != "" {
			m.Answers["status"] = parsed(t, strings.Replace(status, "ID", "10"+id, 1))
			m.Answers["versions"] = parsed(t, answers[2*i+1])
			m.Answers["members"] = parsed(t, list)
			m.Answers["health"] = parsed(t, `{"health":"true","reason":""}`)
		}
		sc.All = append(sc.All, m)
	}
	sc.M = sc.All[0]
	return sc
}

func same(t *testing.T, status, versions string) *system.Scope {
	return group(t, status, versions, status, versions, status, versions)
}

func TestEtcdCommandLine(t *testing.T) {
	s := etcd(t)
	spec := &v1alpha1.ClusterSpec{Options: map[string]string{"corruptCheck": "true"}}
	for version, want := range map[string]string{"3.5.35": "--experimental-initial-corrupt-check=true", "3.6.16": "--feature-gates=InitialCorruptCheck=true", "3.7.3": "--feature-gates=InitialCorruptCheck=true"} {
		sc := same(t, status35, versions)
		sc.Version, sc.Options = version, nil
		p, err := s.Process("etcd", spec, sc)
		if err != nil {
			t.Fatal(err)
		}
		if p.Program != "etcd-"+version || !slices.Contains(p.Args, want) || slices.Contains(p.Args, "") {
			t.Errorf("%s: program %q, args %q, want %q among them and no empty one", version, p.Program, p.Args, want)
		}
		if strings.Contains(strings.Join(p.Args, " "), "cert") {
			t.Errorf("%s without TLS has certificates: %q", version, p.Args)
		}
		sc.M.TLS = map[string]map[string]string{"client": {"ca": "/ca", "serverCert": "/crt", "serverKey": "/key", "cert": "/me"}}
		if p, err = s.Process("etcd", spec, sc); err != nil {
			t.Fatal(err)
		}
		for _, arg := range []string{"--listen-client-urls=https://127.0.0.10:2379", "--cert-file=/crt", "--client-cert-auth=true", "--listen-peer-urls=http://127.0.0.10:2380"} {
			if !slices.Contains(p.Args, arg) {
				t.Errorf("%s with TLS for clients: args %q, want %q among them", version, p.Args, arg)
			}
		}
	}
}

func TestEtcdPaths(t *testing.T) {
	s := etcd(t)
	for _, tc := range []struct{ from, to, want string }{
		{"3.5.35", "3.7.3", "3.5.35 3.6.16 3.7.3"},
		{"3.5.12", "3.7.3", "3.5.12 3.5.35 3.6.16 3.7.3"}, // removed members could come back
		{"3.6.4", "3.7.0", "3.6.4 3.6.16 3.7.0"},          // before 3.6.11 it may not mix with 3.7
		{"3.7.3", "3.7.4", "3.7.3 3.7.4"},                 // a patch that is not listed
	} {
		hops, err := s.Path(tc.from, tc.to)
		if err != nil {
			t.Fatal(err)
		}
		way := []string{tc.from}
		for _, h := range hops {
			way = append(way, h.To)
		}
		if got := strings.Join(way, " "); got != tc.want {
			t.Errorf("from %s to %s: %s, want %s", tc.from, tc.to, got, tc.want)
		}
	}
	for _, to := range []string{"3.8.0", "3.5.35"} {
		if _, err := s.Path("3.7.3", to); err == nil {
			t.Errorf("3.7.3 to %s is allowed", to)
		}
	}
}

func TestEtcdRole(t *testing.T) {
	c := etcd(t).Component("etcd")
	sc := same(t, status36, v36("3.6.0", "3.6.0"))
	for i, want := range []string{"leader", "follower", "follower"} {
		sc.M = sc.All[i]
		if got, ok := c.Role(sc); !ok || got != want {
			t.Errorf("member %d: role %q, %v, want %q", i, got, ok, want)
		}
	}
	sc = same(t, noLeader, v36("3.6.0", "3.6.0"))
	if got, ok := c.Role(sc); !ok || got != "follower" {
		t.Errorf("without a leader: role %q, %v, want follower", got, ok)
	}
}

func TestEtcdReady(t *testing.T) {
	c := etcd(t).Component("etcd")
	const incapable = `{"error":"etcdserver: not capable","code":14,"message":"etcdserver: not capable"}`
	for status, want := range map[string]system.Answer{status36: system.Yes, noLeader: system.No, incapable: system.No, "": system.Unknown} {
		if got, why := c.Ready(same(t, status, v36("3.6.0", "3.6.0"))); got != want {
			t.Errorf("status %s: ready is %s (%s), want %s", status, got, why, want)
		}
	}
}

// TestEtcdSettled names the first rule that does not hold.
func TestEtcdSettled(t *testing.T) {
	c := etcd(t).Component("etcd")
	whole := v36("3.6.0", "3.6.0")
	low := v36("3.5.0", "3.5.0")
	behind := strings.Replace(status36, `"raftAppliedIndex":"5000"`, `"raftAppliedIndex":"3999"`, 1)
	alarm := strings.Replace(status36, `"dbSizeInUse"`, `"errors":["memberID:100 alarm:NOSPACE "],"dbSizeInUse"`, 1)
	for name, tc := range map[string]struct {
		sc   *system.Scope
		want string
	}{
		"3.5":                      {same(t, status35, versions), ""},
		"3.6":                      {same(t, status36, whole), ""},
		"mixed":                    {group(t, status36, low, status35, versions, status36, low), ""},
		"no leader":                {same(t, noLeader, whole), "one leader"},
		"one sees none":            {group(t, status36, whole, noLeader, whole, status36, whole), "one leader"},
		"one is behind":            {group(t, behind, whole, status36, whole, status36, whole), "caught up"},
		"one does not answer":      {group(t, status36, whole, "", "", status36, whole), "one leader"},
		"no space":                 {same(t, alarm, whole), "no alarm"},
		"cluster version to rise":  {same(t, status36, low), "cluster version"},
		"storage to follow":        {same(t, status36, v36("3.6.0", "3.5.0")), "storage version"},
		"downgrade just enabled":   {same(t, downgrading(status36), whole), "cluster version"},
		"downgrade, storage later": {same(t, downgrading(status36), v36("3.5.0", "3.6.0")), "storage version"},
		"downgrade in force":       {same(t, downgrading(status36), low), ""},
		"downgrade, one is back":   {group(t, downgrading(status36), low, status35, versions, downgrading(status36), low), ""},
	} {
		got := ""
		for _, r := range c.Settled() {
			for _, m := range tc.sc.All {
				tc.sc.M = m
				if a, _ := r.Is(tc.sc); a != system.Yes && got == "" {
					got = r.Name()
				}
			}
		}
		if got != tc.want {
			t.Errorf("%s: does not hold: %q, want %q", name, got, tc.want)
		}
	}
}

// TestEtcdFinalized shows when the plain way back is open: only where the answer is no.
func TestEtcdFinalized(t *testing.T) {
	s := etcd(t)
	low, high := v36("3.5.0", "3.5.0"), v36("3.6.0", "3.6.0")
	for name, tc := range map[string]struct {
		sc   *system.Scope
		want system.Answer
	}{
		"an old member is left":             {group(t, status36, low, status35, versions, status36, low), system.No},
		"all new, about to rise":            {same(t, status36, low), system.Unknown},
		"all new, the last does not answer": {group(t, status36, low, "", "", status36, low), system.No},
		"one has seen it":                   {group(t, status36, low, status36, high, status36, low), system.Yes},
		"all have seen it":                  {same(t, status36, high), system.Yes},
		"risen, the last does not answer":   {group(t, status36, high, "", "", status36, high), system.Yes},
		"downgrade just enabled":            {same(t, downgrading(status36), high), system.Yes},
		"downgrade, one has not followed":   {group(t, downgrading(status36), low, downgrading(status36), v36("3.5.0", "3.6.0"), downgrading(status36), low), system.Yes},
		"downgrade in force":                {same(t, downgrading(status36), low), system.No},
		"downgrade, one is back":            {group(t, downgrading(status36), low, status35, versions, downgrading(status36), low), system.No},
		"all are back":                      {same(t, status35, versions), system.No},
	} {
		if got, why := s.Finalized(1).Is(tc.sc); got != tc.want {
			t.Errorf("%s: finalized is %s (%s), want %s", name, got, why, tc.want)
		}
	}
}

func TestEtcdFreshSnapshot(t *testing.T) {
	s := etcd(t)
	need := s.Need("freshSnapshot")
	sc := same(t, status36, v36("3.6.0", "3.6.0"))
	at := func(start, snapshots float64) map[string]any {
		return map[string]any{"process_start_time_seconds": start, "etcd_snap_fsync_duration_seconds_count": snapshots, "other": 1.0}
	}
	sc.M.Answers["metrics"] = at(100, 4)
	sc.Then = map[string]system.Answers{sc.M.Name: s.ThenOf(sc.M.Answers)}
	for name, tc := range map[string]struct {
		now  map[string]any
		want system.Answer
	}{
		"none since":                    {at(100, 4), system.No},
		"one since":                     {at(100, 5), system.Yes},
		"the process began anew":        {at(200, 0), system.No},
		"one since it began anew":       {at(200, 1), system.Yes},
		"the metric is not there (3.8)": {map[string]any{"process_start_time_seconds": 100.0}, system.Unknown},
	} {
		sc.M.Answers["metrics"] = tc.now
		if got, why := need.Is(sc); got != tc.want {
			t.Errorf("%s: %s (%s), want %s", name, got, why, tc.want)
		}
	}
	sc.M.Answers["status"] = parsed(t, strings.Replace(strings.ReplaceAll(status36, "5000", "12000"), "ID", "100", 1))
	if left, ok := need.Left(sc); !ok || left != 3001 {
		t.Errorf("7,000 entries later are left %v, %v, want 3001", left, ok)
	}
	if !slices.Contains(s.API().Edges[2].Needs, "freshSnapshot") {
		t.Error("the edge to 3.7 does not need it")
	}
}

func TestEtcdDowngrade(t *testing.T) {
	s := etcd(t)
	a, err := s.Action(system.NamedActionPath("downgrade"))
	if err != nil {
		t.Fatal(err)
	}
	sc := same(t, status36, v36("3.6.0", "3.6.0"))
	body, err := s.Expand(a.Body, sc)
	if want := `{"action": "ENABLE", "version": "3.5.0"}`; err != nil || body != want {
		t.Errorf("body %q, %v, want %q", body, err, want)
	}
	for text, want := range map[string]system.Answer{
		`{"code":9,"message":"etcdserver: cluster has a downgrade job in progress"}`: system.Yes, // done before
		`{"code":3,"message":"etcdserver: invalid downgrade target version"}`:        system.No,
	} {
		sc.Reply = map[string]any{"status": int64(400), "text": text}
		if got, why := s.Expect(a, sc); got != want {
			t.Errorf("reply %s: %s (%s), want %s", text, got, why, want)
		}
	}
}
