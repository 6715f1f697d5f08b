package probe

import (
	"context"
	"errors"
	"fmt"
)

// Class is the sort of a request. Each class is counted, timed and judged on
// its own, so that fast reads never hide stalled writes.
type Class int

// The classes in the order in which results list them.
const (
	Put           Class = iota // one write
	Get                        // one read of a key that some earlier request wrote
	ReadYourWrite              // one write, then a read of it through another endpoint
	classes
)

// Classes lists every class in order.
func Classes() []Class { return []Class{Put, Get, ReadYourWrite} }

var classNames = [classes]string{"put", "get", "read-your-write"}

func (c Class) String() string {
	if c < 0 || c >= classes {
		return fmt.Sprintf("Class(%d)", int(c))
	}
	return classNames[c]
}

// MarshalText writes the class by its name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a class by its name.
func (c *Class) UnmarshalText(text []byte) error {
	for i, name := range classNames {
		if name == string(text) {
			*c = Class(i)
			return nil
		}
	}
	return fmt.Errorf("class %q: want put, get or read-your-write", text)
}

// ErrNotApplied says that an operation certainly had no effect: it never left
// this client, or the server refused it before doing anything. A driver wraps
// it (fmt.Errorf("…: %w", ErrNotApplied)) only where it is certain of that.
// Every other error of Put is an unknown outcome, which the ledger settles.
var ErrNotApplied = errors.New("not applied")

// Driver speaks to one kind of system. It is called from many goroutines.
//
// A try is exactly one operation sent to exactly one endpoint: a driver never
// repeats, hedges or moves to another endpoint by itself, because the two
// failure figures of a Result are only as honest as the tries are. A driver
// returns as soon as its context ends. probetest.TestDriver checks all this.
type Driver interface {
	// Endpoints names the replicas, one address each. It never changes, and
	// the other methods are given indexes into it.
	Endpoints() []string

	// Repeatable says whether a request of this class may be tried again when
	// the outcome of a try is unknown. Writes carry unique values, so a system
	// in which writing the same value twice equals writing it once says yes.
	Repeatable(Class) bool

	// Put writes the value under the key. nil means acknowledged.
	Put(ctx context.Context, endpoint int, key, value string) error

	// Get reads the key: the read must see every write acknowledged before
	// it began. A key never written is not an error.
	Get(ctx context.Context, endpoint int, key string) (Value, error)

	// Look asks one replica whether it serves and which version it runs.
	// An error means that it did not answer.
	Look(ctx context.Context, endpoint int) (Member, error)

	// Close frees connections. The probe never calls it.
	Close() error
}

// Cleaner is implemented by drivers that can remove the keys of a run. It is
// called when the ledger was read back in full and nothing was found wrong;
// otherwise the keys stay as evidence.
type Cleaner interface {
	Clean(ctx context.Context, prefix string) error
}

// Value is the answer of a read.
type Value struct {
	Data   string
	Exists bool
	// Applied is how many writes the key has had since it was made, where the
	// system counts them (the version of a key in etcd). 0 means that the
	// system does not tell; duplicates then cannot be seen.
	Applied int64
}

// Member is what one replica says about itself.
type Member struct {
	Ready   bool   // it is up and would serve as soon as its group can
	Version string // "" when it does not tell
}
