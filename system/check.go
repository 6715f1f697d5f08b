package system

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

// checker checks a System with its defaults and fills in what is compiled.
type checker struct {
	s    *System
	kept bool // see CompileKept
	errs Errors
}

func (c *checker) api() *v1alpha1.System { return c.s.api }

var (
	labelPattern    = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	questionPattern = regexp.MustCompile(`^[a-z][A-Za-z0-9]*$`)
	entryPattern    = regexp.MustCompile(`^[A-Za-z][-A-Za-z0-9_]*$`)
	rulePattern     = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_ ]*$`)
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// reserved are words that an expression cannot use as a name.
var reserved = []string{"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in",
	"let", "loop", "namespace", "null", "package", "return", "true", "var", "void", "while"}

// system checks everything, in the order of the file.
func (c *checker) system() {
	api := c.api()
	c.name("metadata.name", api.Name, labelPattern, 40, "small letters, digits and dashes")
	c.versions(&api.Versions)
	c.componentNames()
	for _, name := range slices.Sorted(maps.Keys(api.Options)) {
		c.option("options."+name, name, api.Options[name])
	}
	c.optionRules()
	c.edgeList()
	for i := range api.Components {
		c.component(&api.Components[i])
	}
	c.backup(api.Backup)
	c.restore(api.Restore)
	for _, name := range slices.Sorted(maps.Keys(api.Actions)) {
		a := api.Actions[name]
		path := NamedActionPath(name)
		c.name(path, name, entryPattern, 63, "letters, digits, - and _")
		c.action(path, &a, memberVariables)
		c.noHand(path, &a)
		api.Actions[name] = a
		c.s.actions[path] = &a
	}
	for _, name := range slices.Sorted(maps.Keys(api.Needs)) {
		c.need(name)
	}
	c.s.then, c.s.thenWhole = c.s.thenPaths()
}

func (c *checker) need(name string) {
	rule := c.api().Needs[name]
	path := "needs." + name
	c.name(path, name, entryPattern, 63, "letters, digits, - and _")
	c.s.needs[name] = c.rule(path, &rule)
	c.api().Needs[name] = rule
}

// name checks the form of a name.
func (c *checker) name(path, name string, pattern *regexp.Regexp, longest int, form string) {
	switch {
	case name == "":
		c.errs.Add(path, "", "is missing", "give it a name of "+form)
	case len(name) > longest:
		c.errs.Add(path, name, fmt.Sprintf("is longer than %d characters", longest), "shorten it")
	case !pattern.MatchString(name):
		c.errs.Add(path, name, "is not a name of "+form, "begin with a letter and leave other characters away")
	}
}

// enum checks a value against those there are.
func enum[T ~string](c *checker, path string, value T, values ...T) {
	if slices.Contains(values, value) {
		return
	}
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	c.errs.Add(path, string(value), "is not known", OneOf(string(value), names))
}

// duration checks that a time is positive and within its limit.
func (c *checker) duration(path string, d *metav1.Duration, longest time.Duration) {
	switch {
	case d == nil:
		c.errs.Add(path, "", "is missing", "say how long it may take, as 30s or 5m")
	case d.Duration <= 0:
		c.errs.Add(path, d.Duration.String(), "is not positive", "write a time as 30s or 5m")
	case d.Duration > longest:
		c.errs.Add(path, d.Duration.String(), "is too long", "write at most "+longest.String())
	}
}

func (c *checker) versions(v *v1alpha1.Versions) {
	enum(c, "versions.scheme", v.Scheme, v1alpha1.Numeric)
	enum(c, "versions.suffix", v.Suffix, v1alpha1.SuffixRefuse, v1alpha1.SuffixBuild, v1alpha1.SuffixPreRelease)
	enum(c, "versions.unlisted", v.Unlisted, v1alpha1.UnlistedRefuse, v1alpha1.UnlistedAllow)
	if len(v.Listed) == 0 && v.Unlisted == v1alpha1.UnlistedRefuse {
		c.errs.Add("versions.listed", "", "is empty, so that no version can be used", "list the versions known to work")
	}
	if len(v.Listed) > 512 {
		c.errs.Add("versions.listed", strconv.Itoa(len(v.Listed)), "versions are too many", "list at most 512")
		return
	}
	for i, text := range v.Listed {
		c.listed(fmt.Sprintf("versions.listed.%d", i), text)
	}
	slices.SortFunc(c.s.listed, func(a, b listed) int { return a.compare(b.number, v.Suffix) })
	none := place{vars: programVariables, noAnswers: true}
	c.template("versions.image", v.Image, none)
	c.template("versions.program", v.Program, none)
}

func (c *checker) listed(path, text string) {
	n, err := c.s.parse(text)
	if err != nil {
		remedy := "write dotted numbers like 3.6.1"
		if n, plain := parseNumber(text); plain == nil && n.suffix != "" {
			remedy = "set versions.suffix to Build or PreRelease, or write the numbers only"
		}
		c.errs.Add(path, text, err.Error(), remedy)
		return
	}
	if i := c.s.listedIndex(n); i >= 0 {
		c.errs.Add(path, text, "is the same version as "+c.s.listed[i].text, "list each version once")
		return
	}
	c.s.listed = append(c.s.listed, listed{text, n})
}

func (c *checker) option(path, name string, o v1alpha1.Option) {
	c.name(path, name, questionPattern, 63, "letters and digits")
	if o.Pattern != "" {
		if re, err := wholePattern(o.Pattern); err != nil {
			c.errs.Add(path+".pattern", o.Pattern, "is not a regular expression: "+regexpProblem(err), "write it as Go's regexp package reads it")
		} else if o.Default != "" && !re.MatchString(o.Default) {
			c.errs.Add(path+".default", o.Default, "does not match the pattern "+o.Pattern, "change one of them")
		}
	}
	if o.Since != "" {
		if _, err := c.s.parse(o.Since); err != nil {
			c.errs.Add(path+".since", o.Since, err.Error(), "write a version like "+c.s.exampleVersion())
		}
	}
}

// wholePattern compiles a pattern that must match a whole value.
func wholePattern(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err // so that the message speaks of the pattern as written
	}
	return regexp.Compile(`^(?:` + pattern + `)$`)
}

func regexpProblem(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

func (c *checker) edgeList() {
	if len(c.api().Edges) > 64 {
		c.errs.Add("edges", strconv.Itoa(len(c.api().Edges)), "edges are too many", "write at most 64")
		return
	}
	for i := range c.api().Edges {
		c.edge(i)
	}
}

func (c *checker) edge(i int) {
	e := &c.api().Edges[i]
	path := fmt.Sprintf("edges.%d", i)
	before := len(c.errs)
	compiled := edge{from: c.ranged(path+".from", e.From), to: c.ranged(path+".to", e.To), within: withinParts[e.Within]}
	if e.Within != "" {
		enum(c, path+".within", e.Within, v1alpha1.Major, v1alpha1.Minor, v1alpha1.Patch)
	}
	c.s.edges = append(c.s.edges, compiled)
	if len(c.errs) == before {
		c.edgeMatches(path, e, &compiled)
	}
	enum(c, path+".strategy", e.Strategy, v1alpha1.Rolling, v1alpha1.Recreate)
	enum(c, path+".backup", e.Backup, v1alpha1.BackupNone, v1alpha1.BackupIfPossible, v1alpha1.BackupRequired)
	if e.Backup == v1alpha1.BackupRequired && c.api().Backup == nil {
		c.errs.Add(path+".backup", string(e.Backup), "cannot be kept: the System does not say how a backup is taken", "add backup.run")
	}
	c.finalizing(path, e)
	options := slices.Collect(maps.Keys(c.api().Options))
	c.references(path+".changes", e.Changes, "options", options)
	c.references(path+".requires", e.Requires, "options", options)
	c.recreateVolumes(path+".recreateVolumes", e)
	c.moves(path, e)
	c.references(path+".needs", e.Needs, "needs", slices.Collect(maps.Keys(c.api().Needs)))
	c.hopHooks(path+".before", e.Before)
	c.hopHooks(path+".after", e.After)
	verify, finalized := c.rules(path+".verify", e.Verify), c.finalized(path, e)
	c.noThen(path+".verify", verify...)
	if finalized != nil {
		c.noThen(path, finalized)
	}
	c.s.verify, c.s.finalized = append(c.s.verify, verify), append(c.s.finalized, finalized)
}

// recreateVolumes checks that members lose their data one at a time.
func (c *checker) recreateVolumes(path string, e *v1alpha1.Edge) {
	var names []string
	for i := range c.api().Components {
		names = append(names, c.api().Components[i].Name)
	}
	c.references(path, e.RecreateVolumes, "components", names)
	if len(e.RecreateVolumes) > 0 && e.Strategy == v1alpha1.Recreate {
		c.errs.Add(path, strings.Join(e.RecreateVolumes, ", "), "would be without data all at once with strategy: Recreate", "write strategy: Rolling")
	}
	for _, name := range e.RecreateVolumes {
		for i := range c.api().Components {
			if k := &c.api().Components[i]; k.Name == name && len(k.Settled) == 0 {
				c.errs.Add(path, name, "has no rules of settled, so that nobody would know when the data has come back", "add settled to the component")
			}
		}
	}
}

// noThen refuses rules that compare with earlier answers where none are kept: they would never hold.
func (c *checker) noThen(path string, rules ...*Rule) {
	for _, r := range rules {
		if r.usesThen {
			c.errs.Add(path+"."+r.Name(), r.Source(), "speaks of then, and no earlier answers are kept here", "compare in settled or needs")
		}
	}
}

func (c *checker) ranged(path, text string) versions {
	v, err := parseRange(text)
	if err == nil && c.api().Versions.Suffix == v1alpha1.SuffixRefuse {
		err = v.plain()
	}
	if err != nil {
		c.errs.Add(path, text, err.Error(), `write a range like 3.5.x, 3.5.1 or ">=4.0 <4.2"`)
	}
	return v
}

// edgeMatches looks for versions of the list that an edge leads from and to.
// None at all is likely a slip; only downwards is surely one.
func (c *checker) edgeMatches(path string, e *v1alpha1.Edge, compiled *edge) {
	var from, to []listed
	for _, l := range c.s.listed {
		if compiled.from.match(l.number) {
			from = append(from, l)
		}
		if compiled.to.match(l.number) {
			to = append(to, l)
		}
	}
	if len(from) == 0 || len(to) == 0 {
		field, text := ".from", e.From
		if len(from) > 0 {
			field, text = ".to", e.To
		}
		c.s.warnings = append(c.s.warnings, fmt.Sprintf("%s%s: %q matches no listed version, so the edge leads nowhere", path, field, text))
		return
	}
	up := slices.ContainsFunc(from, func(f listed) bool {
		return slices.ContainsFunc(to, func(t listed) bool { return f.compare(t.number, c.api().Versions.Suffix) < 0 })
	})
	if !up {
		same := slices.ContainsFunc(from, func(f listed) bool {
			return slices.ContainsFunc(to, func(t listed) bool { return f.compare(t.number, c.api().Versions.Suffix) == 0 })
		})
		if same {
			c.s.warnings = append(c.s.warnings, fmt.Sprintf("%s: %q to %q leads from no listed version to a later one", path, e.From, e.To))
			return
		}
		c.errs.Add(path, e.From+" to "+e.To, "leads to lower versions only", "exchange from and to; a downgrade is never an edge")
	}
}

func (c *checker) finalizing(path string, e *v1alpha1.Edge) {
	enum(c, path+".finalizes", e.Finalizes, v1alpha1.FinalizesNobody, v1alpha1.FinalizesTheseus, v1alpha1.FinalizesWithLastMember)
	theseus := e.Finalizes == v1alpha1.FinalizesTheseus
	if theseus && len(e.Finalize) == 0 {
		c.errs.Add(path+".finalize", "", "is missing, and finalizes: Theseus needs it", "name the actions that finalize the hop")
	}
	if !theseus && len(e.Finalize) > 0 {
		c.errs.Add(path+".finalize", strings.Join(e.Finalize, ", "), "is never done with finalizes: "+string(e.Finalizes), "write finalizes: Theseus, or leave finalize away")
	}
	actions := slices.Collect(maps.Keys(c.api().Actions))
	c.references(path+".finalize", e.Finalize, "actions", actions)
	c.references(path+".undoAfter", e.UndoAfter, "actions", actions)
}

// references checks names of entries that stand elsewhere in the file.
func (c *checker) references(path string, names []string, where string, known []string) {
	for i, name := range names {
		at := fmt.Sprintf("%s.%d", path, i)
		if !slices.Contains(known, name) {
			c.errs.Add(at, name, "is not in "+where, OneOf(name, known))
		}
		if slices.Contains(names[:i], name) {
			c.errs.Add(at, name, "is named twice", "name it once")
		}
	}
}

func (c *checker) finalized(path string, e *v1alpha1.Edge) *Rule {
	if e.Finalized == "" {
		return nil
	}
	rule := v1alpha1.Rule{Rule: "finalized", Is: e.Finalized, Component: c.first()}
	return c.compileRule(path+".finalized", path+".finalized", &rule)
}

// first is the name of the first component.
func (c *checker) first() string {
	if len(c.api().Components) == 0 {
		return ""
	}
	return c.api().Components[0].Name
}

// hooks checks a list of hooks; their names stand for them in the journal.
func (c *checker) hooks(path string, hooks []v1alpha1.Hook, vars variables) {
	seen := map[string]bool{}
	for i := range hooks {
		h := &hooks[i]
		at := fmt.Sprintf("%s.%d", path, i)
		c.name(at+".name", h.Name, entryPattern, 63, "letters, digits, - and _")
		if h.Name != "" {
			at = path + "." + h.Name
		}
		if seen[h.Name] {
			c.errs.Add(at, h.Name, "is the name of two hooks of one list", "give each a name of its own")
		}
		seen[h.Name] = true
		c.hook(at, h, vars)
	}
}

// hopHooks checks hooks around a whole hop.
func (c *checker) hopHooks(path string, hooks []v1alpha1.Hook) {
	c.hooks(path, hooks, memberVariables)
	for i := range hooks {
		c.noHand(path+"."+hooks[i].Name, &hooks[i].Action)
	}
}

func (c *checker) hook(path string, h *v1alpha1.Hook, vars variables) {
	enum(c, path+".onFailure", h.OnFailure, v1alpha1.HookPauses, v1alpha1.HookWarns)
	if *h.Retries < 0 || *h.Retries > 100 {
		c.errs.Add(path+".retries", strconv.Itoa(int(*h.Retries)), "is not between 0 and 100", "write how often the hook is tried again")
	}
	c.action(path, &h.Action, vars)
	c.s.actions[path] = &h.Action
}

// rules checks a list of rules with names of their own.
func (c *checker) rules(path string, rules []v1alpha1.Rule) []*Rule {
	var list []*Rule
	seen := map[string]bool{}
	for i := range rules {
		r := &rules[i]
		at := fmt.Sprintf("%s.%d", path, i)
		c.name(at+".rule", r.Rule, rulePattern, 63, "letters, digits, spaces, - and _")
		if r.Rule != "" {
			at = path + "." + r.Rule
		}
		if seen[r.Rule] {
			c.errs.Add(at, r.Rule, "is the name of two rules of one list", "give each a name of its own")
		}
		seen[r.Rule] = true
		list = append(list, c.rule(at, r))
	}
	return list
}

func (c *checker) rule(path string, r *v1alpha1.Rule) *Rule {
	return c.compileRule(path, path+".is", r)
}

// compileRule compiles a rule; is says where its expression stands.
func (c *checker) compileRule(path, is string, r *v1alpha1.Rule) *Rule {
	in := place{vars: ruleVariables, component: c.known(path+".component", r.Component)}
	rule := &Rule{api: r, condition: c.expression(is, r.Is, in, cel.BoolType)}
	if r.Left != "" {
		rule.left = c.expression(path+".left", r.Left, in, cel.DoubleType)
	}
	for _, e := range []*expression{rule.condition, rule.left} {
		if e != nil {
			rule.usesThen = rule.usesThen || e.uses.variable("then")
			rule.perMember = rule.perMember || rule.usesThen || e.uses.variable("m")
		}
	}
	if r.Bring != nil {
		c.bring(path+".bring", rule)
	}
	return rule
}

// bring defaults where the action is done: on the member that the rule does
// not hold for, or on any where the rule is about no one member.
func (c *checker) bring(path string, r *Rule) {
	a := r.api.Bring
	on := v1alpha1.OnAny
	if r.perMember {
		on = v1alpha1.OnMember
	}
	orElse(&a.Where, on)
	r.bring = path
	c.action(path, a, memberVariables)
	c.s.actions[path] = a
}

// known finds a component by name, and says so where there is none.
func (c *checker) known(path, name string) *v1alpha1.Component {
	var names []string
	for i := range c.api().Components {
		if c.api().Components[i].Name == name {
			return &c.api().Components[i]
		}
		names = append(names, c.api().Components[i].Name)
	}
	if len(names) > 0 {
		c.errs.Add(path, name, "is no component", OneOf(name, names))
	}
	return nil
}
