package ask

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// listen starts a TCP server that has one conversation with each who comes.
func listen(t *testing.T, talk func(net.Conn)) *system.Member {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); talk(conn) }()
		}
	}()
	return at(t, l.Addr().String())
}

func TestTCP(t *testing.T) {
	m := listen(t, func(c net.Conn) {
		for in := bufio.NewScanner(c); in.Scan(); {
			switch word, rest, _ := strings.Cut(in.Text(), " "); word {
			case "PING":
				fmt.Fprintf(c, "+PONG %s\r\nmore", rest)
			case "LINES":
				io.WriteString(c, "one\ntwo\n")
				io.WriteString(c, "END\n")
			case "ruok":
				io.WriteString(c, "imok")
				return
			case "flood":
				io.WriteString(c, strings.Repeat("x", maxReply+1))
			default:
				return
			}
		}
	})
	tests := []struct {
		send, expect string
		as           v1alpha1.Format
		want         map[string]any
		fails        string // why there is no answer
		outcome      string
	}{
		{want: map[string]any{"ok": true, "text": ""}, outcome: "worked"},
		{send: "PING ${m.name}\r\n", expect: `^\+PONG kv-0\r\n`, want: map[string]any{"ok": true}, outcome: "worked"},
		{send: "LINES\n", expect: `(?s)one.*END`, want: map[string]any{"ok": true}, outcome: "worked"},
		{send: "ruok\n", want: map[string]any{"ok": true, "text": "imok"}, outcome: "worked"},
		{send: "ruok\n", expect: "imok", want: map[string]any{"ok": true, "text": "imok"}, outcome: "worked"},
		{send: "ruok\n", expect: "leader", want: map[string]any{"ok": false, "text": "imok"}, outcome: "failed"},
		{send: "ruok\n", as: v1alpha1.FormatJSON, fails: "reply is not JSON", outcome: "worked"},
		{send: "bye\n", fails: "connection closed without a reply", outcome: "unknown"},
		{send: "flood\n", fails: "larger than", outcome: "unknown"},
		{send: "PING ${x}\n", fails: "tcp.send: a value is unknown", outcome: "failed"},
	}
	a := asker(t, words{})
	for _, test := range tests {
		call := v1alpha1.Call{TCP: &v1alpha1.TCP{Port: "client", Send: test.send, Expect: test.expect}}
		got, err := a.Question(t.Context(), "q", &v1alpha1.Question{Call: call, As: test.as}, to(m))
		switch {
		case test.fails != "":
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%q: got %v, %v, want no answer: %s", test.send, got, err, test.fails)
			}
		case err != nil:
			t.Errorf("%q: %v", test.send, err)
		default:
			answer := got.(map[string]any)
			if _, given := test.want["text"]; !given {
				delete(answer, "text") // how much came at once is not ours to say
			}
			if !reflect.DeepEqual(answer, test.want) {
				t.Errorf("%q: got %v, want %v", test.send, answer, test.want)
			}
		}
		if _, err := a.Do(t.Context(), &v1alpha1.Action{Call: call}, to(m)); outcomeOf(err) != test.outcome {
			t.Errorf("%q as an action: got %v, want %s", test.send, err, test.outcome)
		}
	}
}

func TestTCPWhenTheTimeIsUp(t *testing.T) {
	tests := []struct {
		name, says string
		answer     any // nil: none
	}{
		{"silence", "", nil},
		{"another reply", "-LOADING\r\n", map[string]any{"ok": false, "text": "-LOADING\r\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipes()
				go func() {
					for {
						conn, err := network.Accept()
						if err != nil {
							return
						}
						go func() {
							conn.Read(make([]byte, 100))
							io.WriteString(conn, test.says)
							io.Copy(io.Discard, conn)
							conn.Close()
						}()
					}
				}()
				a := New(words{})
				a.Dial = network.Dial
				target := to(&system.Member{Name: "kv-0", Host: "h", Port: map[string]int64{"client": 1}})
				call := v1alpha1.Call{TCP: &v1alpha1.TCP{Port: "client", Send: "PING\r\n", Expect: "PONG"}}
				begin := time.Now()
				got, err := a.Question(t.Context(), "q", &v1alpha1.Question{Call: call}, target)
				if !reflect.DeepEqual(got, test.answer) || (err == nil) == (test.answer == nil) || time.Since(begin) != 2*time.Second {
					t.Errorf("question: got %v, %v after %s, want %v", got, err, time.Since(begin), test.answer)
				}
				if _, err := a.Do(t.Context(), &v1alpha1.Action{Call: call}, target); outcomeOf(err) != "unknown" {
					t.Errorf("action: got %v, want unknown", err)
				}
				network.Close()
			})
		})
	}
}
