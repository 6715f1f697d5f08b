package systems_test

import (
	"testing"

	"theseus.dev/manifest"
	"theseus.dev/system"
	"theseus.dev/systems"
)

// TestShipped reads every shipped file as a person's would be read.
func TestShipped(t *testing.T) {
	for _, name := range systems.List() {
		t.Run(name, func(t *testing.T) {
			text, err := systems.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			objects, err := manifest.Decode(name+".yaml", text)
			if err != nil {
				t.Fatal(err)
			}
			if len(objects) != 1 || objects[0].System == nil {
				t.Fatalf("got %d objects, want one System", len(objects))
			}
			s, err := system.Compile(objects[0].System)
			if err != nil {
				t.Fatal(err)
			}
			if s.Name() != name {
				t.Errorf("the System of %s.yaml is called %s", name, s.Name())
			}
			for _, w := range s.Warnings() {
				t.Errorf("warning: %s", w)
			}
		})
	}
}

func TestLoadUnknown(t *testing.T) {
	if _, err := systems.Load("no-such"); err == nil {
		t.Error("a System that is not shipped was loaded")
	}
}
