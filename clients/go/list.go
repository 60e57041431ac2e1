package taraexport

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// ListExports lists exports, newest first. Pages are fetched on demand. The request has the filter, the
// page size and the start; nil lists all. An error ends the iteration.
func (client *Client) ListExports(
	ctx context.Context, request *exportv1.ListExportsRequest,
) iter.Seq2[*exportv1.Export, error] {
	return func(yield func(*exportv1.Export, error) bool) {
		next := &exportv1.ListExportsRequest{}
		proto.Merge(next, request)
		for {
			page, err := unary(ctx, client.service.ListExports, next)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, export := range page.GetExports() {
				if failure := checkListed(export); failure != nil {
					yield(nil, failure)
					return
				}
				if !yield(export, nil) {
					return
				}
			}
			if next.PageToken = page.GetNextPageToken(); next.PageToken == "" {
				return
			}
		}
	}
}
