package system

// Answer is the answer to a yes-or-no question. Unknown is an answer of its own: it
// never permits a disruption and by itself never fails an attempt.
type Answer int

// The answers. The zero value is Unknown, so that what was not asked is not known.
const (
	Unknown Answer = iota
	No
	Yes
)

func (a Answer) String() string {
	return [...]string{"unknown", "no", "yes"}[a]
}

// Answers are a member's answers by question: plain JSON-like values (map[string]any,
// []any, string, float64, int64, bool, nil). A question that was not answered is
// absent, so that an expression that needs it is Unknown.
type Answers map[string]any

// Member is what expressions see of a member, as m, to and in all.
type Member struct {
	Name      string
	Component string
	Ordinal   int
	// Host is the address or DNS name under which the other members and Theseus reach it.
	Host string
	// Bind is the address that it listens on where that is not Host; m.bind is Host without it.
	Bind string
	// Data is the path of its data folder, as the member sees it.
	Data string
	// Version that it is to run, or was started with.
	Version string
	// Port numbers by name.
	Port map[string]int64
	// TLS files by port name: keys ca, cert, key, serverCert, serverKey, serverName. m.scheme.PORT is
	// https where it has the port, else http.
	TLS map[string]map[string]string
	// Answers by question; in expressions they stand beside the fields: m.health.json.
	Answers Answers
}

// Scope is everything that an expression or a template can see. Nil and empty
// fields are absent: an expression that needs them is Unknown, a template that
// needs them is an error.
type Scope struct {
	Cluster string
	// Version that is wanted, and From that the hop leaves.
	Version, From string
	Options       map[string]string
	// Replicas are numbers of members by component, for rules about options.
	Replicas map[string]int64
	M        *Member
	// To is who takes over in a handover; in a hook around the replacement of a member, that member (hand).
	To *Member
	// All members of the component, by ordinal.
	All []*Member
	// Then are the answers of each member when the step began, by member name; m's are seen as then.
	Then map[string]Answers
	// Out is a folder, File a file, that Theseus gives to a backup or restore.
	Out, File string
	// Reply of an action, for its expect expression: status, text, json.
	Reply map[string]any
}
