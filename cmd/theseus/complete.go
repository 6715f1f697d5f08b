package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// What the shell completes.

// completionTime is how long a shell waits for what it completes.
const completionTime = 3 * time.Second

// completion has words found in time. Without an answer there is nothing to complete.
func completion(find func(ctx context.Context, args []string) ([]string, error)) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		words, err := find(ctx, args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeNames(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	return completion(func(ctx context.Context, args []string) ([]string, error) {
		if len(args) > 0 {
			return nil, nil
		}
		return a.names(ctx)
	})(c, args, to)
}

// ofCluster completes the name of a cluster, and behind it what find knows of that one.
func (a *app) ofCluster(find func(*opened) []string) cobra.CompletionFunc {
	return completion(func(ctx context.Context, args []string) ([]string, error) {
		switch len(args) {
		case 0:
			return a.names(ctx)
		case 1:
			k, err := a.open(ctx, args[0])
			if err != nil {
				return nil, err
			}
			return find(k), nil
		}
		return nil, nil
	})
}

// completeVersions are those that a cluster can go to: all, where it was never started to its end.
func (a *app) completeVersions(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.ofCluster(func(k *opened) []string {
		next, err := k.systemNext(c.Context())
		if err != nil {
			return nil
		}
		if applied := k.cluster.Status.Applied; applied != nil {
			return next.Reachable(applied.Spec.Version)
		}
		return next.Listed()
	})(c, args, to)
}

func (a *app) completeMembers(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	return a.ofCluster((*opened).memberNames)(c, args, to)
}

// completeRules are the rules that an override can name.
func (a *app) completeRules(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	return a.ofCluster((*opened).rules)(c, args, to)
}

func (a *app) completeContexts(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	return completion(func(context.Context, []string) ([]string, error) {
		raw, err := a.loader().RawConfig()
		return slices.Sorted(maps.Keys(raw.Contexts)), err
	})(c, args, to)
}

func (a *app) completeNamespaces(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	return completion(func(ctx context.Context, _ []string) ([]string, error) {
		n, err := a.kubernetes()
		if err != nil {
			return nil, err
		}
		return n.namespaces(ctx)
	})(c, args, to)
}

func yamlFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
