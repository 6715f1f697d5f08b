package admission

// volumes refuses a version whose way there makes volumes anew where members have none: in Kubernetes nobody could tell an old one from a new one.
func (e *edit) volumes() {
	if e.change() != moved {
		return
	}
	for _, edge := range e.edges() {
		for _, component := range edge.RecreateVolumes {
			if own := e.new.Spec.Components[component]; own.Storage == "" && own.Adopt == nil { // adopted ones are refused for that
				e.refuse("spec.components."+component+".storage", "", "is missing, and the way to "+e.new.Spec.Version+" makes volumes anew",
					"restore a backup into a new cluster with storage: it cannot be added to this one")
			}
		}
	}
}

// left plans with what an earlier cluster of this name left, as the operator will.
func (e *edit) left() {
	if e.facts.WroteErr != nil {
		e.unknown("spec.version", "which version wrote to the volumes that are there", e.facts.WroteErr)
	}
	e.new.Status.Filled = e.facts.Wrote
}
