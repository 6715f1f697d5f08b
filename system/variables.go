package system

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// activation is a Scope as the interpreter sees it. What is empty is absent.
type activation Scope

// ResolveName implements cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "m":
		return (*memberValue)(a.M), a.M != nil
	case "to", "hand":
		return (*memberValue)(a.To), a.To != nil
	case "all":
		return a.members(), a.All != nil
	case "then":
		return a.then()
	case "options":
		return a.Options, a.Options != nil
	case "replicas":
		return a.Replicas, a.Replicas != nil
	case "reply":
		return a.Reply, a.Reply != nil
	}
	text := a.text(name)
	return text, text != ""
}

// Parent implements cel.Activation.
func (a *activation) Parent() cel.Activation { return nil }

func (a *activation) text(name string) string {
	switch name {
	case "cluster":
		return a.Cluster
	case "version":
		return a.Version
	case "from":
		return a.From
	case "out":
		return a.Out
	case "file":
		return a.File
	}
	return ""
}

func (a *activation) members() ref.Val {
	list := make([]ref.Val, len(a.All))
	for i, m := range a.All {
		list[i] = (*memberValue)(m)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, list)
}

// then is a plain map, because the interpreter is quick with those only.
func (a *activation) then() (any, bool) {
	if a.M == nil {
		return nil, false
	}
	answers, ok := a.Then[a.M.Name]
	return map[string]any(answers), ok
}

// variables are what an expression may speak of, by the place where it stands.
type variables []string

var (
	baseVariables     = variables{"cluster", "version", "from", "options"}
	memberVariables   = append(baseVariables[:4:4], "m", "all")
	ruleVariables     = append(memberVariables[:6:6], "then")
	handoverVariables = append(memberVariables[:6:6], "to")
	hookVariables     = append(memberVariables[:6:6], "hand")
	replyVariables    = append(handoverVariables[:7:7], "hand", "reply")
	backupVariables   = append(memberVariables[:6:6], "out", "file")
	// A program is chosen before there is a member, and started without knowing the version before.
	programVariables = variables{"cluster", "version", "options"}
	startVariables   = variables{"cluster", "version", "options", "m", "all"}
	optionVariables  = variables{"version", "options", "replicas"}
)

// declarations declare every variable; the place narrows them.
func declarations() []cel.EnvOption {
	options := []cel.EnvOption{
		cel.Variable("all", cel.ListType(cel.DynType)),
		cel.Variable("then", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("options", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("reply", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("m", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("to", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("hand", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("replicas", cel.MapType(cel.StringType, cel.IntType)),
	}
	for _, name := range []string{"cluster", "version", "from", "out", "file"} {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	return options
}
