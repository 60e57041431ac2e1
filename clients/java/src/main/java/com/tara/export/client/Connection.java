package com.tara.export.client;

import com.tara.export.v1.AutomationServiceGrpc;
import com.tara.export.v1.AutomationServiceGrpc.AutomationServiceBlockingStub;
import com.tara.export.v1.ExportServiceGrpc;
import com.tara.export.v1.ExportServiceGrpc.ExportServiceBlockingStub;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;

/**
 * A channel to a server.
 *
 * @param policy the policy of its calls
 * @param tokens the tokens of its calls; can be null
 * @param server the server's address
 * @param sendsSmallChunks whether a proxy refused a large request, so that documents are uploaded
 *     in the smallest chunks
 */
record Connection(
    ManagedChannel channel,
    Policy policy,
    Tokens tokens,
    String server,
    AtomicBoolean sendsSmallChunks) {
  /** The largest message that is sent or received. Servers have lower limits. */
  static final int MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

  /** The largest headers or trailers of a response. Servers send at most 8 KiB. */
  static final int MAX_HEADER_BYTES = 64 * 1024;

  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  Connection(ManagedChannel channel, Policy policy, Tokens tokens, String server) {
    this(channel, policy, tokens, server, new AtomicBoolean());
  }

  /** Requests the token of a call. Returns null without tokens. */
  String requestToken() {
    return tokens == null ? null : tokens.request();
  }

  /** Returns another token after this failure of a call, or null if the call cannot be repeated. */
  String replacement(String token, Status status) {
    boolean isRejected = status.getCode() == Status.Code.UNAUTHENTICATED;
    return tokens == null || !isRejected ? null : tokens.replacement(token);
  }

  /** Whether a rejected token can be replaced by another. */
  boolean canReplaceToken() {
    return tokens != null && !tokens.isFixed();
  }

  /** Returns the channel for a call with this token. */
  Channel channel(String token) {
    if (token == null) {
      return channel;
    }
    Metadata headers = new Metadata();
    headers.put(AUTHORIZATION, token);
    return ClientInterceptors.intercept(
        channel, MetadataUtils.newAttachHeadersInterceptor(headers));
  }

  /** Makes a unary call of exports. */
  <T> T call(Function<ExportServiceBlockingStub, T> call) {
    return call(ExportServiceGrpc::newBlockingStub, call);
  }

  /** Makes a unary call of notifications. */
  <T> T callAutomation(Function<AutomationServiceBlockingStub, T> call) {
    return call(AutomationServiceGrpc::newBlockingStub, call);
  }

  /** Makes a unary call, and repeats it once with another token if the server rejects the token. */
  private <S, T> T call(Function<Channel, S> stub, Function<S, T> call) {
    try {
      String token = requestToken();
      try {
        return call.apply(stub.apply(channel(token)));
      } catch (StatusRuntimeException failure) {
        String other = replacement(token, failure.getStatus());
        if (other == null) {
          throw failure;
        }
        return call.apply(stub.apply(channel(other)));
      }
    } catch (StatusRuntimeException failure) {
      throw TaraExportException.from(failure, server);
    }
  }

  /** Without the token. */
  @Override
  public String toString() {
    return "Connection[" + server + "]";
  }
}
