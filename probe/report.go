package probe

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

//go:embed report.html.tmpl
var reportText string

var reportPage = template.Must(template.New("report").Parse(reportText))

// report draws the page. It needs nothing from outside itself: no script, no
// font, no picture.
func (v Verdict) report() ([]byte, error) {
	var page bytes.Buffer
	err := reportPage.Execute(&page, reportData{Verdict: v, Picture: draw(v.Result)})
	return page.Bytes(), err
}

type reportData struct {
	Verdict
	Picture picture
}

// Line is the summary without the folder.
func (d reportData) Line() string { return strings.TrimSpace(d.Summary("")) }

// At is a time since the start of the run.
func (d reportData) At(t time.Time) string {
	return fmt.Sprintf("%.1f s", t.Sub(d.Result.Start).Seconds())
}

// Events leaves the failures beyond the first few to verdict.json.
func (d reportData) Events() []Event { return d.Result.Events[:min(len(d.Result.Events), 200)] }

// Used lists the classes of requests that the run had.
func (d reportData) Used() []ClassResult {
	var used []ClassResult
	for _, c := range d.Result.Classes {
		if c.Requests > 0 {
			used = append(used, c)
		}
	}
	return used
}

// The picture in units of its own viewBox. Latency stands above, on a
// logarithmic scale; below it stand the requests that failed, and at the foot
// the versions that served.
const (
	pictureWidth = 1100
	left, right  = 60, 1090
	labelTop     = 26
	labelRow     = 13
	latencyTop   = 54
	latencyFoot  = 300
	failTop      = 320
	failFoot     = 400
	servedTop    = 415
	servedRow    = 12
)

type picture struct {
	Width, Height float64
	Windows       []box
	Labels        []tick // of the windows
	Max           string // points of a line
	P99, P50      string
	Lines         []tick // of the scale of latency
	Times         []tick
	Failed        []box
	FailedMost    int64
	Holes         []box
	Served        []box
	Versions      []tick
	Steps         []tick
}

type box struct {
	X, Y, W, H float64
	Class      string
	Text       string
}

type tick struct {
	X, Y float64
	Text string
	Long string
}

func draw(r *Result) picture {
	s := coarsen(r.Timeline, maxPoints)
	d := drawing{r: r, slices: s, x: scale{0, max(r.End.Sub(r.Start).Seconds(), 1), left, right}, y: latencyScale(s)}
	p := picture{Width: pictureWidth}
	d.windows(&p)
	d.latency(&p)
	d.failures(&p)
	d.served(&p)
	d.steps(&p)
	p.Height = servedTop + servedRow*float64(max(len(p.Versions), 1)) + 30
	d.times(&p)
	return p
}

type drawing struct {
	r      *Result
	slices []Slice
	x, y   scale
}

// scale maps from a range of values to a range of the picture.
type scale struct{ from, to, low, high float64 }

func (s scale) at(v float64) float64 {
	return round(s.low + (s.high-s.low)*min(max((v-s.from)/(s.to-s.from), 0), 1))
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// latencyScale covers whole decades of milliseconds.
func latencyScale(slices []Slice) scale {
	low, high := math.Inf(1), 0.1
	for _, s := range slices {
		if s.P50 > 0 {
			low = min(low, ms(s.P50))
		}
		high = max(high, ms(s.Max))
	}
	low = min(low, high)
	return scale{math.Floor(math.Log10(low)), math.Floor(math.Log10(high)) + 1, latencyFoot, latencyTop}
}

func ms(m Millis) float64 { return float64(m) / float64(time.Millisecond) }

func (d drawing) since(t time.Time) float64 { return d.x.at(t.Sub(d.r.Start).Seconds()) }

func (d drawing) span(s Slice) (x, w float64) {
	from := time.Duration(s.At).Seconds()
	x = d.x.at(from)
	return x, round(max(d.x.at(from+time.Duration(s.Width).Seconds())-x, 0.5))
}

func (d drawing) windows(p *picture) {
	for i, w := range d.r.Windows {
		x := d.since(w.Start)
		text := string(w.Window)
		if w.Label != "" {
			text += " " + w.Label
		}
		p.Windows = append(p.Windows, box{X: x, Y: latencyTop, W: round(d.since(w.End) - x), H: failFoot - latencyTop, Class: string(w.Window)})
		p.Labels = append(p.Labels, tick{X: x, Y: labelTop - labelRow*float64(i%2), Text: text}) // neighbors never share a row
	}
}

func (d drawing) latency(p *picture) {
	var p50, p99, highest strings.Builder
	for _, s := range d.slices {
		if s.Max == 0 {
			continue // no success: nothing to time
		}
		x, w := d.span(s)
		x = round(x + w/2)
		for line, v := range map[*strings.Builder]Millis{&p50: s.P50, &p99: s.P99, &highest: s.Max} {
			fmt.Fprintf(line, "%g,%g ", x, d.y.at(math.Log10(ms(v))))
		}
	}
	p.P50, p.P99, p.Max = p50.String(), p99.String(), highest.String()
	for decade := d.y.from; decade <= d.y.to; decade++ {
		p.Lines = append(p.Lines, tick{X: left, Y: d.y.at(decade), Text: scaleText(decade)})
	}
}

// scaleText is a power of ten in milliseconds.
func scaleText(decade float64) string {
	if decade >= 3 {
		return fmt.Sprintf("%g s", math.Pow(10, decade-3))
	}
	return fmt.Sprintf("%g ms", math.Pow(10, decade))
}

func (d drawing) failures(p *picture) {
	p.FailedMost = 1
	for _, s := range d.slices {
		p.FailedMost = max(p.FailedMost, s.FailedFirst, s.Failed+s.Bad)
	}
	height := scale{0, float64(p.FailedMost), 0, failFoot - failTop}
	bar := func(s Slice, n int64, class string) {
		if n > 0 {
			x, w := d.span(s)
			h := max(height.at(float64(n)), 2)
			p.Failed = append(p.Failed, box{X: x, Y: failFoot - h, W: w, H: h, Class: class, Text: fmt.Sprintf("%d %s", n, class)})
		}
	}
	for _, s := range d.slices {
		bar(s, s.FailedFirst, "first")
		bar(s, s.Failed+s.Bad, "failed")
		if s.Holes > 0 {
			x, w := d.span(s)
			p.Holes = append(p.Holes, box{X: x, Y: failTop, W: w, H: 4, Text: fmt.Sprintf("%d not sent", s.Holes)})
		}
	}
}

func (d drawing) served(p *picture) {
	for row, version := range d.r.Replicas.Versions {
		y := float64(servedTop + servedRow*row)
		p.Versions = append(p.Versions, tick{X: left, Y: y + servedRow - 3, Text: version})
		for _, s := range d.slices {
			for _, v := range s.Served {
				if v == version {
					x, w := d.span(s)
					p.Served = append(p.Served, box{X: x, Y: y, W: w, H: servedRow - 3})
				}
			}
		}
	}
}

func (d drawing) steps(p *picture) {
	const apart = 16 // or numbers would lie on each other
	last := math.Inf(-1)
	for _, e := range d.r.Events {
		if e.Kind != "step" {
			continue
		}
		p.Steps = append(p.Steps, tick{X: d.since(e.At), Y: latencyTop, Long: firstLine(e.Text)})
		if s := &p.Steps[len(p.Steps)-1]; s.X-last >= apart {
			s.Text, last = fmt.Sprint(len(p.Steps)), s.X
		}
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (d drawing) times(p *picture) {
	step := niceStep(d.x.to / 10)
	for t := 0.0; t <= d.x.to; t += step {
		p.Times = append(p.Times, tick{X: d.x.at(t), Y: p.Height - 8, Text: fmt.Sprintf("%g s", t)})
	}
}

// niceStep is the least of 1, 2, 5, 10, 20 … that is not below v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(max(v, 1))))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v {
			return f * power
		}
	}
	return 10 * power
}
