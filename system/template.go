package system

import (
	"errors"
	"fmt"
	"strings"
)

// template is text with expressions in ${}; $${ is a plain ${.
type template struct {
	source string
	parts  []piece
}

// piece is either text or an expression.
type piece struct {
	text string
	expr *expression
}

func newTemplate(source string, compile func(string) (*expression, error)) (*template, error) {
	t := &template{source: source}
	rest := source
	for rest != "" {
		start := strings.Index(rest, "${")
		if start < 0 {
			t.addText(rest)
			break
		}
		if start > 0 && rest[start-1] == '$' {
			t.addText(rest[:start-1] + "${")
			rest = rest[start+2:]
			continue
		}
		t.addText(rest[:start])
		length, err := expressionLength(rest[start+2:])
		if err != nil {
			return nil, err
		}
		source := rest[start+2 : start+2+length]
		e, err := compile(source)
		if err != nil {
			return nil, fmt.Errorf("has the expression %q, which %w", source, err)
		}
		t.parts = append(t.parts, piece{expr: e})
		rest = rest[start+2+length+1:]
	}
	return t, nil
}

func (t *template) addText(text string) {
	if text != "" {
		t.parts = append(t.parts, piece{text: text})
	}
}

// expressionLength finds the brace that ends an expression: not one inside a
// text or of a map.
func expressionLength(s string) (int, error) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\'', '"':
			length := textLength(s[i:], i > 0 && (s[i-1] == 'r' || s[i-1] == 'R'))
			if length < 0 {
				return 0, errors.New("has a text in ${} that does not end")
			}
			i += length - 1
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i, nil
			}
			depth--
		}
	}
	return 0, errors.New("has a ${ that no } ends")
}

// textLength is the length of the quoted text that s begins with, or -1.
func textLength(s string, raw bool) int {
	quote := s[:1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s, triple) {
		quote = triple
	}
	for i := len(quote); i < len(s); i++ {
		if s[i] == '\\' && !raw {
			i++
			continue
		}
		if strings.HasPrefix(s[i:], quote) {
			return i + len(quote)
		}
	}
	return -1
}

func (t *template) expand(sc *Scope) (string, error) {
	if len(t.parts) == 1 && t.parts[0].expr == nil {
		return t.parts[0].text, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		value, err := p.expr.eval(sc)
		if err != nil {
			return "", fmt.Errorf("template %q: ${%s}: %w", shorten(t.source), p.expr.source, err)
		}
		text, err := format(value)
		if err != nil {
			return "", fmt.Errorf("template %q: ${%s} %w", shorten(t.source), p.expr.source, err)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}
