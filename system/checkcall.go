package system

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"theseus.dev/api/v1alpha1"
)

// signals that can be sent to a member.
var signals = []string{"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGCONT", "SIGWINCH", "SIGABRT", "SIGALRM"}

// carriers are the ways to speak to a member, in the order of the type.
func carriers(call *v1alpha1.Call) []string {
	var given []string
	for _, carrier := range []struct {
		name  string
		given bool
	}{
		{"get", call.Get != ""}, {"post", call.Post != ""}, {"put", call.Put != ""}, {"grpcHealth", call.GRPCHealth != nil},
		{"tcp", call.TCP != nil}, {"run", call.Run != nil}, {"signal", call.Signal != ""},
	} {
		if carrier.given {
			given = append(given, carrier.name)
		}
	}
	return given
}

// call checks one way to speak to a member. It is false when it is not known
// which way is meant.
func (c *checker) call(path string, call *v1alpha1.Call, in place) bool {
	given := carriers(call)
	if len(given) != 1 {
		problem := "says not what to do"
		if len(given) > 1 {
			problem = "has " + strings.Join(given, " and ")
		}
		c.errs.Add(path, "", problem, "give exactly one of get, post, put, grpcHealth, tcp, run, signal")
		return false
	}
	c.url(path+".get", call.Get, in)
	c.url(path+".post", call.Post, in)
	c.url(path+".put", call.Put, in)
	c.only(path, call, given[0])
	c.template(path+".body", call.Body, in)
	c.templateMap(path+".headers", call.Headers, in)
	c.tcp(path+".tcp", call.TCP, in)
	if call.GRPCHealth != nil {
		c.port(path+".grpcHealth.port", call.GRPCHealth.Port, in)
	}
	if call.Run != nil {
		c.run(path+".run", call.Run, in)
		c.env(path+".env", call.Env, in)
	}
	if call.Signal != "" {
		c.signal(path+".signal", call.Signal)
	}
	return true
}

func (c *checker) signal(path, name string) {
	if slices.Contains(signals, name) {
		return
	}
	remedy := OneOf(name, signals)
	if full := "SIG" + strings.ToUpper(name); slices.Contains(signals, full) {
		remedy = "did you mean " + full + "?"
	}
	c.errs.Add(path, name, "is no signal that can be sent", remedy)
}

// only checks that fields stand with the carrier that they belong to.
func (c *checker) only(path string, call *v1alpha1.Call, carrier string) {
	http := slices.Contains([]string{"get", "post", "put"}, carrier)
	for _, field := range []struct {
		name    string
		given   bool
		allowed bool
		with    string
	}{
		{"body", call.Body != "", http && carrier != "get", "post or put"},
		{"headers", len(call.Headers) > 0, http, "get, post or put"},
		{"credentials", call.Credentials != "", http, "get, post or put"},
		{"env", len(call.Env) > 0, carrier == "run", "run"},
	} {
		if field.given && !field.allowed {
			c.errs.Add(path+"."+field.name, "", "does nothing with "+carrier, "use it with "+field.with)
		}
	}
}

// url checks ":PORT/path" or a URL.
func (c *checker) url(path, text string, in place) {
	if text == "" {
		return
	}
	rest, named := strings.CutPrefix(text, ":")
	if named {
		port, _, _ := strings.Cut(rest, "/")
		c.port(path, port, in)
	} else if !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "${") {
		c.errs.Add(path, text, "is neither :PORT/path nor a URL", "write :PORT/path with the name of a port")
		return
	}
	c.template(path, text, in)
}

func (c *checker) port(path, name string, in place) {
	if in.component == nil {
		return
	}
	ports := slices.Collect(maps.Keys(in.component.Ports))
	if !slices.Contains(ports, name) {
		c.errs.Add(path, name, "is no port of "+in.component.Name, OneOf(name, ports))
	}
}

func (c *checker) tcp(path string, t *v1alpha1.TCP, in place) {
	if t == nil {
		return
	}
	c.port(path+".port", t.Port, in)
	c.template(path+".send", t.Send, in)
	if _, err := regexp.Compile(t.Expect); err != nil {
		c.errs.Add(path+".expect", t.Expect, "is not a regular expression: "+regexpProblem(err), "write it as Go's regexp package reads it")
	}
}

// run checks a command: a program and its arguments.
func (c *checker) run(path string, words []string, in place) {
	if len(words) == 0 || words[0] == "" {
		c.errs.Add(path, "", "names no program", "write the program as the first word")
		return
	}
	c.templateList(path, words, in)
}

func (c *checker) env(path string, env map[string]string, in place) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !variablePattern.MatchString(name) {
			c.errs.Add(path, name, "is no name of a variable", "use letters, digits and _")
		}
	}
	c.templateMap(path, env, in)
}

func (c *checker) question(path, name string, q *v1alpha1.Question, in place) {
	c.questionName(path, name)
	if !c.call(path, &q.Call, in) {
		return
	}
	if q.Signal != "" {
		c.errs.Add(path+".signal", q.Signal, "cannot be a question: nothing answers", "use get, post, put, grpcHealth, tcp or run")
	}
	enum(c, path+".as", q.As, v1alpha1.FormatText, v1alpha1.FormatJSON, v1alpha1.FormatPrometheus)
	c.duration(path+".timeout", q.Timeout, maxQuestionTimeout)
}

func (c *checker) questionName(path, name string) {
	c.name(path, name, questionPattern, 63, "letters and digits")
	if slices.Contains(memberFields, name) {
		c.errs.Add(path, name, "is what a member has already, as m."+name, "give the question another name")
	}
	if slices.Contains(reserved, name) {
		c.errs.Add(path, name, "is a word that expressions cannot use as a name", "give the question another name")
	}
}

// action checks an action with the variables of its place.
func (c *checker) action(path string, a *v1alpha1.Action, vars variables) {
	in := place{vars: vars, component: c.known(path+".component", a.Component)}
	enum(c, path+".where", a.Where, v1alpha1.OnMember, v1alpha1.OnOthers, v1alpha1.OnAny, v1alpha1.OnEach, v1alpha1.OnLeader)
	c.leader(path+".where", a.Where, in.component)
	if !c.call(path, &a.Call, in) {
		return
	}
	if a.Expect != "" {
		in.vars = replyVariables
		c.expression(path+".expect", a.Expect, in, boolType)
	}
	c.count(path+".times", a.Times, 100000)
	c.count(path+".parallel", a.Parallel, 64)
	c.duration(path+".timeout", a.Timeout, maxTimeout)
	enum(c, path+".onUnknown", a.OnUnknown, v1alpha1.RepeatOnUnknown, v1alpha1.StopOnUnknown)
	c.job(path+".job", a, place{vars: vars, component: in.component})
}

func (c *checker) job(path string, a *v1alpha1.Action, in place) {
	if a.Job == nil {
		return
	}
	if a.Run == nil {
		c.errs.Add(path, "", "does nothing without run: Theseus makes the other calls itself", "leave it out, or write the call as a program with run")
	}
	c.template(path+".image", a.Job.Image, in)
}

// noHand checks an action that is done while no member is in hand.
func (c *checker) noHand(path string, a *v1alpha1.Action) {
	if a.Where == v1alpha1.OnMember || a.Where == v1alpha1.OnOthers {
		c.errs.Add(path+".where", string(a.Where), "has no meaning here: no member is in hand", "use Any, Each or Leader")
	}
}

func (c *checker) leader(path string, on v1alpha1.Where, component *v1alpha1.Component) {
	if on == v1alpha1.OnLeader && component != nil && len(component.Roles) == 0 {
		c.errs.Add(path, string(on), "needs roles, and "+component.Name+" has none", "declare roles, or use Any")
	}
}

func (c *checker) count(path string, n, most int32) {
	if n < 1 || n > most {
		c.errs.Add(path, strconv.Itoa(int(n)), "is not between 1 and "+strconv.Itoa(int(most)), "write a number between them")
	}
}

func (c *checker) backup(b *v1alpha1.BackupMethod) {
	if b == nil {
		return
	}
	in := place{vars: backupVariables, component: c.known("backup.component", b.Component)}
	enum(c, "backup.where", b.Where, v1alpha1.OnAny, v1alpha1.OnLeader)
	c.leader("backup.where", b.Where, in.component)
	c.run("backup.run", b.Run, in)
	c.env("backup.env", b.Env, in)
	if b.Check != nil {
		c.run("backup.check", b.Check, in)
	}
	c.duration("backup.timeout", b.Timeout, maxTimeout)
}

func (c *checker) restore(r *v1alpha1.RestoreMethod) {
	if r == nil {
		return
	}
	enum(c, "restore.into", r.Into, v1alpha1.IntoFolders, v1alpha1.IntoMembers)
	in := place{vars: backupVariables, component: c.known("restore.component", r.Component), noAnswers: true, noFolder: r.Into == v1alpha1.IntoMembers}
	c.run("restore.run", r.Run, in)
	c.env("restore.env", r.Env, in)
	c.duration("restore.timeout", r.Timeout, maxTimeout)
	c.reads(r)
}

// reads refuses a restore that never looks at the backup: into members that run it would end well, and nothing would be there.
func (c *checker) reads(r *v1alpha1.RestoreMethod) {
	texts := slices.AppendSeq(slices.Clone(r.Run), maps.Values(r.Env))
	backup := func(p piece) bool {
		return p.expr != nil && (p.expr.uses.variable("file") || p.expr.uses.variable("out"))
	}
	if r.Into != v1alpha1.IntoMembers || slices.ContainsFunc(texts, func(text string) bool {
		t := c.s.templates[text]
		return t == nil || slices.ContainsFunc(t.parts, backup) // nil: it has a mistake, which was told
	}) {
		return
	}
	c.errs.Add("restore.run", strings.Join(r.Run, " "), "speaks of no backup, so that it cannot restore one", "add ${file}, or ${out} where the backup is made into ${out}")
}
