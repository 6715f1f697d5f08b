package upgrade_test

import (
	"testing"

	"github.com/cockroachdb/datadriven"

	"theseus.dev/upgradetest"
)

// TestScenarios plays the text scenarios: what the core does, pass by pass. Change one with
// go test ./upgrade -run TestScenarios -rewrite, and read the difference.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := upgradetest.NewScenario()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var args []string
			for _, a := range d.CmdArgs {
				arg := a.Key
				if len(a.Vals) > 0 {
					arg += "=" + a.Vals[0]
				}
				args = append(args, arg)
			}
			return s.Do(d.Cmd, args, d.Input)
		})
	})
}
