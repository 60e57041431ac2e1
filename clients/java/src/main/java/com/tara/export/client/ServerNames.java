package com.tara.export.client;

import com.tara.export.v1.Artifact;
import com.tara.export.v1.Batch;
import com.tara.export.v1.BatchItem;
import com.tara.export.v1.BundleArchive;
import com.tara.export.v1.Event;
import com.tara.export.v1.Export;
import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.Upload;
import com.tara.export.v1.WatchBatchResponse;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntPredicate;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Checks of names in responses: exports, uploads, folders, files and links. {@code
 * clients/README.md} defines the rules; {@code clients/hostile-server.json} has examples that every
 * client accepts or rejects.
 */
public final class ServerNames {
  private static final int MAX_SEGMENT_BYTES = 255;
  private static final int MAX_FOLDER_BYTES = 227;
  private static final int MAX_PATH_BYTES = 600;

  /** Maximum number of characters of a quoted text. */
  private static final int MAX_QUOTED = 200;

  /** The only file of a bundle that the manifest does not list. */
  private static final String MANIFEST = "manifest.json";

  private static final String ARCHIVE_SUFFIX = ".zip";
  private static final Pattern EXPORT = Pattern.compile("exports/[0-9A-Za-z-]{1,64}");
  private static final Pattern UPLOAD = Pattern.compile("uploads/[0-9A-Za-z-]{1,64}");
  private static final Pattern DEVICE =
      Pattern.compile(
          "(CON|PRN|AUX|NUL|CONIN\\$|CONOUT\\$|(COM|LPT)[0-9¹²³]) *(\\..*)?",
          Pattern.CASE_INSENSITIVE | Pattern.DOTALL);

  private ServerNames() {}

  /**
   * Returns why a text from the server is not a valid file or folder name on every system; empty if
   * it is valid. Check a text with this before using it as a file name: names in adopted bundles
   * may have a special meaning on this system.
   */
  public static Optional<String> fileNameViolation(String name) {
    Optional<String> violation = segmentViolation(name);
    if (violation.isPresent()) {
      return violation;
    } else if (name.endsWith(".") || name.endsWith(" ")) {
      return Optional.of("ends with a dot or a space");
    } else if (name.chars().anyMatch(character -> "<>:\"|?*".indexOf(character) >= 0)) {
      return Optional.of("contains one of the characters < > : \" | ? *");
    } else if (DEVICE.matcher(name).matches()) {
      return Optional.of("is a Windows device name");
    } else if (name.chars().anyMatch(ServerNames::isMisleading)) {
      return Optional.of("contains a character that is invisible or reorders text");
    }
    return Optional.empty();
  }

  /**
   * Makes a text from the server safe to print on a terminal: escapes control characters and
   * characters that are invisible or reorder text as <code>&#92;u{1b}</code>.
   */
  public static String printable(String text) {
    StringBuilder printable = new StringBuilder(text.length());
    text.codePoints()
        .forEach(
            character -> {
              if (isUnprintable(character)) {
                printable.append("\\u{").append(Integer.toHexString(character)).append('}');
              } else {
                printable.appendCodePoint(character);
              }
            });
    return printable.toString();
  }

  /** Whether the character is a control character or misleading. */
  private static boolean isUnprintable(int character) {
    return Character.isISOControl(character) || isMisleading(character);
  }

  /** Whether the character is invisible, ends a line or reorders text. */
  private static boolean isMisleading(int character) {
    return switch (character) {
      case 0x61c, 0x200e, 0x200f, 0xfeff -> true;
      default ->
          (0x2028 <= character && character <= 0x202e)
              || (0x2066 <= character && character <= 0x2069);
    };
  }

  /** Returns why the text is not a valid path segment; empty if it is valid. */
  static Optional<String> segmentViolation(String segment) {
    return segmentViolation(segment, MAX_SEGMENT_BYTES);
  }

  private static Optional<String> segmentViolation(String segment, int maxBytes) {
    IntPredicate isSeparator =
        character -> character == '/' || character == '\\' || Character.isISOControl(character);
    if (segment.isEmpty()) {
      return Optional.of("is empty");
    } else if (bytesOf(segment) > maxBytes) {
      return Optional.of("is longer than " + maxBytes + " bytes");
    } else if (segment.startsWith(".")) {
      return Optional.of("starts with a dot");
    } else if (segment.chars().anyMatch(isSeparator)) {
      return Optional.of("contains a slash, a backslash or a control character");
    }
    return Optional.empty();
  }

  /** Returns why the text is not a valid bundle folder name; empty if it is valid. */
  static Optional<String> folderViolation(String name) {
    return segmentViolation(name, MAX_FOLDER_BYTES);
  }

  /** Returns why the text is not a valid path of a file in a bundle; empty if it is valid. */
  static Optional<String> pathViolation(String path) {
    if (bytesOf(path) > MAX_PATH_BYTES) {
      return Optional.of("is longer than " + MAX_PATH_BYTES + " bytes");
    }
    return Stream.of(path.split("/", -1))
        .flatMap(segment -> segmentViolation(segment).stream())
        .findFirst();
  }

  /** Returns why the text is not a valid download link; empty if it is valid. */
  static Optional<String> linkViolation(String uri) {
    if (uri.chars().anyMatch(character -> character == ' ' || isUnprintable(character))) {
      return Optional.of("contains a space or a control character");
    }
    try {
      URI link = new URI(uri);
      boolean isHttp = "http".equals(link.getScheme()) || "https".equals(link.getScheme());
      if (isHttp && link.getRawAuthority() != null) {
        return Optional.empty();
      }
    } catch (URISyntaxException broken) {
      // Reported below.
    }
    return Optional.of("is not an http or https URL");
  }

  /** Throws unless the link is valid. */
  static void checkLink(String uri, String exportName) {
    Optional<String> violation = linkViolation(uri);
    if (violation.isPresent()) {
      throw TaraExportException.untrusted(exportName, "uri " + quoted(uri) + " " + violation.get());
    }
  }

  private static int bytesOf(String text) {
    return text.getBytes(StandardCharsets.UTF_8).length;
  }

  /** Quotes a text from the server for a message. */
  private static String quoted(String text) {
    String shown = text.length() > MAX_QUOTED ? text.substring(0, MAX_QUOTED) + "…" : text;
    return '"' + printable(shown) + '"';
  }

  private static void checkSameExport(String requestedName, String name) {
    // Servers return names in lower case, regardless of the case in the request.
    if (!name.equals(requestedName.toLowerCase(Locale.ROOT))) {
      throw TaraExportException.untrusted(
          requestedName, "name " + quoted(name) + " belongs to another export");
    }
  }

  /** Returns the export if it is a valid response to a request for {@code requestedName}. */
  static Export checkedExport(Export export, String requestedName) {
    checkSameExport(requestedName, export.getName());
    checkContents(export);
    return export;
  }

  /** Throws unless the export is valid in a list. */
  static void checkListed(Export export) {
    if (!EXPORT.matcher(export.getName()).matches()) {
      throw TaraExportException.untrusted(
          "a list of exports", "name " + quoted(export.getName()) + " is not an export name");
    }
    checkContents(export);
  }

  /** Throws unless the event is valid in a list. An event that belongs to no export has no name. */
  static void checkListedEvent(Event event) {
    String export = event.getExport();
    if (!export.isEmpty() && !EXPORT.matcher(export).matches()) {
      throw TaraExportException.untrusted(
          "a list of events", "export " + quoted(export) + " is not an export name");
    }
  }

  /** Throws unless this is the requested batch, with valid items. */
  static void checkBatch(Batch batch, String requestedName) {
    if (!batch.getName().equals(requestedName.toLowerCase(Locale.ROOT))) {
      throw TaraExportException.untrusted(
          requestedName, "name " + quoted(batch.getName()) + " belongs to another batch");
    }
    batch.getItemsList().forEach(item -> checkBatchItem(item, requestedName));
  }

  /** Throws unless this is a valid step of the requested batch. */
  static void checkBatchStep(WatchBatchResponse step, String requestedName) {
    if (step.hasItem()) {
      checkBatchItem(step.getItem(), requestedName);
    } else if (step.hasEnded()) {
      checkBatch(step.getEnded(), requestedName);
    }
  }

  private static void checkBatchItem(BatchItem item, String requestedName) {
    String storedUnder = item.getStoredUnder();
    if (item.getIndex() < 0) {
      throw TaraExportException.untrusted(
          requestedName, "index " + item.getIndex() + " is negative");
    }
    if (!EXPORT.matcher(item.getExport()).matches()) {
      throw TaraExportException.untrusted(
          requestedName, "export " + quoted(item.getExport()) + " is not an export name");
    }
    if (!storedUnder.isEmpty() && !EXPORT.matcher(storedUnder).matches()) {
      throw TaraExportException.untrusted(
          requestedName, "stored_under " + quoted(storedUnder) + " is not an export name");
    }
  }

  private static void checkContents(Export export) {
    String folder = export.getFolderName();
    Optional<String> ofFolder = folder.isEmpty() ? Optional.empty() : folderViolation(folder);
    if (ofFolder.isPresent()) {
      throw TaraExportException.untrusted(
          export.getName(), "folder_name " + quoted(folder) + " " + ofFolder.get());
    }
    Set<String> paths = new HashSet<>(Set.of(MANIFEST));
    for (Artifact artifact : export.getArtifactsList()) {
      Optional<String> violation = pathViolation(artifact.getPath());
      if (violation.isEmpty() && !paths.add(artifact.getPath())) {
        violation = Optional.of("occurs twice");
      }
      if (violation.isEmpty() && artifact.getSizeBytes() < 0) {
        violation = Optional.of("has a negative size");
      }
      if (violation.isPresent()) {
        String path = quoted(artifact.getPath());
        throw TaraExportException.untrusted(
            export.getName(), "path " + path + " in artifacts " + violation.get());
      }
    }
  }

  /** Throws unless the event is a valid event of the requested export. */
  static void checkEvent(ExportEvent event, String requestedName) {
    checkSameExport(requestedName, event.getName());
    String storedUnder = event.getFailed().getStoredUnder();
    if (event.hasCompleted()) {
      checkedExport(event.getCompleted().getExport(), requestedName);
    } else if (!storedUnder.isEmpty() && !EXPORT.matcher(storedUnder).matches()) {
      throw TaraExportException.untrusted(
          requestedName, "stored_under " + quoted(storedUnder) + " is not an export name");
    }
  }

  /** Returns the artifact if it describes the requested file. */
  static Artifact checkedArtifact(Artifact artifact, String exportName, String requestedPath) {
    String path = artifact.getPath();
    if (!path.equals(requestedPath)) {
      throw TaraExportException.untrusted(
          exportName, "path " + quoted(path) + " is not the requested " + quoted(requestedPath));
    }
    if (artifact.getSizeBytes() < 0) {
      throw TaraExportException.untrusted(
          exportName,
          "size_bytes " + artifact.getSizeBytes() + " of " + quoted(path) + " is negative");
    }
    return artifact;
  }

  /** Returns the archive if it has a folder name with the extension {@code .zip}. */
  static BundleArchive checkedArchive(BundleArchive archive, String exportName) {
    String name = archive.getFileName();
    Optional<String> violation = Optional.of("is not a ZIP file name");
    if (name.endsWith(ARCHIVE_SUFFIX)) {
      violation = folderViolation(name.substring(0, name.length() - ARCHIVE_SUFFIX.length()));
    }
    if (violation.isPresent()) {
      throw TaraExportException.untrusted(
          exportName, "file_name " + quoted(name) + " " + violation.get());
    }
    return archive;
  }

  /** Returns the upload if it is valid. An empty {@code requestedName} matches any name. */
  static Upload checkedUpload(Upload upload, String requestedName, long sizeBytes) {
    String name = upload.getName();
    long committed = upload.getCommittedSizeBytes();
    String problem = null;
    if (!UPLOAD.matcher(name).matches()) {
      problem = "name " + quoted(name) + " is not an upload name";
    } else if (!requestedName.isEmpty() && !name.equals(requestedName)) {
      problem = "name " + quoted(name) + " belongs to another upload";
    } else if (committed < 0 || committed > sizeBytes) {
      problem = "committed_size_bytes " + committed + " is not between 0 and " + sizeBytes;
    } else if (upload.getChunkSizeBytes() < 0) {
      problem = "chunk_size_bytes " + upload.getChunkSizeBytes() + " is negative";
    }
    if (problem != null) {
      throw TaraExportException.untrusted(
          requestedName.isEmpty() ? "a new upload" : requestedName, problem);
    }
    return upload;
  }
}
