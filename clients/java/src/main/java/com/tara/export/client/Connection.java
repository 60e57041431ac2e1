package com.tara.export.client;

import com.tara.export.v1.ExportServiceGrpc;
import io.grpc.ManagedChannel;

/** A server, and how patiently it is called. */
record Connection(ManagedChannel channel, Policy policy) {
  /** The largest message that is sent or taken. Servers have lower limits of their own. */
  static final int MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

  ExportServiceGrpc.ExportServiceBlockingStub service() {
    return ExportServiceGrpc.newBlockingStub(channel);
  }
}
