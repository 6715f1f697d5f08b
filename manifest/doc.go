// Package manifest turns files into checked objects: it reads Systems and
// Clusters strictly, fills in defaults and says what is wrong in the words of
// who wrote the file, with the line. The command and the webhook use it, so that
// a file means the same in both.
//
// Numbers and words are read as YAML 1.2 has them: "on" is a word, and a
// version that looks like a number must be quoted, as Kubernetes wants it too.
package manifest
