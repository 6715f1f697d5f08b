package local

import (
	"fmt"
	"os"

	"theseus.dev/api/v1alpha1"
)

// volume is what volume.json of a member says about its data folder; the zero value where it was never renewed.
type volume struct {
	// Name of the volume: a renew gives it.
	Name string `json:"name"`
	// Emptying is set from the moment that the renew is certain until the folder is empty. No process is started meanwhile.
	Emptying bool `json:"emptying,omitempty"`
}

func (k keeper) volume() (volume, error) {
	v := volume{}
	_, err := readJSON(k.path(volumeFile), &v)
	return v, err
}

// renew makes the data folder of a member anew that does not run: what was in it is gone. It is certain with the first write; whoever
// comes after a crash ends it.
func (p *Platform) renew(i v1alpha1.Intent) error {
	k := p.State.keeper(i.Member)
	if k.present() {
		return nil
	}
	v, err := k.volume()
	if err != nil {
		return fmt.Errorf("renew the volume of %s: %w", i.Member, err)
	}
	if v.Name != i.Volume {
		return nil // another one than was decided on, or it is done
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("renew the volume of %s: %w", i.Member, err)
	}
	v = volume{Name: i.Name, Emptying: true}
	if err := p.State.Fault.writeJSON("volume", k.path(volumeFile), v); err != nil {
		return err
	}
	return p.empty(k, v)
}

// empty ends a renew.
func (p *Platform) empty(k keeper, v volume) error {
	if err := os.RemoveAll(k.path(dataFolder)); err != nil {
		return fmt.Errorf("empty a volume: %w", err)
	}
	if err := syncFolder(k.dir); err != nil {
		return fmt.Errorf("empty a volume: %w", err)
	}
	v.Emptying = false
	return p.State.Fault.writeJSON("volume", k.path(volumeFile), v)
}

// volumeFor says whether a member may be started on the volume that it has: the one that the start was decided on.
func (p *Platform) volumeFor(k keeper, i v1alpha1.Intent) (bool, error) {
	v, err := k.volume()
	if err != nil {
		return false, fmt.Errorf("start %s: %w", i.Member, err)
	}
	if v.Name != i.Volume {
		return false, nil
	}
	if v.Emptying {
		return true, p.empty(k, v)
	}
	return true, nil
}
