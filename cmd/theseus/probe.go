package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"theseus.dev/ask"
	"theseus.dev/probe"
	"theseus.dev/probe/etcd"
	"theseus.dev/probe/remote"
)

type probeFlags struct {
	probed
	pace     probe.Options // rate and times of requests
	duration time.Duration
	baseline time.Duration
	settle   time.Duration
	profile  string
	dir      string
	image    string
	control  string
}

// probed is what is measured.
type probed struct {
	system    string
	endpoints []string
	// Files for connections with TLS, and what is expected in the certificates: a name for each endpoint, one for all, or none, which means the hosts.
	cacert, cert, key string
	serverNames       []string
}

// config is how it is spoken to with TLS; nil: it is not.
func (t *probed) config() (*tls.Config, error) {
	if t.cacert+t.cert+t.key != "" {
		return ask.TLSConfig(t.cacert, t.cert, t.key)
	}
	if slices.ContainsFunc(t.endpoints, func(e string) bool { return strings.HasPrefix(e, "https:") }) {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	return nil, nil
}

// flags name the files as etcdctl does.
func (t *probed) flags() []string {
	f := []string{"--system", t.system, "--endpoints", strings.Join(t.endpoints, ",")}
	for _, file := range [][2]string{{"--cacert", t.cacert}, {"--cert", t.cert}, {"--key", t.key}, {"--server-name", strings.Join(t.serverNames, ",")}} {
		if file[1] != "" {
			f = append(f, file[:]...)
		}
	}
	return f
}

// flags are those that a probe elsewhere is given, to measure what this one would.
func (f *probeFlags) flags() []string {
	return append(f.probed.flags(), "--rate", fmt.Sprint(f.pace.Rate), "--deadline", f.pace.Deadline.String(), "--try-timeout", f.pace.TryTimeout.String())
}

func newProbe(a *app) *cobra.Command {
	var f probeFlags
	c := &cobra.Command{
		Use:   "probe [NAME]",
		Short: "Measure from outside what users notice, and judge it",
		Long: `Send requests at a constant rate, whatever the system does, keep a ledger of
every acknowledged write and read it back at the end.

With the name of a cluster the probe measures a baseline, waits for an attempt
to begin and to end (start it from another terminal), measures for a while
longer, and judges. With --endpoints it measures any system for --duration.

A cluster in Kubernetes is measured by a pod beside it, in the image of the
operator: what it sees is what clients inside see. This command tells it what
the operator does, fetches its result and takes the pod away. With --endpoints
the probe is here, wherever the system is.`,
		Example: `  theseus probe kv --rate 1000 --out verdict/
  theseus probe kv --context lab --namespace prod
  theseus probe --system etcd --endpoints http://10.0.0.1:2379,http://10.0.0.2:2379 --duration 1m
  theseus probe --endpoints https://10.0.0.1:2379 --cacert ca.pem --cert client.pem --key client-key.pem --duration 1m`,
		Args:              atMostOneName,
		ValidArgsFunction: a.completeNames,
		RunE:              func(c *cobra.Command, args []string) error { return a.probe(c.Context(), args, f) },
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.endpoints, "endpoints", nil, "addresses of a system that Theseus does not run")
	fl.StringVar(&f.system, "system", "etcd", "what the endpoints are; drivers: etcd")
	fl.StringVar(&f.cacert, "cacert", "", "file with the authority of the endpoints' certificates (default those of this machine)")
	fl.StringVar(&f.cert, "cert", "", "file with the certificate that is shown to the endpoints")
	fl.StringVar(&f.key, "key", "", "file with the key of --cert")
	fl.StringSliceVar(&f.serverNames, "server-name", nil, "name expected in the certificates: one, or one for each endpoint (default the host)")
	fl.Float64Var(&f.pace.Rate, "rate", 200, "requests a second")
	fl.DurationVar(&f.pace.Deadline, "deadline", 5*time.Second, "how long a request may take with all its tries, from when it is due")
	fl.DurationVar(&f.pace.TryTimeout, "try-timeout", time.Second, "how long one try of a request that may be repeated may take")
	fl.DurationVar(&f.duration, "duration", 0, "end after this time (with --endpoints: required)")
	fl.DurationVar(&f.baseline, "baseline", 10*time.Second, "how long to measure before the upgrade counts as begun")
	fl.DurationVar(&f.settle, "settle", 10*time.Second, "how long to measure after the end")
	fl.StringVar(&f.profile, "profile", "quick", "what counts as enough evidence: quick, full")
	fl.StringVar(&f.dir, "out", "verdict", "folder for verdict.json and report.html")
	fl.StringVar(&f.image, "image", "", "image of Theseus for the pod that measures in Kubernetes (default that of the operator)")
	fl.StringVar(&f.control, "control", "", "address on which a command elsewhere says what the upgrade does, and fetches the result")
	if err := fl.MarkHidden("control"); err != nil {
		panic(err) // it is defined above
	}
	return c
}

func (a *app) probe(ctx context.Context, args []string, f probeFlags) error {
	profile, err := probe.ProfileNamed(f.profile)
	if err != nil {
		return inputError(err)
	}
	switch pace := f.pace; {
	case pace.Rate <= 0:
		return inputErrorf("--rate %g: it must be more than nothing", pace.Rate)
	case pace.TryTimeout <= 0:
		return inputErrorf("--try-timeout %s: it must be more than nothing", pace.TryTimeout)
	case pace.Deadline < pace.TryTimeout:
		return inputErrorf("--deadline %s: it must be at least the --try-timeout, %s", pace.Deadline, pace.TryTimeout)
	}
	if len(args) == 1 {
		return a.probeCluster(ctx, args[0], profile, f)
	}
	if f.control != "" {
		return a.serveProbe(ctx, f)
	}
	if len(f.endpoints) == 0 || f.duration <= 0 {
		return inputErrorf("give the name of a cluster, or --endpoints with --duration")
	}
	m, err := startProbe(ctx, f.probed, f.pace)
	if err != nil {
		return err
	}
	wait(ctx, m, f.duration)
	return a.judge(m, profile, probe.Facts{}, f.dir)
}

// abandonedAfter is how long a probe in a pod goes on without hearing of the command that started it, and that command without hearing of the pod.
const abandonedAfter = 5 * time.Minute

// serveProbe is the probe in a pod.
func (a *app) serveProbe(ctx context.Context, f probeFlags) error {
	p, d, err := newProbeOf(f.probed, f.pace)
	if err != nil {
		return err
	}
	defer d.Close()
	l, err := net.Listen("tcp", f.control)
	if err != nil {
		return inputErrorf("--control %s: %w", f.control, err)
	}
	a.talkf("measuring %s until a command takes the result, or is not heard of for %s", strings.Join(f.endpoints, ", "), abandonedAfter)
	if err := remote.Serve(ctx, l, p, abandonedAfter); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// meter is a probe that runs, here or in a pod.
type meter interface {
	Mark(w probe.Window, label string)
	Step(text string)
	// Ended is closed when it does not measure any more.
	Ended() <-chan struct{}
	// Stop ends the sending and waits until the ledger is read back.
	Stop() (*probe.Result, error)
}

// measuring is a probe in this process.
type measuring struct {
	*probe.Probe
	result *probe.Result
	err    error
	ended  chan struct{}
}

func newProbeOf(t probed, pace probe.Options) (*probe.Probe, probe.Driver, error) {
	if t.system != "etcd" {
		return nil, nil, inputErrorf("--system %s: there is no probe driver for it yet; drivers: etcd", t.system)
	}
	config, err := t.config()
	if err != nil {
		return nil, nil, inputError(err)
	}
	d, err := etcd.New(etcd.Options{Endpoints: t.endpoints, TLS: config, ServerNames: t.serverNames, FreshEvery: 50})
	if err != nil {
		return nil, nil, inputError(err)
	}
	p, err := probe.New(d, pace)
	if err != nil {
		return nil, nil, inputError(errors.Join(err, d.Close()))
	}
	return p, d, nil
}

func startProbe(ctx context.Context, t probed, pace probe.Options) (*measuring, error) {
	p, d, err := newProbeOf(t, pace)
	if err != nil {
		return nil, err
	}
	m := &measuring{Probe: p, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		defer d.Close()
		m.result, m.err = p.Run(ctx)
	}()
	select {
	case <-p.Running():
	case <-m.ended:
		return nil, fmt.Errorf("start the probe: %w", m.err)
	}
	return m, nil
}

func (m *measuring) Ended() <-chan struct{} { return m.ended }

func (m *measuring) Stop() (*probe.Result, error) {
	m.Probe.Stop()
	<-m.ended
	return m.result, m.err
}

// wait lets a probe measure for a while.
func wait(ctx context.Context, m meter, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-m.Ended():
	}
}

// judge ends a probe, writes the verdict and prints its line. Anything but pass is a failure.
func (a *app) judge(m meter, p probe.Profile, facts probe.Facts, dir string) error {
	r, err := m.Stop()
	if err != nil {
		return err
	}
	l := r.Ledger
	facts.SameData = fact(l.Keepsakes > 0 && l.KeepsakesGone == 0 && l.Unread == 0,
		fmt.Sprintf("%d keys written before the baseline were read back unchanged", l.Keepsakes),
		fmt.Sprintf("of %d keys written before the baseline %d are gone or changed; %d keys could not be read", l.Keepsakes, l.KeepsakesGone, l.Unread))
	v := probe.Judge(r, p, facts)
	if err := v.Write(dir); err != nil {
		return fmt.Errorf("write the verdict: %w", err)
	}
	for _, outcome := range []probe.Outcome{probe.Fail, probe.NotShown} {
		for _, c := range v.Failures(outcome) {
			a.talkf("  %s: %s: %s, limit %s. %s", outcome, c.Name, c.Measured, c.Limit, c.Why)
		}
	}
	if a.json {
		a.printJSON(v)
	} else {
		a.printf("%s\n", v.Summary(dir))
	}
	if v.Outcome != probe.Pass {
		return &exitError{code: exitFailed, err: fmt.Errorf("the verdict is %s", v.Outcome), next: "see " + dir + "/report.html"}
	}
	return nil
}

// probeCluster measures a cluster of ours through one attempt.
func (a *app) probeCluster(ctx context.Context, name string, profile probe.Profile, f probeFlags) error {
	k, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	r, err := k.at.reach(ctx, k)
	if err != nil {
		return err
	}
	before, err := r.resources(ctx)
	if err != nil {
		return err
	}
	m, err := r.start(ctx, f)
	if err != nil {
		return err
	}
	defer func() { _, _ = m.Stop() }() // where it is not judged
	a.talkf("measuring %s at %g requests/s; start an upgrade from another terminal when the baseline is long enough", name, f.pace.Rate)
	wait(ctx, m, f.baseline)
	a.talkf("the baseline is measured; waiting for an attempt")
	if err := a.followAttempt(ctx, m, k, f.duration); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	m.Mark(probe.Settle, "after")
	wait(ctx, m, f.settle)
	facts, err := k.factsInTime(context.WithoutCancel(ctx), r, before)
	if err != nil {
		return err
	}
	return a.judge(m, profile, facts, f.dir)
}

// followAttempt marks the windows of attempts as the journal shows them, until one that began has ended.
func (a *app) followAttempt(ctx context.Context, m meter, k *opened, most time.Duration) error {
	var over <-chan time.Time
	if most > 0 {
		t := time.NewTimer(most)
		defer t.Stop()
		over = t.C
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	began := k.cluster.Status.Serial
	running := false
	events := newTail(k.cluster.Status.Events)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case <-m.Ended():
			return nil
		case <-tick.C:
		}
		if err := k.reload(ctx); err != nil && !passing(err) {
			return err
		}
		at := k.cluster.Status.Attempt
		for _, e := range events.next(k.cluster.Status.Events) {
			m.Step(eventLine(e))
		}
		switch {
		case at == nil || at.ID <= began && at.Phase.Ended():
		case !at.Phase.Ended() && !running:
			running = true
			m.Mark(probe.Upgrade, at.From+" → "+at.To)
			a.talkf("attempt %d has begun: %s to %s", at.ID, at.From, at.To)
		case at.Phase.Ended() && at.ID > began:
			return nil
		}
	}
}
