package main

import (
	"bytes"

	"github.com/spf13/cobra"
)

func newCompletion(a *app) *cobra.Command {
	shells := map[string]func(*cobra.Command, *bytes.Buffer) error{
		"bash":       func(c *cobra.Command, b *bytes.Buffer) error { return c.GenBashCompletionV2(b, true) },
		"zsh":        func(c *cobra.Command, b *bytes.Buffer) error { return c.GenZshCompletion(b) },
		"fish":       func(c *cobra.Command, b *bytes.Buffer) error { return c.GenFishCompletion(b, true) },
		"powershell": func(c *cobra.Command, b *bytes.Buffer) error { return c.GenPowerShellCompletionWithDesc(b) },
	}
	names := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the script that lets a shell complete commands and names",
		Example: `  source <(theseus completion bash)
  theseus completion zsh > "${fpath[1]}/_theseus"`,
		ValidArgs: names,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || shells[args[0]] == nil {
				return inputErrorf("name one shell of %s", list(names))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var script bytes.Buffer
			if err := shells[args[0]](c.Root(), &script); err != nil {
				return err
			}
			if a.json {
				a.printJSON(map[string]string{"shell": args[0], "script": script.String()})
				return nil
			}
			a.printf("%s", script.String())
			return nil
		},
	}
}
