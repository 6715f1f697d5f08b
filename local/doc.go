// Package local runs members as processes on this machine and keeps the journal
// in files. There is no daemon: the members outlive the command that started
// them, and the next command goes on where the last one stopped.
//
// A home has one folder for each cluster:
//
//	HOME/programs/SHA256      programs that were downloaded
//	HOME/NAME/cluster.json    the spec that was accepted
//	HOME/NAME/status.json     the status: the journal
//	HOME/NAME/addresses.json  the members' own loopback addresses, for ever
//	HOME/NAME/configured.json what new processes of each component get
//	HOME/NAME/lock            held by the one driver
//	HOME/NAME/inbox/          requests that have no answer yet
//	HOME/NAME/systems/        Systems by hash
//	HOME/NAME/runs/           runs of actions by id
//	HOME/NAME/members/M/      order.json, state.json, log, data/
//
// Three sorts of process work on it. The driver holds the lock and decides. Each
// running member has a shim, its parent, that restarts it and keeps its log. A
// job does one action, at most once. All three are the same program, started with
// ShimCommand or JobCommand as the first argument, and each of them may be killed at any instant: what must
// be known afterwards is written to a new file, synced and renamed, one fault point before and after each of these.
//
// Read state.go for the journal, shim.go for what keeps a member, look.go and act.go for the platform. Linux only.
package local
