// What Flux makes of an object's status: kstatus, of the library that Flux is built with. Reads objects as JSON, one a
// line, and writes for each one line of JSON with its status and message. With the argument -exprs, as in a
// Kustomization's healthCheckExprs, it judges by these instead, as Flux then does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type judge func(*unstructured.Unstructured) (*status.Result, error)

func main() {
	exprs := flag.String("exprs", "", "expressions to judge by, as JSON")
	flag.Parse()
	judge, err := judgeBy(*exprs)
	if err == nil {
		err = run(judge, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func judgeBy(text string) (judge, error) {
	if text == "" {
		return status.Compute, nil
	}
	var exprs kustomize.HealthCheckExpressions
	if err := json.Unmarshal([]byte(text), &exprs); err != nil {
		return nil, err
	}
	evaluator, err := cel.NewStatusEvaluator(&exprs)
	if err != nil {
		return nil, err
	}
	return func(object *unstructured.Unstructured) (*status.Result, error) {
		return evaluator.Evaluate(context.Background(), object)
	}, nil
}

func run(judge judge, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	answers := json.NewEncoder(out)
	for number := 1; lines.Scan(); number++ {
		object := &unstructured.Unstructured{}
		// Its own decoder tells integers from other numbers, which kstatus asks for.
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		result, err := judge(object)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if err := answers.Encode(answer{result.Status.String(), result.Message}); err != nil {
			return err
		}
	}
	return lines.Err()
}
