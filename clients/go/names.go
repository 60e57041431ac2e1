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

// Checks of what a server names. clients/README.md has the rules, and clients/hostile-server.json names
// that every client accepts or refuses.

const (
	maxPartBytes   = 255
	maxFolderBytes = 227
	maxPathBytes   = 600
	// The most characters of a server's text in a message.
	maxQuoted = 200
	// The file that no manifest lists.
	manifestPath = "manifest.json"
)

var (
	exportName = regexp.MustCompile(`\Aexports/[0-9A-Za-z-]{1,64}\z`)
	uploadName = regexp.MustCompile(`\Auploads/[0-9A-Za-z-]{1,64}\z`)
	deviceName = regexp.MustCompile(`(?i)\A(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])\z`)
)

// CheckFileName returns an error where a server's text can't be the name of a file or folder on some
// system. Check it before the text becomes such a name, for example [Result.FolderName]: names in adopted
// bundles may mean something else on this system.
func CheckFileName(name string) error {
	if violation := fileNameViolation(name); violation != "" {
		return fmt.Errorf("cannot name a file %s: it %s", quoted(name), violation)
	}
	return nil
}

// Printable is a server's text, safe to print on a terminal: control characters, which a terminal obeys,
// and characters that reorder text are escaped as \u{1b}.
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

// isMisleading tells whether a character is invisible, ends a line or changes the order of others.
func isMisleading(character rune) bool {
	switch {
	case character == 0x61c, character == 0x200e, character == 0x200f, character == 0xfeff:
		return true
	default:
		return 0x2028 <= character && character <= 0x202e || 0x2066 <= character && character <= 0x2069
	}
}

// The violated rule; empty if there is none.

func fileNameViolation(name string) string {
	if violation := partViolation(name); violation != "" {
		return violation
	}
	stem, _, _ := strings.Cut(name, ".")
	switch {
	case strings.HasSuffix(name, "."), strings.HasSuffix(name, " "):
		return "ends with a dot or a space"
	case strings.ContainsAny(name, `<>:"|?*`):
		return `has one of the characters < > : " | ? *`
	case deviceName.MatchString(strings.TrimRight(stem, " ")):
		return "is the name of a device on Windows"
	case strings.ContainsFunc(name, isMisleading):
		return "has a character that is invisible or changes the order of the others"
	default:
		return ""
	}
}

func partViolation(part string) string {
	isSeparator := func(character rune) bool {
		return character == '/' || character == '\\' || unicode.IsControl(character)
	}
	switch {
	case part == "":
		return "is empty"
	case len(part) > maxPartBytes:
		return "is longer than 255 bytes"
	case strings.HasPrefix(part, "."):
		return "starts with a dot"
	case strings.ContainsFunc(part, isSeparator):
		return "has a slash, a backslash or a control character"
	default:
		return ""
	}
}

func folderViolation(name string) string {
	if len(name) > maxFolderBytes {
		return "is longer than 227 bytes"
	}
	return partViolation(name)
}

func pathViolation(path string) string {
	if len(path) > maxPathBytes {
		return "is longer than 600 bytes"
	}
	for part := range strings.SplitSeq(path, "/") {
		if violation := partViolation(part); violation != "" {
			return violation
		}
	}
	return ""
}

func linkViolation(uri string) string {
	if strings.ContainsFunc(uri, func(character rune) bool { return character == ' ' || isUnprintable(character) }) {
		return "has a space or a control character"
	}
	address, err := url.Parse(uri)
	if err != nil || address.Hostname() == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return "is not an http or https URL"
	}
	return ""
}

// quoted is a server's text in a message.
func quoted(text string) string {
	if characters := []rune(text); len(characters) > maxQuoted {
		text = string(characters[:maxQuoted]) + "…"
	}
	return `"` + Printable(text) + `"`
}

// untrusted is the error of an answer that no right server gives to a request for name.
func untrusted(name, problem string, values ...any) *Error {
	message := fmt.Sprintf("cannot use the server's answer for %s: %s; check the server's address, and that no "+
		"other program answers there", Printable(name), fmt.Sprintf(problem, values...))
	return &Error{Code: codes.Internal, Reason: ReasonUntrusted, Message: message}
}

func checkSameExport(askedName, name string) *Error {
	// Servers answer in lower case, whatever case a request has.
	if name != strings.ToLower(askedName) {
		return untrusted(askedName, "name %s is of another export", quoted(name))
	}
	return nil
}

// checkExport checks the export that was asked for.
func checkExport(export *exportv1.Export, askedName string) *Error {
	if failure := checkSameExport(askedName, export.GetName()); failure != nil {
		return failure
	}
	return checkContents(export)
}

// checkListed checks an export of a list.
func checkListed(export *exportv1.Export) *Error {
	if !exportName.MatchString(export.GetName()) {
		return untrusted("a list of exports", "name %s is not the name of an export", quoted(export.GetName()))
	}
	return checkContents(export)
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
			violation = "is there twice"
		case artifact.GetSizeBytes() < 0:
			violation = "has a size below 0"
		}
		if violation != "" {
			return untrusted(export.GetName(), "path %s in artifacts %s", quoted(artifact.GetPath()), violation)
		}
		paths[artifact.GetPath()] = true
	}
	return nil
}

// checkEvent checks an event of the export that was asked for.
func checkEvent(event *exportv1.ExportEvent, askedName string) *Error {
	if failure := checkSameExport(askedName, event.GetName()); failure != nil {
		return failure
	}
	if completed := event.GetCompleted(); completed != nil {
		return checkExport(completed.GetExport(), askedName)
	}
	if keptAs := event.GetFailed().GetKeptAs(); keptAs != "" && !exportName.MatchString(keptAs) {
		return untrusted(askedName, "kept_as %s is not the name of an export", quoted(keptAs))
	}
	return nil
}

// checkArtifact checks the description of the file that was asked for.
func checkArtifact(artifact *exportv1.Artifact, exportName, askedPath string) *Error {
	if artifact.GetPath() != askedPath {
		return untrusted(exportName, "path %s is not the requested %s", quoted(artifact.GetPath()), quoted(askedPath))
	}
	if artifact.GetSizeBytes() < 0 {
		return untrusted(exportName, "size_bytes %d of %s is below 0", artifact.GetSizeBytes(), quoted(askedPath))
	}
	return nil
}

// checkArchive checks the description of a bundle's ZIP file, which is named as a folder.
func checkArchive(archive *exportv1.BundleArchive, exportName string) *Error {
	violation := "is not the name of a ZIP file"
	if folder, isArchive := strings.CutSuffix(archive.GetFileName(), ".zip"); isArchive {
		violation = folderViolation(folder)
	}
	if violation != "" {
		return untrusted(exportName, "file_name %s %s", quoted(archive.GetFileName()), violation)
	}
	return nil
}

// checkUpload checks the upload that was asked for, or any if askedName is empty, of a document of this size.
func checkUpload(upload *exportv1.Upload, askedName string, sizeBytes int64) *Error {
	of := askedName
	if of == "" {
		of = "a new upload"
	}
	name, committed := upload.GetName(), upload.GetCommittedSizeBytes()
	switch {
	case !uploadName.MatchString(name):
		return untrusted(of, "name %s is not the name of an upload", quoted(name))
	case askedName != "" && name != askedName:
		return untrusted(of, "name %s is of another upload", quoted(name))
	case committed < 0 || committed > sizeBytes:
		return untrusted(of, "committed_size_bytes %d is not between 0 and %d", committed, sizeBytes)
	case upload.GetChunkSizeBytes() < 0:
		return untrusted(of, "chunk_size_bytes %d is below 0", upload.GetChunkSizeBytes())
	default:
		return nil
	}
}
