package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"theseus.dev/backup"
	"theseus.dev/local"
	"theseus.dev/operator"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// The exit codes of every command.
const (
	exitDone    = 0 // done
	exitFailed  = 1 // the attempt failed; it is paused or was rolled back
	exitInput   = 2 // bad input, nothing was changed
	exitUnknown = 3 // an outcome is unknown, a person must look
	exitWaiting = 4 // not ended, waits for a person or for the next command
)

// exitError is an error that knows its exit code.
type exitError struct {
	code int
	err  error
	next string // what to try
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// inputError marks an error as the user's: nothing was changed.
func inputError(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: exitInput, err: err}
}

func inputErrorf(format string, args ...any) error { return inputError(fmt.Errorf(format, args...)) }

// inputNext is the user's mistake with what to try instead.
func inputNext(next, format string, args ...any) error {
	return &exitError{code: exitInput, err: fmt.Errorf(format, args...), next: next}
}

// failure is how an error reads for scripts.
type failure struct {
	Error    string `json:"error"`
	ExitCode int    `json:"exitCode"`
	Next     string `json:"next,omitempty"`
}

// report prints an error once and names its exit code. It is the only place that does. With --json a script finds it on
// stdout too, unless a result is there already.
func (a *app) report(cmd *cobra.Command, err error) int {
	f := a.explain(cmd, err)
	a.talkf("%s %s", a.paint(red, "theseus:"), f.Error)
	if f.Next != "" {
		a.talkf("%s", f.Next)
	}
	if a.json && !a.printed {
		a.printJSON(f)
	}
	return f.ExitCode
}

func (a *app) explain(cmd *cobra.Command, err error) failure {
	f := failure{Error: err.Error(), ExitCode: exitFailed}
	var known *exitError
	switch {
	case errors.As(err, &known):
		f.ExitCode, f.Next = known.code, known.next
	case !a.began || isInput(err):
		f.ExitCode = exitInput
	case errors.Is(err, context.Canceled):
		f.Error, f.ExitCode = "interrupted", exitWaiting
	}
	if !a.began && f.Next == "" {
		f.Next = "see: " + cmd.CommandPath() + " --help"
	}
	return f
}

// isInput says whether an error is about what the user gave.
func isInput(err error) bool {
	for _, is := range []func(error) bool{is[*local.NewerError], is[*local.BusyError], is[*noClusterError], is[*operator.NewerError], is[*local.AddressError], is[*backup.URLError],
		is[system.Errors], is[*system.Error], is[*system.DowngradeError], is[*system.NoPathError], is[*system.VersionError], upgrade.IsRefused} {
		if is(err) {
			return true
		}
	}
	return false
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// flagError is a mistake in a flag, with the flag that was perhaps meant.
func flagError(cmd *cobra.Command, err error) error {
	var wrong *pflag.InvalidValueError
	if errors.As(err, &wrong) {
		return inputErrorf("--%s %s: want %s", wrong.GetFlag().Name, wrong.GetValue(), wantType(wrong.GetFlag().Value.Type()))
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return inputError(err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := system.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return inputErrorf("%w; did you mean --%s?", err, near)
	}
	return inputError(err)
}

// noneEmpty refuses flags that were given nothing, as by a variable that is not set: they would mean something else than they were given for.
func noneEmpty(cmd *cobra.Command) error {
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		t, text := f.Value.Type(), f.Value.String()
		empty := t == "string" && text == "" && f.Name != "reason" || t == "stringSlice" && text == "[]"
		if empty && err == nil {
			err = inputErrorf("--%s is empty; give it a value, or leave it out", f.Name)
		}
	})
	return err
}

func wantType(flag string) string {
	switch flag {
	case "int":
		return "a whole number"
	case "float64":
		return "a number"
	case "duration":
		return "a duration, for example 10m"
	}
	return "a " + flag
}

// unknownCommand refuses what no command is called.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if near := system.Nearest(args[0], names); near != "" {
		return inputErrorf("there is no command %q; did you mean %s?", args[0], near)
	}
	return inputErrorf("there is no command %q; there are %s", args[0], strings.Join(names, ", "))
}

// The arguments that commands take.

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return inputErrorf("there is nothing to name here, got %s", strings.Join(args, " "))
	}
	return nil
}

func (a *app) oneName(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return inputErrorf("give the name of one cluster, got %d; \"%s\" lists them", len(args), a.command("status"))
	}
	return nil
}

func atMostOneName(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return inputErrorf("give one name at most, got %s", strings.Join(args, " "))
	}
	return nil
}

func oneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return inputErrorf("give one file, got %d", len(args))
	}
	return nil
}
