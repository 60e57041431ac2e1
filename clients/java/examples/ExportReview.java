import com.google.protobuf.util.JsonFormat;
import com.tara.export.client.ExportOptions;
import com.tara.export.client.ExportResult;
import com.tara.export.client.ExportUpdate;
import com.tara.export.client.FieldViolation;
import com.tara.export.client.ServerNames;
import com.tara.export.client.TaraExportClient;
import com.tara.export.client.TaraExportException;
import com.tara.export.v1.Document;
import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.GetReportRequest;
import com.tara.export.v1.StartExportRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;

/**
 * Exports a review from a proto3 JSON file, shows the progress, and reads the report:
 *
 * <pre>mvn test-compile exec:java -Dexec.args="http://127.0.0.1:8080 ../../examples/request.json"
 * </pre>
 *
 * A third argument names a document of any size that is added as the guidelines.
 */
public final class ExportReview {
  private ExportReview() {}

  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 2) {
      System.err.println("usage: ExportReview SERVER REQUEST [DOCUMENT]");
      System.exit(2);
    }
    try (TaraExportClient client = TaraExportClient.connect(arguments[0])) {
      StartExportRequest.Builder request = StartExportRequest.newBuilder();
      JsonFormat.parser().merge(Files.readString(Path.of(arguments[1])), request);
      // The new id creates a new bundle on each run.
      request.setRequestId(UUID.randomUUID().toString());
      ExportOptions options = new ExportOptions().onUpdate(ExportReview::show);
      if (arguments.length > 2) {
        options.attach(Document.Kind.KIND_GUIDELINES, Path.of(arguments[2]));
      }
      ExportResult result = client.export(request.build(), options);
      System.out.printf(
          "%s: %d files, %d bytes in %s%n",
          result.name(),
          result.artifactCount(),
          result.sizeBytes(),
          ServerNames.printable(result.location()));
      client
          .getReport(result.name(), GetReportRequest.View.VIEW_TEXT)
          .getText()
          .lines()
          .limit(6)
          .map(ServerNames::printable)
          .forEach(System.out::println);
    } catch (TaraExportException failure) {
      System.err.println(failure.toString());
      for (FieldViolation violation : failure.fieldViolations()) {
        System.err.println(
            "  " + ServerNames.printable(violation.field() + ": " + violation.description()));
      }
      System.exit(1);
    }
  }

  private static void show(ExportUpdate update) {
    if (update instanceof ExportUpdate.Uploading upload) {
      System.out.printf(
          "uploading %s: %d of %d bytes%n",
          upload.fileName(), upload.doneBytes(), upload.sizeBytes());
    } else if (update instanceof ExportUpdate.Event received) {
      ExportEvent event = received.event();
      if (event.hasArtifactStored()) {
        System.out.printf(
            "stored %s (%d of %d)%n",
            ServerNames.printable(event.getArtifactStored().getPath()),
            event.getProgress().getArtifactsDone(),
            event.getProgress().getArtifactsTotal());
      } else if (event.hasFellBack()) {
        System.out.println(
            "fell back to the server's disk: "
                + ServerNames.printable(event.getFellBack().getMessage()));
      }
    }
  }
}
