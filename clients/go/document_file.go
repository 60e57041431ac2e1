package taraexport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	// Files up to this size are read at once: the system may report another size than the file has, such as
	// 0 for files of /proc.
	smallBytes = 1024 * 1024
	// The most that a file may have that reports at most smallBytes.
	maxSmallBytes = 64 * 1024 * 1024
)

// openDocument opens a plain file, or a link to one, and fails for anything else. The caller calls close.
func openDocument(path string) (content Content, close func() error, err error) {
	// Checked before: to open a pipe can wait for its writer, and to open a device can have an effect.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if err := checkPlain(path, info); err != nil {
		return nil, nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	content, err = documentContent(file)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return content, file.Close, nil
}

func documentContent(file *os.File) (Content, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkPlain(file.Name(), info); err != nil {
		return nil, err
	}
	if info.Size() > smallBytes {
		return &fileContent{file, info.Size()}, nil
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSmallBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSmallBytes {
		return nil, fileError(file.Name(), fmt.Sprintf("it has more than %d bytes", maxSmallBytes))
	}
	return bytes.NewReader(data), nil
}

// fileContent is a file of a fixed size.
type fileContent struct {
	file *os.File
	size int64
}

// Size returns the size of the file when it was opened.
func (content *fileContent) Size() int64 { return content.size }

// ReadAt reads from the file. It fails if the file changed its size.
func (content *fileContent) ReadAt(piece []byte, offset int64) (int, error) {
	read, err := content.file.ReadAt(piece, offset)
	info, failed := content.file.Stat()
	if failed != nil {
		return read, failed
	}
	if info.Size() != content.size {
		message := fmt.Sprintf("it changed from %d to %d bytes while it was read; send it again when it is complete",
			content.size, info.Size())
		return read, fileError(content.file.Name(), message)
	}
	return read, err
}

func checkPlain(path string, info fs.FileInfo) error {
	kind := ""
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "a folder"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	default:
		kind = "a device"
	}
	return fileError(path, "it is "+kind+", not a plain file; copy its content to a file first")
}

func fileError(path, message string) error {
	return &fs.PathError{Op: "read", Path: path, Err: errors.New(message)}
}
