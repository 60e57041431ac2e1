package taraexport

import (
	"crypto/sha256"
	"testing"
)

func TestRequestIDIsTheSameInEveryClient(t *testing.T) {
	digest := sha256.Sum256([]byte("abc"))
	if id := requestIDOf(digest[:]); id != "ba7816bf-8f01-8fea-8141-40de5dae2223" {
		t.Error(id)
	}
}
