package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"theseus.dev/bench/figure"
)

const (
	oldVersion = "3.5.35"
	newVersion = "3.6.16"
	soak       = 3 * time.Second
)

// wallTime compares an upgrade of three etcd members by Theseus with a bare script that does the same and no more: a
// snapshot, then each member stopped, started with the new program, waited for by the rules that etcd.yaml calls settled, and a
// soak; the leader last, after its role was moved. It also reads the memory of the driver and the shims.
func wallTime(ctx context.Context, bin, dir string, rounds int) ([]figure.Figure, error) {
	var ours, bare []float64
	var driver, shim []memory
	for i := range rounds {
		fmt.Fprintf(os.Stderr, "wall time, round %d of %d\n", i+1, rounds)
		r, err := byTheseus(ctx, bin, filepath.Join(dir, fmt.Sprint("theseus", i)))
		if err != nil {
			return nil, fmt.Errorf("upgrade by Theseus: %w", err)
		}
		ours, driver, shim = append(ours, r.took.Seconds()), append(driver, r.driver), append(shim, r.shim)
		took, err := byScript(ctx, bin, filepath.Join(dir, fmt.Sprint("script", i)))
		if err != nil {
			return nil, fmt.Errorf("upgrade by the bare script: %w", err)
		}
		bare = append(bare, took.Seconds())
	}
	a, b := figure.Median(ours), figure.Median(bare)
	return []figure.Figure{
		{What: "wall time of an upgrade, 3 etcd members", Ours: fmt.Sprintf("%.1f s", a), Theirs: fmt.Sprintf("%.1f s by a bare script", b), Ratio: fmt.Sprintf("%.2f", a/b), Limit: "1.10"},
		memoryFigure("memory of the driver, peak", driver, "60 MiB"),
		memoryFigure("memory of a shim, largest of three", shim, "12 MiB"),
	}, nil
}

type measured struct {
	took         time.Duration
	driver, shim memory
}

// memory of a process, in MiB: its proportional set size, in which a page that several processes share counts once for all of them, and all that
// is resident. The difference is the program's file, of which there is one copy for the driver and all shims.
type memory struct{ share, resident float64 }

func (m memory) most(n memory) memory {
	return memory{max(m.share, n.share), max(m.resident, n.resident)}
}

func memoryFigure(name string, list []memory, most string) figure.Figure {
	var share, resident []float64
	for _, m := range list {
		share, resident = append(share, m.share), append(resident, m.resident)
	}
	return figure.Figure{What: name, Ours: fmt.Sprintf("%.1f MiB", figure.Median(share)), Theirs: fmt.Sprintf("%.1f MiB resident", figure.Median(resident)), Limit: most}
}

func byTheseus(ctx context.Context, bin, dir string) (m measured, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return m, err
	}
	file := filepath.Join(dir, "kv.yaml")
	text := fmt.Sprintf(`apiVersion: theseus.dev/v1alpha1
kind: Cluster
metadata: {name: bench}
spec:
  system: etcd
  version: %s
  components: {etcd: {replicas: 3}}
  backup: {url: "file://%s"}
  upgrade: {soak: %s}
`, oldVersion, filepath.Join(dir, "backups"), soak)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return m, err
	}
	t := theseus{bin: bin, home: filepath.Join(dir, "home")}
	if err := t.run(ctx, "up", file).Run(); err != nil {
		return m, fmt.Errorf("up: %w", err)
	}
	defer func() { err = errors.Join(err, t.run(context.WithoutCancel(ctx), "down", "bench").Run()) }()
	cmd := t.run(ctx, "upgrade", "bench", "--to", newVersion)
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return m, fmt.Errorf("upgrade: %w", err)
	}
	peak := watchMemory(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		return m, fmt.Errorf("upgrade: %w", err)
	}
	m.took = time.Since(begun)
	m.driver = peak().most(memory{resident: float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024})
	m.shim, err = largestShim(t.home)
	return m, err
}

type theseus struct{ bin, home string }

func (t theseus) run(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(t.bin, "theseus"), append([]string{"--home", t.home, "--programs", filepath.Join(t.bin, "servers")}, args...)...)
	var talk bytes.Buffer
	c.Stderr = &talk
	return c
}

// watchMemory looks at a process again and again; peak ends that and says the most that was seen.
func watchMemory(pid int) (peak func() memory) {
	ctx, stop := context.WithCancel(context.Background())
	most := make(chan memory)
	go func() {
		var m memory
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if now, err := memoryOf(fmt.Sprintf("/proc/%d", pid)); err == nil {
					m = m.most(now)
				}
			case <-ctx.Done():
				most <- m
				return
			}
		}
	}()
	return func() memory { stop(); return <-most }
}

// largestShim is the memory of the largest process that was started as a shim under this home.
func largestShim(home string) (largest memory, err error) {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return largest, err
	}
	for _, p := range procs {
		line, err := os.ReadFile(p)
		if err != nil || !bytes.Contains(line, []byte("__shim")) || !bytes.Contains(line, []byte(home)) {
			continue
		}
		if m, err := memoryOf(filepath.Dir(p)); err == nil {
			largest = largest.most(m)
		}
	}
	if largest.share == 0 {
		return largest, errors.New("no shim was found")
	}
	return largest, nil
}

// memoryOf a process, by its folder in /proc.
func memoryOf(process string) (m memory, err error) {
	text, err := os.ReadFile(filepath.Join(process, "smaps_rollup"))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "Rss: %f kB", &kib); n == 1 {
			m.resident = kib / 1024
		}
		if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kib); n == 1 {
			m.share = kib / 1024
		}
	}
	if m.share == 0 {
		return m, fmt.Errorf("%s has no proportional set size", process)
	}
	return m, nil
}

// script is the bare way: three members, and nothing that remembers or checks more than it must.
type script struct {
	bin, dir string
	members  [3]*exec.Cmd
}

func byScript(ctx context.Context, bin, dir string) (time.Duration, error) {
	s := &script{bin: bin, dir: dir}
	defer s.end()
	for i := range s.members {
		if err := s.start(ctx, i, oldVersion); err != nil {
			return 0, err
		}
	}
	for i := range s.members {
		if err := s.await(ctx, i, oldVersion); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	if err := s.upgrade(ctx); err != nil {
		return 0, err
	}
	return time.Since(begun), nil
}

func (s *script) upgrade(ctx context.Context) error {
	snapshot := exec.CommandContext(ctx, filepath.Join(s.bin, "servers", "etcdctl-"+oldVersion), "--endpoints="+s.client(0), "snapshot", "save", filepath.Join(s.dir, "snapshot.db"))
	if out, err := snapshot.CombinedOutput(); err != nil {
		return fmt.Errorf("snapshot: %w: %s", err, out)
	}
	for range s.members {
		i, err := s.next(ctx)
		if err != nil {
			return err
		}
		if err := s.stop(i); err != nil {
			return err
		}
		if err := s.start(ctx, i, newVersion); err != nil {
			return err
		}
		if err := s.await(ctx, i, newVersion); err != nil {
			return err
		}
		time.Sleep(soak) // the script's own soak, as people write it
	}
	return nil
}

// next is a follower of the old version, or the leader after its role was moved.
func (s *script) next(ctx context.Context) (int, error) {
	leader := -1
	other := ""
	for i := range s.members {
		st, err := s.status(ctx, i)
		switch {
		case err != nil:
			return 0, err
		case st.Version != oldVersion:
			other = st.Header.MemberID
		case st.Header.MemberID != st.Leader:
			return i, nil
		default:
			leader = i
		}
	}
	body := fmt.Sprintf(`{"targetID":%q}`, other)
	if _, err := s.post(ctx, leader, "/v3/maintenance/transfer-leadership", body); err != nil {
		return 0, fmt.Errorf("move the leader: %w", err)
	}
	return leader, nil
}

func (s *script) client(i int) string { return fmt.Sprintf("http://127.91.0.%d:2379", i+1) }
func (s *script) peer(i int) string   { return fmt.Sprintf("http://127.91.0.%d:2380", i+1) }

func (s *script) start(ctx context.Context, i int, version string) error {
	var all []string
	for j := range s.members {
		all = append(all, fmt.Sprintf("m%d=%s", j, s.peer(j)))
	}
	c := exec.CommandContext(ctx, filepath.Join(s.bin, "servers", "etcd-"+version), fmt.Sprintf("--name=m%d", i), "--data-dir="+filepath.Join(s.dir, fmt.Sprint(i)),
		"--listen-client-urls="+s.client(i), "--advertise-client-urls="+s.client(i), "--listen-peer-urls="+s.peer(i), "--initial-advertise-peer-urls="+s.peer(i),
		"--initial-cluster="+strings.Join(all, ","), "--log-level=error")
	s.members[i] = c
	return c.Start()
}

func (s *script) stop(i int) error {
	if err := s.members[i].Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = s.members[i].Wait() // etcd ends with the signal as its status
	return nil
}

func (s *script) end() {
	for _, c := range s.members {
		if c != nil && c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
}

type etcdStatus struct {
	Header struct {
		MemberID string `json:"member_id"`
	} `json:"header"`
	Version string `json:"version"`
	Leader  string `json:"leader"`
}

func (s *script) status(ctx context.Context, i int) (st etcdStatus, err error) {
	text, err := s.post(ctx, i, "/v3/maintenance/status", "{}")
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(text, &st)
}

func (s *script) post(ctx context.Context, i int, path, body string) ([]byte, error) {
	return s.call(ctx, http.MethodPost, i, path, body)
}

func (s *script) call(ctx context.Context, method string, i int, path, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.client(i)+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", res.Status, text.String())
	}
	return text.Bytes(), nil
}

// await waits for the settled rules: the member says the version, and all agree on a leader.
func (s *script) await(ctx context.Context, i int, version string) error {
	limit := time.Now().Add(time.Minute)
	for time.Now().Before(limit) {
		if s.settled(ctx, i, version) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("member %d did not settle at %s in a minute", i, version)
}

// settled asks for what the rules of etcd.yaml ask for: the version, one leader, and the cluster version and storage version
// that follow from the lowest member.
func (s *script) settled(ctx context.Context, i int, version string) bool {
	leader, lowest := "", ""
	for j := range s.members {
		st, err := s.status(ctx, j)
		if err != nil || st.Leader == "" || st.Leader == "0" || leader != "" && st.Leader != leader || j == i && st.Version != version {
			return false
		}
		leader = st.Leader
		if minor := st.Version[:strings.LastIndex(st.Version, ".")] + ".0"; lowest == "" || minor < lowest {
			lowest = minor
		}
	}
	for j := range s.members {
		v, err := s.versions(ctx, j)
		if err != nil || v.Cluster != lowest || v.Storage != "" && v.Storage != lowest {
			return false
		}
	}
	return true
}

type etcdVersions struct {
	Cluster string `json:"etcdcluster"`
	Storage string `json:"storage"`
}

func (s *script) versions(ctx context.Context, i int) (v etcdVersions, err error) {
	text, err := s.call(ctx, http.MethodGet, i, "/version", "")
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(text, &v)
}
