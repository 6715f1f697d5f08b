package main

import (
	"context"
	"io"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/manifest"
	"theseus.dev/runner"
	"theseus.dev/system"
	"theseus.dev/upgrade"
)

// site is where clusters live: the home folder of this machine, or a namespace of Kubernetes. Commands are written for sites; what is
// different about them is behind site and access, and nowhere else.
type site interface {
	// all are the clusters there, sorted by name.
	all(ctx context.Context) ([]access, error)
	// open finds a cluster. It is a *noClusterError where there is none.
	open(ctx context.Context, name string) (access, error)
	// systemOf finds the System of a Cluster in a file: among the objects beside it, or as it is known there.
	systemOf(ctx context.Context, path string, objects []manifest.Object, c *v1alpha1.Cluster) (*system.System, error)
	// lacks says what a Cluster asks for that is not to be had there.
	lacks(c *v1alpha1.Cluster) manifest.Errors
	// create makes the cluster of a proposal's file, which is not there yet.
	create(ctx context.Context, p *proposal) (access, error)
	// restore makes the cluster of a proposal's file with the data of a backup, and has it ready to be driven as k.at. The text says what data that is.
	restore(ctx context.Context, k *opened, p *proposal, from stored) (string, error)
	// permit refuses a proposal before anything is changed, for reasons of the place.
	permit(ctx context.Context, p *proposal) error
	// foresee says what the place would say to a proposal, and changes nothing.
	foresee(ctx context.Context, p *proposal) (foresight, error)
}

// access is how a command reaches one cluster.
type access interface {
	name() string
	// complete refuses a cluster that is not whole yet, and can only be taken down.
	complete() error
	// load reads the Cluster as it was accepted, with its status.
	load(ctx context.Context) (*v1alpha1.Cluster, error)
	// next waits until the status was written after it was last read, and reads it.
	next(ctx context.Context) (*v1alpha1.Cluster, error)
	// see fills in what workloads that the cluster adopts say of themselves.
	see(ctx context.Context, sys *system.System, c *v1alpha1.Cluster) error
	// library holds the Systems that the cluster refers to.
	library() runner.Library
	// look asks the members. It is errOutside where nobody here can reach them: then the status says all that is known.
	look(ctx context.Context, s runner.Scene) (upgrade.Look, error)
	// members are what the place knows of them where they cannot be asked; without what only they could say.
	members(ctx context.Context) []shownMember
	// driver is who drives the cluster now; empty where nobody does.
	driver() string
	// ask puts a request. The same id again is the same request.
	ask(ctx context.Context, r v1alpha1.Request) error
	// edit has another spec accepted.
	edit(ctx context.Context, p *proposal) error
	// drive calls begin once nobody else may, and returns when nothing is left to do without a person. Watch is told of each pass. The refusal says
	// why the spec cannot be followed. It is a *local.BusyError where another command drives, and begin was not called.
	drive(ctx context.Context, begin func() error, watch func(runner.Pass)) (last *v1alpha1.Cluster, refusal, err error)
	// logs prints the last lines that a member wrote, and with follow what comes.
	logs(ctx context.Context, to io.Writer, member string, lines int, follow bool) error
	// reach is how a probe gets at the members.
	reach(ctx context.Context, k *opened) (*reach, error)
	// atStake is what down takes away, as a question; empty where that can be had back by up.
	atStake(deleteData bool) string
	// down stops the members.
	down(ctx context.Context, deleteData bool) (downed, error)
	// backUp takes a backup now, and backups lists those there are.
	backUp(ctx context.Context, k *opened) (taken, error)
	backups(ctx context.Context, k *opened) (takenList, error)
}

// proposal is a spec that somebody wants for a cluster.
type proposal struct {
	name    string
	cluster *v1alpha1.Cluster // as it is, nil where it is still to be made
	spec    *v1alpha1.ClusterSpec
	system  *system.System
	// versions that members would run on the way.
	versions []string
	// file that it was read from, if it was.
	file *clusterFile
	// force takes over what somebody else keeps.
	force bool
}

// foresight is what a place would say to a proposal.
type foresight struct {
	warnings []string
	// unseen is what could not be looked at from here.
	unseen []string
}

// stored is a backup as a person names it.
type stored struct {
	name string
	url  string // empty: as the site knows it
}

// downed is what down came to.
type downed struct {
	Cluster string `json:"cluster"`
	Stopped bool   `json:"stopped"`
	Deleted bool   `json:"deleted"`
	Folder  string `json:"folder,omitempty"`
	// Left are the StatefulSets that were adopted, and go on.
	Left  []string `json:"left,omitempty"`
	words string
	next  []string // what is left to a person
}

// taken is a backup that was taken: what --json prints, and a line.
type taken struct {
	object any
	line   string
}

// takenList are backups: what --json prints, and a row each.
type takenList struct {
	objects any
	rows    [][]string
}
