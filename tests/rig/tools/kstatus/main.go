// What Flux makes of an object's status: kstatus, of the library that Flux is built with. Reads objects as JSON, one a
// line, and writes for each one line of JSON with its status and message.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	answers := json.NewEncoder(out)
	for number := 1; lines.Scan(); number++ {
		object := &unstructured.Unstructured{}
		// Its own decoder tells integers from other numbers, which kstatus asks for.
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		result, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if err := answers.Encode(answer{result.Status.String(), result.Message}); err != nil {
			return err
		}
	}
	return lines.Err()
}
