package com.tara.export.client;

import com.tara.export.v1.Destination;
import com.tara.export.v1.Export;

/**
 * A bundle that is whole.
 *
 * @param export everything the server says, with the artifacts
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

  /** The bundle's folder. */
  public String folderName() {
    return export.getFolderName();
  }

  /** Where the bundle is now. */
  public Destination storedIn() {
    return export.getStoredIn();
  }

  /**
   * Whether S3 was asked for and could not take the bundle: it is on the server's disk, and goes to
   * S3 by itself.
   */
  public boolean fellBack() {
    return export.getState() == Export.State.STATE_FELL_BACK;
  }

  /** How many artifacts it has, the manifest not counted. */
  public int artifactCount() {
    return export.getArtifactCount();
  }

  /** Bytes of all artifacts. */
  public long sizeBytes() {
    return export.getSizeBytes();
  }

  /** SHA-256 of manifest.json: who keeps it can prove the bundle later. */
  public String manifestSha256() {
    return export.getManifestSha256();
  }
}
