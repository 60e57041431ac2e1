package com.tara.export.client;

import com.tara.export.v1.Destination;
import com.tara.export.v1.Export;

/**
 * A complete bundle.
 *
 * @param export the complete message of the server, with the artifacts
 */
public record ExportResult(Export export) {
  /** exports/{export_id}. */
  public String name() {
    return export.getName();
  }

  /** s3://bucket/base/folder/, or a path on the server's disk. */
  public String location() {
    return export.getLocation();
  }

  /** Name of the bundle's folder. */
  public String folderName() {
    return export.getFolderName();
  }

  /** The store that contains the bundle now. */
  public Destination storedIn() {
    return export.getStoredIn();
  }

  /**
   * Whether the bundle fell back to the server's disk because S3 failed. The server syncs it to S3
   * later.
   */
  public boolean fellBack() {
    return export.getState() == Export.State.STATE_FELL_BACK;
  }

  /** Number of artifacts, without the manifest. */
  public int artifactCount() {
    return export.getArtifactCount();
  }

  /** Total size of the artifacts. */
  public long sizeBytes() {
    return export.getSizeBytes();
  }

  /** SHA-256 of manifest.json. Keep it to prove later that the bundle is unchanged. */
  public String manifestSha256() {
    return export.getManifestSha256();
  }
}
