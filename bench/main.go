// Command bench measures Theseus side by side with a limit, in one run, and
// prints ratios. Absolute times are of this machine and this hour only.
//
//	make bench
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"theseus.dev/bench/figure"
)

func main() {
	rounds := flag.Int("rounds", 3, "how often each side is measured; medians are printed")
	bin := flag.String("bin", "bin", "folder of theseus and servers/")
	only := flag.String("only", "", "measure only this: wall, simulated or watching")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *bin, *only, *rounds)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measures in the order in which they are taken.
var measures = []struct {
	name string
	take func(ctx context.Context, bin, dir string, rounds int) ([]figure.Figure, error)
}{{"wall", wallTime}, {"simulated", simulated}, {"watching", watching}}

func run(ctx context.Context, bin, only string, rounds int) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "theseus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var figures []figure.Figure
	for _, m := range measures {
		if only != "" && only != m.name {
			continue
		}
		f, err := m.take(ctx, bin, dir, rounds)
		if err != nil {
			return err
		}
		figures = append(figures, f...)
	}
	return figure.Print(os.Stdout, figures)
}
