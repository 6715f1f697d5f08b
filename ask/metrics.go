package ask

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// sumMetrics reads a page in the Prometheus text format and returns the wanted metrics, nil meaning all, each summed over its label sets.
// A metric that is not on the page, or whose sum is not finite, is absent: an expression that needs it is then
// unknown, where a comparison with NaN would be false. Lines of other metrics are passed over unread, so that
// what nobody asked for can neither fail nor cost much. A page that ends within a line was cut and is no answer.
func sumMetrics(r io.Reader, wanted []string) (map[string]any, error) {
	s := newSums(wanted)
	lines := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := nextLine(lines, s)
		if errors.Is(err, io.EOF) {
			return s.finite(), nil
		}
		if err == nil {
			err = s.add(line)
		}
		if err != nil {
			return nil, fmt.Errorf("metrics, line %d: %w", n, err)
		}
	}
}

var errLongLine = errors.New("longer than 64 KiB")

// nextLine returns the next line, valid until the next call. A line that does not fit is passed over unless it is wanted.
func nextLine(lines *bufio.Reader, s *sums) ([]byte, error) {
	line, err := lines.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(line) > 0 {
		return nil, io.ErrUnexpectedEOF
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	if i, _ := s.find(line); i >= 0 {
		return nil, errLongLine
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = lines.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	return nil, err
}

// sums of the wanted metrics.
type sums struct {
	all   bool // are wanted: each is added when it is first met
	index map[string]int
	names []string
	sum   []float64
	seen  []bool
}

func newSums(wanted []string) *sums {
	s := &sums{all: wanted == nil, index: make(map[string]int, len(wanted))}
	for _, name := range wanted {
		s.want(name)
	}
	return s
}

func (s *sums) want(name string) int {
	if i, ok := s.index[name]; ok {
		return i
	}
	i := len(s.names)
	s.index[name] = i
	s.names, s.sum, s.seen = append(s.names, name), append(s.sum, 0), append(s.seen, false)
	return i
}

func (s *sums) finite() map[string]any {
	m := make(map[string]any, len(s.index))
	for name, i := range s.index {
		if s.seen[i] && !math.IsNaN(s.sum[i]) && !math.IsInf(s.sum[i], 0) {
			m[name] = s.sum[i]
		}
	}
	return m
}

// add takes one line: NAME [{LABELS}] VALUE [TIMESTAMP], or {"NAME",LABELS} VALUE, or a comment.
func (s *sums) add(line []byte) error {
	i, rest := s.find(line)
	if i < 0 {
		return nil
	}
	v, err := sampleValue(rest)
	if err != nil {
		return fmt.Errorf("%s: %w", s.names[i], err)
	}
	s.sum[i] += v
	s.seen[i] = true
	return nil
}

// find returns which wanted metric the line is a sample of, or -1, and the line from its labels on.
func (s *sums) find(line []byte) (int, []byte) {
	line = skipBlank(line)
	name, rest := line, []byte(nil)
	if bytes.HasPrefix(line, []byte("{")) {
		name, rest = quotedName(line)
	} else if n := bytes.IndexAny(line, "{ \t\r\n"); n >= 0 {
		name, rest = line[:n], line[n:]
	}
	if i, ok := s.index[string(name)]; ok { // no allocation: the compiler sees through the conversion
		return i, rest
	}
	if s.all && len(name) > 0 && name[0] != '#' {
		return s.want(string(name)), rest
	}
	return -1, nil
}

// quotedName takes the name out of {"NAME",LABELS} and returns the other labels as if they stood after it.
func quotedName(line []byte) (name, rest []byte) {
	inner := skipBlank(line[1:])
	if !bytes.HasPrefix(inner, []byte(`"`)) {
		return nil, nil
	}
	end := quoteEnd(inner)
	if end < 0 {
		return nil, nil
	}
	name = inner[1:end]
	if bytes.IndexByte(name, '\\') >= 0 {
		name = unescape(name)
	}
	inner[end] = '{' // the closing quote becomes the brace that opens the labels
	return name, inner[end:]
}

// unescape resolves \\, \" and \n.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			i++
			if c = b[i]; c == 'n' {
				c = '\n'
			}
		}
		out = append(out, c)
	}
	return out
}

// quoteEnd returns the index of the quote that closes the one at b[0], or -1.
func quoteEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

var (
	errLabels    = errors.New("labels do not end")
	errValue     = errors.New("value is no number")
	errTimestamp = errors.New("timestamp is no number")
)

// sampleValue reads what follows a name: labels, value, timestamp. Anything else is an error, since a sum with a misread part is worse than none.
func sampleValue(b []byte) (float64, error) {
	b = skipBlank(b)
	if bytes.HasPrefix(b, []byte("{")) {
		end := labelsEnd(b)
		if end < 0 {
			return 0, errLabels
		}
		b = skipBlank(b[end+1:])
	}
	value, b := word(b)
	v, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return 0, errValue
	}
	timestamp, _ := word(b)
	if len(timestamp) == 0 || timestamp[0] == '#' { // an exemplar follows
		return v, nil
	}
	if _, err := strconv.ParseFloat(string(timestamp), 64); err != nil {
		return 0, errTimestamp
	}
	return v, nil
}

// labelsEnd returns the index of the brace that closes the one at b[0], or -1. Braces within quotes do not count.
func labelsEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '}':
			return i
		case '"':
			n := quoteEnd(b[i:])
			if n < 0 {
				return -1
			}
			i += n
		}
	}
	return -1
}

// word returns the first word of b and what follows it and its blanks.
func word(b []byte) (first, rest []byte) {
	n := bytes.IndexAny(b, " \t\r\n")
	if n < 0 {
		return b, nil
	}
	return b[:n], skipBlank(b[n:])
}

func skipBlank(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}
