package operator

import (
	"strings"
	"testing"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/upgrade"
)

func TestBeyond(t *testing.T) {
	roll := &v1alpha1.Attempt{Base: &v1alpha1.Pinned{}, Steps: []v1alpha1.StepStatus{{Name: "roll kv", Kind: upgrade.KindRoll}, {Name: "recreate kv", Kind: upgrade.KindRecreate}}}
	create := &v1alpha1.Attempt{Steps: roll.Steps}
	configure := func(step string) v1alpha1.Intent { return v1alpha1.Intent{Act: v1alpha1.ActConfigure, Step: step} }
	renewing := configure("roll kv")
	renewing.OnlyOn = "a1.h0.new."
	for _, test := range []struct {
		name   string
		a      *v1alpha1.Attempt
		intent v1alpha1.Intent
		want   string
	}{
		{"a roll", roll, configure("roll kv"), ""},
		{"the first members", create, configure("recreate kv"), ""},
		{"no attempt", nil, configure(""), ""},
		{"all members at once", roll, configure("recreate kv"), "stops all members at once"},
		{"volumes made anew", roll, renewing, "makes volumes anew"},
	} {
		err := beyond(test.a, test.intent)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}
