package v1alpha1_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"theseus.dev/api/v1alpha1"
)

// schema is a part of an OpenAPI schema.
type schema map[string]any

func (s schema) at(keys ...string) schema {
	for _, key := range keys {
		s, _ = s[key].(map[string]any)
	}
	return s
}

// TestDurations: every time that a person can write has a rule in the CRD. One that Go cannot read, once stored, would take the list of all
// objects of its kind with it. Which times the rules take is tried in e2e/crd.
func TestDurations(t *testing.T) {
	for file, kind := range map[string]any{"clusters": v1alpha1.Cluster{}, "systems": v1alpha1.System{}, "backups": v1alpha1.Backup{}, "restores": v1alpha1.Restore{}} {
		text, err := os.ReadFile("../../config/crd/theseus.dev_" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		crd := schema{}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		version := schema(crd.at("spec")["versions"].([]any)[0].(map[string]any))
		if seen := ruled(t, file, reflect.TypeOf(kind), version.at("schema", "openAPIV3Schema")); seen == 0 && file != "restores" {
			t.Errorf("%s: no durations were found", file)
		}
	}
}

// ruled counts the durations of a type, and finds those without a rule.
func ruled(t *testing.T, path string, of reflect.Type, s schema) (seen int) {
	switch {
	case of == reflect.TypeFor[metav1.Duration]():
		if rules, _ := s["x-kubernetes-validations"].([]any); len(rules) == 0 {
			t.Errorf("%s: is a duration, and the CRD takes any text", path)
		}
		return 1
	case of.Kind() == reflect.Pointer:
		return ruled(t, path, of.Elem(), s)
	case of.Kind() == reflect.Slice:
		return ruled(t, path+".*", of.Elem(), s.at("items"))
	case of.Kind() == reflect.Map:
		return ruled(t, path+".*", of.Elem(), s.at("additionalProperties"))
	case of.Kind() != reflect.Struct || !strings.HasPrefix(of.PkgPath(), "theseus.dev/"):
		return 0
	}
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch name {
		case "status": // written by Theseus alone
		case "":
			seen += ruled(t, path, field.Type, s)
		default:
			seen += ruled(t, path+"."+name, field.Type, s.at("properties", name))
		}
	}
	return seen
}
