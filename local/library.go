package local

import (
	"context"
	"errors"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/runner"
	"theseus.dev/system"
)

// SystemFinder finds a System by the name in a spec: a shipped one, or a file.
type SystemFinder func(ctx context.Context, name string) (*system.System, error)

// Known is part of runner.Library.
func (st *State) Known(ctx context.Context, name string) (*system.System, error) {
	if st.Systems == nil {
		return nil, fmt.Errorf("find System %s: no way to find Systems was given", name)
	}
	s, err := st.Systems(ctx, name)
	if err != nil {
		return nil, &runner.UnusableError{Name: name, Err: err}
	}
	return s, nil
}

func (st *State) systemPath(hash string) string { return st.path(systemsFolder, hash+".yaml") }

// Keep is part of runner.Library.
func (st *State) Keep(_ context.Context, s *system.System) error {
	path := st.systemPath(s.Hash())
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	text, err := yaml.Marshal(s.Source())
	if err != nil {
		return fmt.Errorf("keep System %s: %w", s.Name(), err)
	}
	return st.alone(func() error { return st.Fault.write("system", path, text) })
}

// Pinned is part of runner.Library.
func (st *State) Pinned(_ context.Context, hash string) (*system.System, error) {
	text, err := os.ReadFile(st.systemPath(hash))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the System %s was never kept here", hash)
	}
	if err != nil {
		return nil, err
	}
	api := &v1alpha1.System{}
	if err := yaml.UnmarshalStrict(text, api); err != nil {
		return nil, fmt.Errorf("read %s: %w", st.systemPath(hash), err)
	}
	s, err := system.CompileKept(api)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", st.systemPath(hash), err)
	}
	if s.Hash() != hash {
		return nil, fmt.Errorf("read %s: its content has the hash %s: it was changed since it was kept", st.systemPath(hash), s.Hash())
	}
	return s, nil
}
