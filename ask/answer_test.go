package ask

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"theseus.dev/api/v1alpha1"
)

func TestNumbersStayExact(t *testing.T) {
	for text, want := range map[string]any{
		"1": int64(1), "-1": int64(-1), "-0": int64(0), "9007199254740993": int64(9007199254740993),
		"9223372036854775807": int64(9223372036854775807), "9223372036854775808": uint64(9223372036854775808),
		"18446744073709551616": 18446744073709551616.0, "1.0": 1.0, "1e3": 1000.0,
	} {
		if got, err := decodeJSON([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %T %v, %v, want %T %v", text, got, got, err, want, want)
		}
	}
}

func TestReadingBoundsEverything(t *testing.T) {
	endless := iotest.DataErrReader(zeros{})
	values := map[string]any{}
	if err := (reading{as: v1alpha1.FormatJSON}).into(values, endless, true); err == nil || len(values) != 0 {
		t.Errorf("endless reply to a question: got %d values, %v, want an error", len(values), err)
	}
	if err := (reading{action: true}).into(values, endless, true); err != nil || len(values["text"].(string)) != maxKept {
		t.Errorf("endless reply to an action: got %v, want its end kept", err)
	}
	if _, err := (reading{metrics: []string{}}).metricsOf(endless); err == nil || !strings.Contains(err.Error(), "8192 KiB") {
		t.Errorf("endless metrics: got %v, want an error", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzReply: whatever comes, the values of an answer are what expressions can hold, and json is there exactly where the text is JSON.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5,-0,18446744073709551615,null,true,"\u00e9"]}`, "", " ", "{} {}", "[1e999]", "\xff", `"\ud800"`, strings.Repeat("[", 50)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, r := range []reading{{as: v1alpha1.FormatJSON}, {as: v1alpha1.FormatText}, {action: true}} {
			for _, good := range []bool{true, false} {
				values := map[string]any{}
				err := r.into(values, strings.NewReader(string(text)), good)
				if err != nil && (!good || r.as != v1alpha1.FormatJSON || json.Valid(text) && !strings.Contains(err.Error(), "out of range")) {
					t.Fatalf("%+v, good %t: %v", r, good, err)
				}
				if err := holdable(values); err != nil {
					t.Fatalf("%+v: %v", r, err)
				}
				v, has := values["json"]
				if has && !json.Valid(text) {
					t.Fatalf("%+v: json of what is none", r)
				}
				if has && !sameJSON(t, text, v) {
					t.Fatalf("%+v: got %v", r, v)
				}
			}
		}
	})
}

// sameJSON compares with what the standard library makes of it, where everything is a float64.
func sameJSON(t *testing.T, text []byte, got any) bool {
	var want, back any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &back); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(want, back) || strings.Contains(string(text), "-0") // the sign of zero is lost
}

func holdable(v any) error {
	switch v := v.(type) {
	case nil, bool, int64, uint64, float64:
		return nil
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("%q is not UTF-8", v)
		}
		return nil
	case []any:
		for _, e := range v {
			if err := holdable(e); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		for k, e := range v {
			if err := holdable(k); err != nil {
				return err
			}
			if err := holdable(e); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%T is not for expressions", v)
}
