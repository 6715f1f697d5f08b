package ask

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"theseus.dev/api/v1alpha1"
)

// maxKept is how much of the end of an action's output is kept, in bytes.
const maxKept = 64 << 10

// reading says how the text of a reply becomes values.
type reading struct {
	as      v1alpha1.Format
	metrics []string // wanted, for Prometheus
	// action: keep the end of the text, and json where the whole is JSON; nothing about the text makes it an error.
	action bool
}

// metricsOf reads a page of metrics.
func (r reading) metricsOf(body io.Reader) (map[string]any, error) {
	return sumMetrics(&bounded{r: body, max: maxMetrics}, r.metrics)
}

// into puts text and json of a reply into values. Text that is no JSON is an error only in a good reply: a server
// that is not well may answer with a status and prose.
func (r reading) into(values map[string]any, body io.Reader, good bool) error {
	if r.action {
		return r.intoAction(values, body)
	}
	text, err := io.ReadAll(&bounded{r: body, max: maxReply})
	if err != nil {
		return err
	}
	values["text"] = valid(text)
	if r.as != v1alpha1.FormatJSON || len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	v, err := decodeJSON(text)
	if err == nil {
		values["json"] = v
		return nil
	}
	if good {
		return fmt.Errorf("reply is not JSON (%w); where it is plain text, give the question as: Text", err)
	}
	return nil
}

func (r reading) intoAction(values map[string]any, body io.Reader) error {
	text, err := io.ReadAll(&bounded{r: body, max: maxReply})
	values["text"] = valid(text[max(0, len(text)-maxKept):])
	if errors.As(err, new(tooLarge)) {
		return nil
	}
	if err != nil {
		return err
	}
	if v, err := decodeJSON(text); err == nil {
		values["json"] = v
	}
	return nil
}

// valid makes text a string that expressions can hold: they know UTF-8 only.
func valid(text []byte) string { return strings.ToValidUTF8(string(text), "\uFFFD") }

// decodeJSON decodes one JSON value. Whole numbers stay exact, because they may be identities: two members' 64-bit ids must not
// become equal by rounding.
func decodeJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more text after the value")
	}
	return plain(v)
}

// plain replaces the numbers in a decoded value by int64, uint64 or float64, in place.
func plain(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		return number(string(v))
	case []any:
		for i := range v {
			if v[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = plain(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func number(s string) (any, error) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return u, nil
	}
	return strconv.ParseFloat(s, 64)
}

// tooLarge is the error of a reply beyond its bound, in bytes.
type tooLarge int64

func (t tooLarge) Error() string {
	return fmt.Sprintf("reply is larger than %d KiB", int64(t)>>10)
}

// bounded reads up to max bytes and is an error beyond, where io.LimitedReader would end as if the reply were whole.
type bounded struct {
	r    io.Reader
	max  int64
	read int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	left := b.max - b.read
	if int64(n) > left {
		n, err = int(left), tooLarge(b.max)
	}
	b.read += int64(n)
	return n, err
}
