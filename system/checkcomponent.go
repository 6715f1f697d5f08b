package system

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"cel.dev/cel-go/cel"

	"theseus.dev/api/v1alpha1"
)

var boolType = cel.BoolType

// componentNames are checked before everything that names a component.
func (c *checker) componentNames() {
	list := c.api().Components
	if len(list) == 0 {
		c.errs.Add("components", "", "is empty", "describe at least one component")
	}
	if len(list) > 16 {
		c.errs.Add("components", strconv.Itoa(len(list)), "components are too many", "write at most 16")
	}
	seen := map[string]bool{}
	for i := range list {
		path := fmt.Sprintf("components.%d.name", i)
		c.name(path, list[i].Name, labelPattern, 30, "small letters, digits and dashes")
		if seen[list[i].Name] {
			c.errs.Add(path, list[i].Name, "is the name of two components", "give each a name of its own")
		}
		seen[list[i].Name] = true
	}
}

func (c *checker) component(api *v1alpha1.Component) {
	path := "components." + api.Name
	in := place{vars: memberVariables, component: api}
	if *api.Replicas < 1 || *api.Replicas > 99 {
		c.errs.Add(path+".replicas", strconv.Itoa(int(*api.Replicas)), "is not between 1 and 99", "write how many members there are")
	}
	c.ports(path+".ports", api.Ports)
	c.start(path, api)
	c.stop(path+".stop", api.Stop)
	for _, name := range slices.Sorted(maps.Keys(api.Ask)) {
		q := api.Ask[name]
		c.question(path+".ask."+name, name, &q, in)
	}
	compiled := &Component{
		api:     api,
		ready:   c.expression(path+".ready", api.Ready, in, cel.BoolType),
		version: c.expression(path+".version", api.Version, in, cel.StringType),
	}
	c.roles(path, api, compiled, in)
	compiled.settled = c.rules(path+".settled", api.Settled)
	if api.Soak.Duration != 0 { // no soak at all can be meant
		c.duration(path+".soak", api.Soak, maxTimeout)
	}
	if api.Drain != nil {
		c.hook(path+".drain", api.Drain, hookVariables)
	}
	c.hooks(path+".before", api.Before, hookVariables)
	c.hooks(path+".after", api.After, hookVariables)
	c.replacedByKubernetes(path, api)
	c.s.components = append(c.s.components, compiled)
}

func (c *checker) ports(path string, ports map[string]int32) {
	numbers := map[int32]string{}
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		at := path + "." + name
		c.name(at, name, labelPattern, 15, "small letters, digits and dashes")
		number := ports[name]
		if number < 1 || number > 65535 {
			c.errs.Add(at, strconv.Itoa(int(number)), "is not between 1 and 65535", "write the number of a port")
			continue
		}
		if other, ok := numbers[number]; ok {
			c.errs.Add(at, strconv.Itoa(int(number)), "is the port "+other+" already", "give each a number of its own")
		}
		numbers[number] = name
	}
}

func (c *checker) start(path string, api *v1alpha1.Component) {
	in := place{vars: startVariables, component: api, noAnswers: true}
	if len(api.Start) == 0 {
		c.errs.Add(path+".start", "", "is missing", "write the program and its arguments")
	}
	c.templateList(path+".start", api.Start, in)
	c.env(path+".env", api.Env, in)
	c.template(path+".program", api.Program, place{vars: programVariables})
	c.template(path+".image", api.Image, place{vars: programVariables})
	c.overlay(path+".pod", api.Pod)
}

func (c *checker) stop(path string, stop *v1alpha1.Stop) {
	c.signal(path+".signal", stop.Signal)
	c.duration(path+".grace", stop.Grace, maxTimeout)
}

func (c *checker) roles(path string, api *v1alpha1.Component, compiled *Component, in place) {
	compiled.onlyTo = map[string]*expression{}
	if api.Role == "" && len(api.Roles) > 0 {
		c.errs.Add(path+".role", "", "is missing, and there are roles", "write an expression that is a member's role")
	}
	if api.Role != "" {
		if len(api.Roles) == 0 {
			c.errs.Add(path+".roles", "", "is missing, and there is a role expression", "list the roles in the order of replacement, the leader last")
		}
		compiled.role = c.expression(path+".role", api.Role, in, cel.StringType)
	}
	seen := map[string]bool{}
	for i := range api.Roles {
		role := &api.Roles[i]
		at := fmt.Sprintf("%s.roles.%d.name", path, i)
		c.name(at, role.Name, entryPattern, 63, "letters, digits, - and _")
		if seen[role.Name] {
			c.errs.Add(at, role.Name, "is the name of two roles", "give each a name of its own")
		}
		seen[role.Name] = true
		c.role(path+".roles."+role.Name, api.Name, role, compiled, in)
	}
}

func (c *checker) role(path, component string, role *v1alpha1.Role, compiled *Component, in place) {
	in.vars = handoverVariables
	if role.HandoverOnlyTo != "" {
		compiled.onlyTo[role.Name] = c.expression(path+".handoverOnlyTo", role.HandoverOnlyTo, in, cel.BoolType)
	}
	if h := role.Handover; h != nil {
		if h.Component != component {
			c.errs.Add(path+".handover.component", h.Component, "is another component", "leave it away: a handover is done on the holder")
			return
		}
		c.action(path+".handover", h, handoverVariables)
		c.s.actions[HandoverPath(component, role.Name)] = h
	}
}
