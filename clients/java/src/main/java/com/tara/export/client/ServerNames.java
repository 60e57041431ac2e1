package com.tara.export.client;

import com.tara.export.v1.Artifact;
import com.tara.export.v1.BundleArchive;
import com.tara.export.v1.Export;
import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.Upload;
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
 * Checks of what a server names: exports, uploads, folders, files and links. {@code
 * clients/README.md} has the rules, and {@code clients/hostile-server.json} names that every client
 * accepts or refuses.
 */
public final class ServerNames {
  private static final int MAX_PART_BYTES = 255;
  private static final int MAX_FOLDER_BYTES = 227;
  private static final int MAX_PATH_BYTES = 600;

  /** The most characters of a server's text in a message. */
  private static final int MAX_QUOTED = 200;

  /** The file that no manifest lists. */
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
   * Why a server's text can't be the name of a file or folder on some system; empty if it can.
   * Check this before the text becomes such a name: names in adopted bundles may mean something
   * else on this system.
   */
  public static Optional<String> fileNameViolation(String name) {
    Optional<String> violation = partViolation(name);
    if (violation.isPresent()) {
      return violation;
    } else if (name.endsWith(".") || name.endsWith(" ")) {
      return Optional.of("ends with a dot or a space");
    } else if (name.chars().anyMatch(character -> "<>:\"|?*".indexOf(character) >= 0)) {
      return Optional.of("has one of the characters < > : \" | ? *");
    } else if (DEVICE.matcher(name).matches()) {
      return Optional.of("is the name of a device on Windows");
    } else if (name.chars().anyMatch(ServerNames::isMisleading)) {
      return Optional.of("has a character that is invisible or changes the order of the others");
    }
    return Optional.empty();
  }

  /**
   * A server's text, safe to print on a terminal: control characters, which a terminal obeys, and
   * characters that reorder text are escaped as <code>&#92;u{1b}</code>.
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

  /** Whether a terminal obeys the character, or it is misleading. */
  private static boolean isUnprintable(int character) {
    return Character.isISOControl(character) || isMisleading(character);
  }

  /** Whether the character is invisible, ends a line or changes the order of others. */
  private static boolean isMisleading(int character) {
    return switch (character) {
      case 0x61c, 0x200e, 0x200f, 0xfeff -> true;
      default ->
          (0x2028 <= character && character <= 0x202e)
              || (0x2066 <= character && character <= 0x2069);
    };
  }

  /** Why no server sends the text as one part of a path; empty if one can. */
  static Optional<String> partViolation(String part) {
    return partViolation(part, MAX_PART_BYTES);
  }

  private static Optional<String> partViolation(String part, int maxBytes) {
    IntPredicate isSeparator =
        character -> character == '/' || character == '\\' || Character.isISOControl(character);
    if (part.isEmpty()) {
      return Optional.of("is empty");
    } else if (bytesOf(part) > maxBytes) {
      return Optional.of("is longer than " + maxBytes + " bytes");
    } else if (part.startsWith(".")) {
      return Optional.of("starts with a dot");
    } else if (part.chars().anyMatch(isSeparator)) {
      return Optional.of("has a slash, a backslash or a control character");
    }
    return Optional.empty();
  }

  /** Why no server sends the text as the name of a bundle's folder; empty if one can. */
  static Optional<String> folderViolation(String name) {
    return partViolation(name, MAX_FOLDER_BYTES);
  }

  /** Why no server sends the text as the path of a file in a bundle; empty if one can. */
  static Optional<String> pathViolation(String path) {
    if (bytesOf(path) > MAX_PATH_BYTES) {
      return Optional.of("is longer than " + MAX_PATH_BYTES + " bytes");
    }
    return Stream.of(path.split("/", -1)).flatMap(part -> partViolation(part).stream()).findFirst();
  }

  /** Why the text can't be a link to a file of a bundle; empty if it can. */
  static Optional<String> linkViolation(String uri) {
    if (uri.chars().anyMatch(character -> character == ' ' || isUnprintable(character))) {
      return Optional.of("has a space or a control character");
    }
    try {
      URI link = new URI(uri);
      boolean isHttp = "http".equals(link.getScheme()) || "https".equals(link.getScheme());
      if (isHttp && link.getRawAuthority() != null) {
        return Optional.empty();
      }
    } catch (URISyntaxException broken) {
      // It is no link, either.
    }
    return Optional.of("is not an http or https URL");
  }

  /** Throws unless this can be a link to a file of the export. */
  static void checkLink(String uri, String exportName) {
    Optional<String> violation = linkViolation(uri);
    if (violation.isPresent()) {
      throw TaraExportException.untrusted(exportName, "uri " + quoted(uri) + " " + violation.get());
    }
  }

  private static int bytesOf(String text) {
    return text.getBytes(StandardCharsets.UTF_8).length;
  }

  /** A server's text in a message. */
  private static String quoted(String text) {
    String shown = text.length() > MAX_QUOTED ? text.substring(0, MAX_QUOTED) + "…" : text;
    return '"' + printable(shown) + '"';
  }

  private static void checkSameExport(String askedName, String name) {
    // Servers answer in lower case, whatever case a request has.
    if (!name.equals(askedName.toLowerCase(Locale.ROOT))) {
      throw TaraExportException.untrusted(
          askedName, "name " + quoted(name) + " is of another export");
    }
  }

  /** The requested export, with names that a server can send. */
  static Export checkedExport(Export export, String askedName) {
    checkSameExport(askedName, export.getName());
    checkContents(export);
    return export;
  }

  /** An export of a list, with names that a server can send. */
  static void checkListed(Export export) {
    if (!EXPORT.matcher(export.getName()).matches()) {
      throw TaraExportException.untrusted(
          "a list of exports",
          "name " + quoted(export.getName()) + " is not the name of an export");
    }
    checkContents(export);
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
        violation = Optional.of("is there twice");
      }
      if (violation.isEmpty() && artifact.getSizeBytes() < 0) {
        violation = Optional.of("has a size below 0");
      }
      if (violation.isPresent()) {
        String path = quoted(artifact.getPath());
        throw TaraExportException.untrusted(
            export.getName(), "path " + path + " in artifacts " + violation.get());
      }
    }
  }

  /** An event of the requested export. */
  static void checkEvent(ExportEvent event, String askedName) {
    checkSameExport(askedName, event.getName());
    String keptAs = event.getFailed().getKeptAs();
    if (event.hasCompleted()) {
      checkedExport(event.getCompleted().getExport(), askedName);
    } else if (!keptAs.isEmpty() && !EXPORT.matcher(keptAs).matches()) {
      throw TaraExportException.untrusted(
          askedName, "kept_as " + quoted(keptAs) + " is not the name of an export");
    }
  }

  /** The description of the requested file. */
  static Artifact checkedArtifact(Artifact artifact, String exportName, String askedPath) {
    String path = artifact.getPath();
    if (!path.equals(askedPath)) {
      throw TaraExportException.untrusted(
          exportName, "path " + quoted(path) + " is not the requested " + quoted(askedPath));
    }
    if (artifact.getSizeBytes() < 0) {
      throw TaraExportException.untrusted(
          exportName,
          "size_bytes " + artifact.getSizeBytes() + " of " + quoted(path) + " is below 0");
    }
    return artifact;
  }

  /** The description of a bundle's ZIP file, which is named as a folder. */
  static BundleArchive checkedArchive(BundleArchive archive, String exportName) {
    String name = archive.getFileName();
    Optional<String> violation = Optional.of("is not the name of a ZIP file");
    if (name.endsWith(ARCHIVE_SUFFIX)) {
      violation = folderViolation(name.substring(0, name.length() - ARCHIVE_SUFFIX.length()));
    }
    if (violation.isPresent()) {
      throw TaraExportException.untrusted(
          exportName, "file_name " + quoted(name) + " " + violation.get());
    }
    return archive;
  }

  /** The requested upload, or any if {@code askedName} is empty, of a document of this size. */
  static Upload checkedUpload(Upload upload, String askedName, long sizeBytes) {
    String name = upload.getName();
    long committed = upload.getCommittedSizeBytes();
    String problem = null;
    if (!UPLOAD.matcher(name).matches()) {
      problem = "name " + quoted(name) + " is not the name of an upload";
    } else if (!askedName.isEmpty() && !name.equals(askedName)) {
      problem = "name " + quoted(name) + " is of another upload";
    } else if (committed < 0 || committed > sizeBytes) {
      problem = "committed_size_bytes " + committed + " is not between 0 and " + sizeBytes;
    } else if (upload.getChunkSizeBytes() < 0) {
      problem = "chunk_size_bytes " + upload.getChunkSizeBytes() + " is below 0";
    }
    if (problem != null) {
      throw TaraExportException.untrusted(
          askedName.isEmpty() ? "a new upload" : askedName, problem);
    }
    return upload;
  }
}
