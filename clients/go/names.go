package taraexport

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"google.golang.org/grpc/codes"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Checks of names in responses. clients/README.md defines the rules; clients/hostile-server.json has
// examples that every client accepts or rejects.

const (
	maxSegmentBytes = 255
	maxFolderBytes  = 227
	maxPathBytes    = 600
	// Maximum number of characters of a quoted text.
	maxQuoted = 200
	// The only file of a bundle that the manifest does not list.
	manifestPath = "manifest.json"
)

var (
	exportName = regexp.MustCompile(`\Aexports/[0-9A-Za-z-]{1,64}\z`)
	uploadName = regexp.MustCompile(`\Auploads/[0-9A-Za-z-]{1,64}\z`)
	deviceName = regexp.MustCompile(`(?i)\A(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])\z`)
)

// CheckFileName returns an error unless a text from the server is a valid file or folder name on every
// system. Check a text, such as [Result.FolderName], before using it as a file name: names in adopted
// bundles may have a special meaning on this system.
func CheckFileName(name string) error {
	if violation := fileNameViolation(name); violation != "" {
		return fmt.Errorf("cannot use %s as a file name: it %s", quoted(name), violation)
	}
	return nil
}

// Printable makes a text from the server safe to print on a terminal: it escapes control characters and
// characters that are invisible or reorder text as \u{1b}.
func Printable(text string) string {
	if !strings.ContainsFunc(text, isUnprintable) {
		return text
	}
	var printable strings.Builder
	for _, character := range text {
		if isUnprintable(character) {
			fmt.Fprintf(&printable, `\u{%x}`, character)
		} else {
			printable.WriteRune(character)
		}
	}
	return printable.String()
}

func isUnprintable(character rune) bool {
	return unicode.IsControl(character) || isMisleading(character)
}

// isMisleading reports whether a character is invisible, ends a line or reorders text.
func isMisleading(character rune) bool {
	switch {
	case character == 0x61c, character == 0x200e, character == 0x200f, character == 0xfeff:
		return true
	default:
		return 0x2028 <= character && character <= 0x202e || 0x2066 <= character && character <= 0x2069
	}
}

// The following functions return the violated rule, or "" if the name is valid.

func fileNameViolation(name string) string {
	if violation := segmentViolation(name); violation != "" {
		return violation
	}
	stem, _, _ := strings.Cut(name, ".")
	switch {
	case strings.HasSuffix(name, "."), strings.HasSuffix(name, " "):
		return "ends with a dot or a space"
	case strings.ContainsAny(name, `<>:"|?*`):
		return `contains one of the characters < > : " | ? *`
	case deviceName.MatchString(strings.TrimRight(stem, " ")):
		return "is a Windows device name"
	case strings.ContainsFunc(name, isMisleading):
		return "contains a character that is invisible or reorders text"
	default:
		return ""
	}
}

func segmentViolation(segment string) string {
	isSeparator := func(character rune) bool {
		return character == '/' || character == '\\' || unicode.IsControl(character)
	}
	switch {
	case segment == "":
		return "is empty"
	case len(segment) > maxSegmentBytes:
		return "is longer than 255 bytes"
	case strings.HasPrefix(segment, "."):
		return "starts with a dot"
	case strings.ContainsFunc(segment, isSeparator):
		return "contains a slash, a backslash or a control character"
	default:
		return ""
	}
}

func folderViolation(name string) string {
	if len(name) > maxFolderBytes {
		return "is longer than 227 bytes"
	}
	return segmentViolation(name)
}

func pathViolation(path string) string {
	if len(path) > maxPathBytes {
		return "is longer than 600 bytes"
	}
	for segment := range strings.SplitSeq(path, "/") {
		if violation := segmentViolation(segment); violation != "" {
			return violation
		}
	}
	return ""
}

func linkViolation(uri string) string {
	if strings.ContainsFunc(uri, func(character rune) bool { return character == ' ' || isUnprintable(character) }) {
		return "contains a space or a control character"
	}
	address, err := url.Parse(uri)
	if err != nil || address.Hostname() == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return "is not an http or https URL"
	}
	return ""
}

// quoted quotes a text from the server for a message.
func quoted(text string) string {
	if characters := []rune(text); len(characters) > maxQuoted {
		text = string(characters[:maxQuoted]) + "…"
	}
	return `"` + Printable(text) + `"`
}

// untrusted is the error for a response that no tara-export server sends to a request for name.
func untrusted(name, problem string, values ...any) *Error {
	message := fmt.Sprintf("cannot use the server's response for %s: %s; check the server's address, and that no "+
		"other program is listening there", Printable(name), fmt.Sprintf(problem, values...))
	return &Error{Code: codes.Internal, Reason: ReasonUntrustedResponse, Message: message}
}

func checkSameExport(requestedName, name string) *Error {
	// Servers return names in lower case, regardless of the case in the request.
	if name != strings.ToLower(requestedName) {
		return untrusted(requestedName, "name %s belongs to another export", quoted(name))
	}
	return nil
}

// checkExport checks a response to a request for requestedName.
func checkExport(export *exportv1.Export, requestedName string) *Error {
	if failure := checkSameExport(requestedName, export.GetName()); failure != nil {
		return failure
	}
	return checkContents(export)
}

// checkListed checks an export of a list.
func checkListed(export *exportv1.Export) *Error {
	if !exportName.MatchString(export.GetName()) {
		return untrusted("a list of exports", "name %s is not an export name", quoted(export.GetName()))
	}
	return checkContents(export)
}

// checkListedEvent checks an event of a list. An event that belongs to no export has no name.
func checkListedEvent(event *exportv1.Event) *Error {
	if export := event.GetExport(); export != "" && !exportName.MatchString(export) {
		return untrusted("a list of events", "export %s is not an export name", quoted(export))
	}
	return nil
}

func checkContents(export *exportv1.Export) *Error {
	if folder := export.GetFolderName(); folder != "" {
		if violation := folderViolation(folder); violation != "" {
			return untrusted(export.GetName(), "folder_name %s %s", quoted(folder), violation)
		}
	}
	paths := map[string]bool{manifestPath: true}
	for _, artifact := range export.GetArtifacts() {
		violation := pathViolation(artifact.GetPath())
		switch {
		case violation != "":
		case paths[artifact.GetPath()]:
			violation = "occurs twice"
		case artifact.GetSizeBytes() < 0:
			violation = "has a negative size"
		}
		if violation != "" {
			return untrusted(export.GetName(), "path %s in artifacts %s", quoted(artifact.GetPath()), violation)
		}
		paths[artifact.GetPath()] = true
	}
	return nil
}

// checkEvent checks an event of the requested export.
func checkEvent(event *exportv1.ExportEvent, requestedName string) *Error {
	if failure := checkSameExport(requestedName, event.GetName()); failure != nil {
		return failure
	}
	if completed := event.GetCompleted(); completed != nil {
		return checkExport(completed.GetExport(), requestedName)
	}
	if storedUnder := event.GetFailed().GetStoredUnder(); storedUnder != "" && !exportName.MatchString(storedUnder) {
		return untrusted(requestedName, "stored_under %s is not an export name", quoted(storedUnder))
	}
	return nil
}

// checkBatch checks a batch with its items.
func checkBatch(batch *exportv1.Batch, requestedName string) *Error {
	if batch.GetName() != strings.ToLower(requestedName) {
		return untrusted(requestedName, "name %s belongs to another batch", quoted(batch.GetName()))
	}
	for _, item := range batch.GetItems() {
		if failure := checkBatchItem(item, requestedName); failure != nil {
			return failure
		}
	}
	return nil
}

// checkBatchStep checks a step of the requested batch.
func checkBatchStep(step *exportv1.WatchBatchResponse, requestedName string) *Error {
	if item := step.GetItem(); item != nil {
		return checkBatchItem(item, requestedName)
	}
	if ended := step.GetEnded(); ended != nil {
		return checkBatch(ended, requestedName)
	}
	return nil
}

func checkBatchItem(item *exportv1.BatchItem, requestedName string) *Error {
	if item.GetIndex() < 0 {
		return untrusted(requestedName, "index %d is negative", item.GetIndex())
	}
	if !exportName.MatchString(item.GetExport()) {
		return untrusted(requestedName, "export %s is not an export name", quoted(item.GetExport()))
	}
	if storedUnder := item.GetStoredUnder(); storedUnder != "" && !exportName.MatchString(storedUnder) {
		return untrusted(requestedName, "stored_under %s is not an export name", quoted(storedUnder))
	}
	return nil
}

// checkArtifact checks that the artifact describes the requested file.
func checkArtifact(artifact *exportv1.Artifact, exportName, requestedPath string) *Error {
	if artifact.GetPath() != requestedPath {
		return untrusted(exportName, "path %s is not the requested %s", quoted(artifact.GetPath()), quoted(requestedPath))
	}
	if artifact.GetSizeBytes() < 0 {
		return untrusted(exportName, "size_bytes %d of %s is negative", artifact.GetSizeBytes(), quoted(requestedPath))
	}
	return nil
}

// checkArchive checks that the archive has a folder name with the extension .zip.
func checkArchive(archive *exportv1.BundleArchive, exportName string) *Error {
	violation := "is not a ZIP file name"
	if folder, isArchive := strings.CutSuffix(archive.GetFileName(), ".zip"); isArchive {
		violation = folderViolation(folder)
	}
	if violation != "" {
		return untrusted(exportName, "file_name %s %s", quoted(archive.GetFileName()), violation)
	}
	return nil
}

// checkUpload checks an upload of this size, which has the requested name unless that is empty.
func checkUpload(upload *exportv1.Upload, requestedName string, sizeBytes int64) *Error {
	subject := requestedName
	if subject == "" {
		subject = "a new upload"
	}
	name, committed := upload.GetName(), upload.GetCommittedSizeBytes()
	switch {
	case !uploadName.MatchString(name):
		return untrusted(subject, "name %s is not an upload name", quoted(name))
	case requestedName != "" && name != requestedName:
		return untrusted(subject, "name %s belongs to another upload", quoted(name))
	case committed < 0 || committed > sizeBytes:
		return untrusted(subject, "committed_size_bytes %d is not between 0 and %d", committed, sizeBytes)
	case upload.GetChunkSizeBytes() < 0:
		return untrusted(subject, "chunk_size_bytes %d is negative", upload.GetChunkSizeBytes())
	default:
		return nil
	}
}
