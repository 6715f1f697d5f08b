package ask

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSumMetrics(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	tests := []struct {
		name, page string
		want       map[string]any
		err        string
	}{
		{name: "empty", want: map[string]any{}},
		{name: "no sample", page: "# HELP up Is it?\n# TYPE up gauge\n\n", want: map[string]any{}},
		{name: "one", page: "up 1\n", want: map[string]any{"up": 1.0}},
		{name: "label sets are summed", page: "up{a=\"1\"} 1\nup{a=\"2\",b=\"3\"} 2.5e0\nup 3\n", want: map[string]any{"up": 6.5}},
		{name: "blanks", page: " \tup \t{ a = \"1\" , }\t 1 \t1700000000000 \r\n", want: map[string]any{"up": 1.0}},
		{name: "braces and quotes in labels", page: `up{a="}\" 7",b="\\"} 1` + "\n", want: map[string]any{"up": 1.0}},
		{name: "a name within another", page: "upper 1\nup_total 1\nnot_up 1\n#up 1\n", want: map[string]any{}},
		{name: "quoted names", page: `{"up",a="1"} 1` + "\n" + `{"disk\"free\n"} 2` + "\n" + `{ "up" } 4` + "\n", want: map[string]any{"up": 5.0, "disk\"free\n": 2.0}},
		{name: "numbers", page: "up -0x1p3\ndisk\"free 1\n", want: map[string]any{"up": -8.0}},
		{name: "not a number", page: "up NaN\nload 1\n", want: map[string]any{"load": 1.0}},
		{name: "one label set that is not a number", page: "up 1\nup{q=\"0.5\"} NaN\n", want: map[string]any{}},
		{name: "infinite", page: "up +Inf\nload -Inf\n", want: map[string]any{}},
		{name: "infinity that cancels", page: "up +Inf\nup -Inf\n", want: map[string]any{}},
		{name: "exemplar", page: "up 1 # {trace_id=\"a\"} 0.5\nload 1 1700000000.5 # {} 1\n# EOF\n", want: map[string]any{"up": 1.0, "load": 1.0}},
		{name: "garbage that nobody wants", page: "other{ x\nother\n{\n{\"\n{} 1\n}\n\x00\xff\nup 1\n", want: map[string]any{"up": 1.0}},
		{name: "a long line that nobody wants", page: "other " + long + "\nup 1\n", want: map[string]any{"up": 1.0}},
		{name: "a long comment", page: "# " + long + "\nup 1\n", want: map[string]any{"up": 1.0}},

		{name: "no value", page: "load 1\nup\n", err: "metrics, line 2: up: value is no number"},
		{name: "no value after labels", page: "up{a=\"1\"}\n", err: "line 1: up: value is no number"},
		{name: "value that is none", page: "up one\n", err: "value is no number"},
		{name: "too large a value", page: "up 1e999\n", err: "value is no number"},
		{name: "labels that do not end", page: "up{a=\"1\" 1\n", err: "labels do not end"},
		{name: "quotes that do not end", page: "up{a=\"1} 1\n", err: "labels do not end"},
		{name: "timestamp that is none", page: "up 1 now\n", err: "timestamp is no number"},
		{name: "cut within a line", page: "up 1\nother", err: "line 2: unexpected EOF"},
		{name: "cut within a long line", page: "other " + long, err: "line 1: unexpected EOF"},
		{name: "a long line that is wanted", page: "up{a=\"" + long + "\"} 1\n", err: "line 1: longer than 64 KiB"},
	}
	for _, test := range tests {
		for how, r := range map[string]func() (map[string]any, error){
			"at once": func() (map[string]any, error) { return sum(test.page) },
			"byte by byte": func() (map[string]any, error) {
				return sumMetrics(iotest.OneByteReader(strings.NewReader(test.page)), wantedInTests)
			},
		} {
			got, err := r()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || got != nil {
					t.Errorf("%s, %s: got %v, %v, want an error with %q", test.name, how, got, err, test.err)
				}
			} else if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%s, %s: got %v, %v, want %v", test.name, how, got, err, test.want)
			}
		}
	}
}

var wantedInTests = []string{"up", "load", "disk\"free\n"}

func sum(page string) (map[string]any, error) {
	return sumMetrics(strings.NewReader(page), wantedInTests)
}

func TestAllMetrics(t *testing.T) {
	text := "# TYPE up gauge\nup 1\nup 2\n{\"q\"} 3\nother{a=\"1\"} 4\nbad NaN\n{} 1\n\n"
	want := map[string]any{"up": 3.0, "q": 3.0, "other": 4.0}
	if got, err := sumMetrics(strings.NewReader(text), nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("all: got %v, %v, want %v", got, err, want)
	}
	if got, err := sumMetrics(strings.NewReader(text), []string{}); err != nil || len(got) != 0 {
		t.Errorf("none: got %v, %v, want none", got, err)
	}
}

func TestUnwantedLinesCostNoAllocation(t *testing.T) {
	allocs := func(lines int) float64 {
		page := []byte(strings.Repeat("other{a=\"1\",b=\"x\"} 1\n# HELP other ones\n{\"another\"} 1\n", lines) + "up 1\n")
		return testing.AllocsPerRun(10, func() {
			if _, err := sumMetrics(bytes.NewReader(page), wantedInTests); err != nil {
				t.Fatal(err)
			}
		})
	}
	if few, many := allocs(10), allocs(10000); few != many {
		t.Errorf("30 unwanted lines: %v allocations, 30000: %v, want the same", few, many)
	}
}

// page writes a random page and what it must sum to, in the format's own order: what is wanted, and everything around it.
func page(r *rand.Rand) (text string, want map[string]any) {
	var b strings.Builder
	want = map[string]any{}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	label := func() string { return strconv.Quote(pick("", "a", "}", "{", `"`, `\`, "\n", " 1 ", "#", "é")) }
	for range r.IntN(30) {
		name := pick("up", "load", "other", "upper", "disk\"free\n")
		quoted := name == "disk\"free\n" || r.IntN(4) == 0
		var labels []string
		if quoted {
			labels = append(labels, strconv.Quote(name))
		} else {
			b.WriteString(name + pick("", " ", "\t"))
		}
		for i := range r.IntN(3) {
			labels = append(labels, fmt.Sprintf("l%d=%s", i, label()))
		}
		if len(labels) > 0 {
			fmt.Fprintf(&b, "{%s%s}", strings.Join(labels, ","), pick("", ","))
		}
		v := float64(r.IntN(1000)) / 8
		b.WriteString(pick(" ", "\t", "  ") + strconv.FormatFloat(v, pick("g", "e", "f")[0], -1, 64) + pick("", " 1700000000000", " -1") + pick("\n", " \n", "\n\n# up 7\n", "\n# HELP up \\n {\n"))
		if name != "other" && name != "upper" {
			before, _ := want[name].(float64)
			want[name] = before + v
		}
	}
	return b.String(), want
}

func TestRandomPages(t *testing.T) {
	for seed := range uint64(2000) {
		text, want := page(rand.New(rand.NewPCG(seed, 0)))
		if got, err := sum(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: got %v, %v, want %v of\n%s", seed, got, err, want, text)
		}
	}
}

// FuzzSumMetrics: whatever the page, only finite sums of wanted metrics come out; lines of others and the way in which
// the bytes arrive change nothing.
func FuzzSumMetrics(f *testing.F) {
	for seed := range uint64(20) {
		text, _ := page(rand.New(rand.NewPCG(seed, 1)))
		f.Add([]byte(text))
	}
	f.Add([]byte("up{a=\"1} 1\nup 1e999\n{\"up\n{\"u\\"))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		got, err := sumMetrics(bytes.NewReader(text), wantedInTests)
		if !bytes.Equal(before, text) {
			t.Fatal("the page was changed")
		}
		again, errAgain := sumMetrics(iotest.HalfReader(bytes.NewReader(text)), wantedInTests)
		if !reflect.DeepEqual(got, again) || (err == nil) != (errAgain == nil) {
			t.Fatalf("at once %v, %v; in halves %v, %v", got, err, again, errAgain)
		}
		if err != nil {
			return
		}
		for name, v := range got {
			if v := v.(float64); math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("%s: got %v, want a finite number or nothing", name, v)
			}
		}
		padded := "other{ 1\n" + strings.ReplaceAll(string(text), "\n", "\n# up 1\nupper{x=\"\n")
		if with, err := sum(padded); err != nil || !reflect.DeepEqual(with, got) {
			t.Errorf("with other lines between: got %v, %v, want %v", with, err, got)
		}
	})
}

func BenchmarkSumMetrics(b *testing.B) {
	page := []byte(strings.Repeat("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service=\"KV\"} 17\n", 20000) + "up 1\n")
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sumMetrics(bytes.NewReader(page), wantedInTests); err != nil {
			b.Fatal(err)
		}
	}
}
