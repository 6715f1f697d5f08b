package upgrade

import (
	"cmp"
	"errors"
	"fmt"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// BackupMember is the member that a backup is taken from, with all of its component: by the System's word the leader, else a ready one, and rather
// not the leader. It returns copies without answers, which templates of a backup do not need.
func BackupMember(sys *system.System, c *v1alpha1.Cluster, look *Look) (system.Member, []*system.Member, error) {
	method := sys.API().Backup
	comp := sys.Component(componentOr(sys, method.Component))
	roles := comp.API().Roles
	var all []*system.Member
	for i := range look.Members {
		if look.Members[i].View.Component == comp.Name() {
			all = append(all, &look.Members[i].View)
		}
	}
	var chosen *system.Member
	first := "" // why the first one is not ready
	for i := range look.Members {
		m := &look.Members[i]
		if m.View.Component != comp.Name() || m.State != ProcessRunning {
			continue
		}
		sc := system.Scope{Cluster: c.Name, M: &m.View, All: all, Options: sys.Options(&c.Spec)}
		if ready, why := comp.Ready(&sc); ready != system.Yes {
			first = cmp.Or(first, "; "+m.View.Name+": "+lacks(why, m.Message))
			continue
		}
		role, _ := comp.Role(&sc)
		leads := len(roles) > 0 && role == roles[len(roles)-1].Name
		if wanted := method.Where == v1alpha1.OnLeader; chosen == nil && !(wanted && !leads) || leads == wanted {
			chosen = &m.View
		}
	}
	if chosen == nil {
		return system.Member{}, nil, errors.New("no ready member to take the backup from" + first)
	}
	member, bare := unanswered(chosen, all)
	return member, bare, nil
}

// LoadMember is the member that a restore writes into, with all of its component: the first one, once every member of the cluster is ready. It returns
// copies without answers, as BackupMember does.
func LoadMember(sys *system.System, c *v1alpha1.Cluster, look *Look) (system.Member, []*system.Member, error) {
	groups := map[string][]*system.Member{}
	for i := range look.Members {
		v := &look.Members[i].View
		groups[v.Component] = append(groups[v.Component], v)
	}
	for i := range look.Members {
		m := &look.Members[i]
		sc := system.Scope{Cluster: c.Name, M: &m.View, All: groups[m.View.Component], Options: sys.Options(&c.Spec)}
		if m.State != ProcessRunning {
			return system.Member{}, nil, fmt.Errorf("member %s does not run%s", m.View.Name, note(m.Message))
		}
		if ready, why := sys.Component(m.View.Component).Ready(&sc); ready != system.Yes {
			return system.Member{}, nil, fmt.Errorf("member %s is not ready: %s", m.View.Name, lacks(why, m.Message))
		}
	}
	all := groups[componentOr(sys, sys.API().Restore.Component)]
	if len(all) == 0 {
		return system.Member{}, nil, errors.New("there is no member to write into")
	}
	member, bare := unanswered(all[0], all)
	return member, bare, nil
}

// unanswered are copies of members without their answers.
func unanswered(one *system.Member, all []*system.Member) (system.Member, []*system.Member) {
	bare := make([]*system.Member, len(all))
	for i, m := range all {
		without := *m
		without.Answers = nil
		bare[i] = &without
	}
	member := *one
	member.Answers = nil
	return member, bare
}
