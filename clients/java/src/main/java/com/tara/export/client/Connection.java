package com.tara.export.client;

import com.tara.export.v1.ExportServiceGrpc;
import io.grpc.ManagedChannel;

/** A channel to a server, and the policy of its calls. */
record Connection(ManagedChannel channel, Policy policy) {
  /** The largest message that is sent or received. Servers have lower limits. */
  static final int MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

  ExportServiceGrpc.ExportServiceBlockingStub service() {
    return ExportServiceGrpc.newBlockingStub(channel);
  }
}
