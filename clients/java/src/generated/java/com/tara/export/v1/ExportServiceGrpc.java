package com.tara.export.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Turns a completed document review into an audit bundle in S3 or on local disk, and reads past
 * bundles back.
 * Errors are gRPC statuses with google.rpc details: one ErrorInfo (domain tara.export.v1; reason
 * an UPPER_SNAKE word), BadRequest with every violated field of a bad request, RetryInfo where
 * waiting helps.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ExportServiceGrpc {

  private ExportServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "tara.export.v1.ExportService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.PreviewExportRequest,
      com.tara.export.v1.PreviewExportResponse> getPreviewExportMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PreviewExport",
      requestType = com.tara.export.v1.PreviewExportRequest.class,
      responseType = com.tara.export.v1.PreviewExportResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.PreviewExportRequest,
      com.tara.export.v1.PreviewExportResponse> getPreviewExportMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.PreviewExportRequest, com.tara.export.v1.PreviewExportResponse> getPreviewExportMethod;
    if ((getPreviewExportMethod = ExportServiceGrpc.getPreviewExportMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getPreviewExportMethod = ExportServiceGrpc.getPreviewExportMethod) == null) {
          ExportServiceGrpc.getPreviewExportMethod = getPreviewExportMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.PreviewExportRequest, com.tara.export.v1.PreviewExportResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PreviewExport"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.PreviewExportRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.PreviewExportResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("PreviewExport"))
              .build();
        }
      }
    }
    return getPreviewExportMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.StartExportRequest,
      com.tara.export.v1.ExportEvent> getStartExportMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "StartExport",
      requestType = com.tara.export.v1.StartExportRequest.class,
      responseType = com.tara.export.v1.ExportEvent.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.StartExportRequest,
      com.tara.export.v1.ExportEvent> getStartExportMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.StartExportRequest, com.tara.export.v1.ExportEvent> getStartExportMethod;
    if ((getStartExportMethod = ExportServiceGrpc.getStartExportMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getStartExportMethod = ExportServiceGrpc.getStartExportMethod) == null) {
          ExportServiceGrpc.getStartExportMethod = getStartExportMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.StartExportRequest, com.tara.export.v1.ExportEvent>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "StartExport"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.StartExportRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.ExportEvent.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("StartExport"))
              .build();
        }
      }
    }
    return getStartExportMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.WatchExportRequest,
      com.tara.export.v1.ExportEvent> getWatchExportMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchExport",
      requestType = com.tara.export.v1.WatchExportRequest.class,
      responseType = com.tara.export.v1.ExportEvent.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.WatchExportRequest,
      com.tara.export.v1.ExportEvent> getWatchExportMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.WatchExportRequest, com.tara.export.v1.ExportEvent> getWatchExportMethod;
    if ((getWatchExportMethod = ExportServiceGrpc.getWatchExportMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getWatchExportMethod = ExportServiceGrpc.getWatchExportMethod) == null) {
          ExportServiceGrpc.getWatchExportMethod = getWatchExportMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.WatchExportRequest, com.tara.export.v1.ExportEvent>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchExport"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.WatchExportRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.ExportEvent.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("WatchExport"))
              .build();
        }
      }
    }
    return getWatchExportMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.GetExportRequest,
      com.tara.export.v1.GetExportResponse> getGetExportMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetExport",
      requestType = com.tara.export.v1.GetExportRequest.class,
      responseType = com.tara.export.v1.GetExportResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.GetExportRequest,
      com.tara.export.v1.GetExportResponse> getGetExportMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.GetExportRequest, com.tara.export.v1.GetExportResponse> getGetExportMethod;
    if ((getGetExportMethod = ExportServiceGrpc.getGetExportMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getGetExportMethod = ExportServiceGrpc.getGetExportMethod) == null) {
          ExportServiceGrpc.getGetExportMethod = getGetExportMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.GetExportRequest, com.tara.export.v1.GetExportResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetExport"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.GetExportRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.GetExportResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("GetExport"))
              .build();
        }
      }
    }
    return getGetExportMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.ListExportsRequest,
      com.tara.export.v1.ListExportsResponse> getListExportsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListExports",
      requestType = com.tara.export.v1.ListExportsRequest.class,
      responseType = com.tara.export.v1.ListExportsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.ListExportsRequest,
      com.tara.export.v1.ListExportsResponse> getListExportsMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.ListExportsRequest, com.tara.export.v1.ListExportsResponse> getListExportsMethod;
    if ((getListExportsMethod = ExportServiceGrpc.getListExportsMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getListExportsMethod = ExportServiceGrpc.getListExportsMethod) == null) {
          ExportServiceGrpc.getListExportsMethod = getListExportsMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.ListExportsRequest, com.tara.export.v1.ListExportsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListExports"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.ListExportsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.ListExportsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("ListExports"))
              .build();
        }
      }
    }
    return getListExportsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.GetReportRequest,
      com.tara.export.v1.GetReportResponse> getGetReportMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetReport",
      requestType = com.tara.export.v1.GetReportRequest.class,
      responseType = com.tara.export.v1.GetReportResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.GetReportRequest,
      com.tara.export.v1.GetReportResponse> getGetReportMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.GetReportRequest, com.tara.export.v1.GetReportResponse> getGetReportMethod;
    if ((getGetReportMethod = ExportServiceGrpc.getGetReportMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getGetReportMethod = ExportServiceGrpc.getGetReportMethod) == null) {
          ExportServiceGrpc.getGetReportMethod = getGetReportMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.GetReportRequest, com.tara.export.v1.GetReportResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetReport"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.GetReportRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.GetReportResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("GetReport"))
              .build();
        }
      }
    }
    return getGetReportMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.DownloadArtifactRequest,
      com.tara.export.v1.DownloadArtifactResponse> getDownloadArtifactMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DownloadArtifact",
      requestType = com.tara.export.v1.DownloadArtifactRequest.class,
      responseType = com.tara.export.v1.DownloadArtifactResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.DownloadArtifactRequest,
      com.tara.export.v1.DownloadArtifactResponse> getDownloadArtifactMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.DownloadArtifactRequest, com.tara.export.v1.DownloadArtifactResponse> getDownloadArtifactMethod;
    if ((getDownloadArtifactMethod = ExportServiceGrpc.getDownloadArtifactMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getDownloadArtifactMethod = ExportServiceGrpc.getDownloadArtifactMethod) == null) {
          ExportServiceGrpc.getDownloadArtifactMethod = getDownloadArtifactMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.DownloadArtifactRequest, com.tara.export.v1.DownloadArtifactResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DownloadArtifact"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.DownloadArtifactRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.DownloadArtifactResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("DownloadArtifact"))
              .build();
        }
      }
    }
    return getDownloadArtifactMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.DownloadBundleRequest,
      com.tara.export.v1.DownloadBundleResponse> getDownloadBundleMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DownloadBundle",
      requestType = com.tara.export.v1.DownloadBundleRequest.class,
      responseType = com.tara.export.v1.DownloadBundleResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.DownloadBundleRequest,
      com.tara.export.v1.DownloadBundleResponse> getDownloadBundleMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.DownloadBundleRequest, com.tara.export.v1.DownloadBundleResponse> getDownloadBundleMethod;
    if ((getDownloadBundleMethod = ExportServiceGrpc.getDownloadBundleMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getDownloadBundleMethod = ExportServiceGrpc.getDownloadBundleMethod) == null) {
          ExportServiceGrpc.getDownloadBundleMethod = getDownloadBundleMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.DownloadBundleRequest, com.tara.export.v1.DownloadBundleResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DownloadBundle"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.DownloadBundleRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.DownloadBundleResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("DownloadBundle"))
              .build();
        }
      }
    }
    return getDownloadBundleMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.CheckStorageRequest,
      com.tara.export.v1.CheckStorageResponse> getCheckStorageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CheckStorage",
      requestType = com.tara.export.v1.CheckStorageRequest.class,
      responseType = com.tara.export.v1.CheckStorageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.CheckStorageRequest,
      com.tara.export.v1.CheckStorageResponse> getCheckStorageMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.CheckStorageRequest, com.tara.export.v1.CheckStorageResponse> getCheckStorageMethod;
    if ((getCheckStorageMethod = ExportServiceGrpc.getCheckStorageMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getCheckStorageMethod = ExportServiceGrpc.getCheckStorageMethod) == null) {
          ExportServiceGrpc.getCheckStorageMethod = getCheckStorageMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.CheckStorageRequest, com.tara.export.v1.CheckStorageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CheckStorage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.CheckStorageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.CheckStorageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("CheckStorage"))
              .build();
        }
      }
    }
    return getCheckStorageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.CreateUploadRequest,
      com.tara.export.v1.CreateUploadResponse> getCreateUploadMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateUpload",
      requestType = com.tara.export.v1.CreateUploadRequest.class,
      responseType = com.tara.export.v1.CreateUploadResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.CreateUploadRequest,
      com.tara.export.v1.CreateUploadResponse> getCreateUploadMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.CreateUploadRequest, com.tara.export.v1.CreateUploadResponse> getCreateUploadMethod;
    if ((getCreateUploadMethod = ExportServiceGrpc.getCreateUploadMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getCreateUploadMethod = ExportServiceGrpc.getCreateUploadMethod) == null) {
          ExportServiceGrpc.getCreateUploadMethod = getCreateUploadMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.CreateUploadRequest, com.tara.export.v1.CreateUploadResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateUpload"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.CreateUploadRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.CreateUploadResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("CreateUpload"))
              .build();
        }
      }
    }
    return getCreateUploadMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.GetUploadRequest,
      com.tara.export.v1.GetUploadResponse> getGetUploadMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetUpload",
      requestType = com.tara.export.v1.GetUploadRequest.class,
      responseType = com.tara.export.v1.GetUploadResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.GetUploadRequest,
      com.tara.export.v1.GetUploadResponse> getGetUploadMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.GetUploadRequest, com.tara.export.v1.GetUploadResponse> getGetUploadMethod;
    if ((getGetUploadMethod = ExportServiceGrpc.getGetUploadMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getGetUploadMethod = ExportServiceGrpc.getGetUploadMethod) == null) {
          ExportServiceGrpc.getGetUploadMethod = getGetUploadMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.GetUploadRequest, com.tara.export.v1.GetUploadResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetUpload"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.GetUploadRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.GetUploadResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("GetUpload"))
              .build();
        }
      }
    }
    return getGetUploadMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.UploadDocumentRequest,
      com.tara.export.v1.UploadDocumentResponse> getUploadDocumentMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UploadDocument",
      requestType = com.tara.export.v1.UploadDocumentRequest.class,
      responseType = com.tara.export.v1.UploadDocumentResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.UploadDocumentRequest,
      com.tara.export.v1.UploadDocumentResponse> getUploadDocumentMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.UploadDocumentRequest, com.tara.export.v1.UploadDocumentResponse> getUploadDocumentMethod;
    if ((getUploadDocumentMethod = ExportServiceGrpc.getUploadDocumentMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getUploadDocumentMethod = ExportServiceGrpc.getUploadDocumentMethod) == null) {
          ExportServiceGrpc.getUploadDocumentMethod = getUploadDocumentMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.UploadDocumentRequest, com.tara.export.v1.UploadDocumentResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UploadDocument"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.UploadDocumentRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.UploadDocumentResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("UploadDocument"))
              .build();
        }
      }
    }
    return getUploadDocumentMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.UploadChunkRequest,
      com.tara.export.v1.UploadChunkResponse> getUploadChunkMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UploadChunk",
      requestType = com.tara.export.v1.UploadChunkRequest.class,
      responseType = com.tara.export.v1.UploadChunkResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.UploadChunkRequest,
      com.tara.export.v1.UploadChunkResponse> getUploadChunkMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.UploadChunkRequest, com.tara.export.v1.UploadChunkResponse> getUploadChunkMethod;
    if ((getUploadChunkMethod = ExportServiceGrpc.getUploadChunkMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getUploadChunkMethod = ExportServiceGrpc.getUploadChunkMethod) == null) {
          ExportServiceGrpc.getUploadChunkMethod = getUploadChunkMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.UploadChunkRequest, com.tara.export.v1.UploadChunkResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UploadChunk"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.UploadChunkRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.UploadChunkResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("UploadChunk"))
              .build();
        }
      }
    }
    return getUploadChunkMethod;
  }

  private static volatile io.grpc.MethodDescriptor<com.tara.export.v1.CreateDownloadLinkRequest,
      com.tara.export.v1.CreateDownloadLinkResponse> getCreateDownloadLinkMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateDownloadLink",
      requestType = com.tara.export.v1.CreateDownloadLinkRequest.class,
      responseType = com.tara.export.v1.CreateDownloadLinkResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<com.tara.export.v1.CreateDownloadLinkRequest,
      com.tara.export.v1.CreateDownloadLinkResponse> getCreateDownloadLinkMethod() {
    io.grpc.MethodDescriptor<com.tara.export.v1.CreateDownloadLinkRequest, com.tara.export.v1.CreateDownloadLinkResponse> getCreateDownloadLinkMethod;
    if ((getCreateDownloadLinkMethod = ExportServiceGrpc.getCreateDownloadLinkMethod) == null) {
      synchronized (ExportServiceGrpc.class) {
        if ((getCreateDownloadLinkMethod = ExportServiceGrpc.getCreateDownloadLinkMethod) == null) {
          ExportServiceGrpc.getCreateDownloadLinkMethod = getCreateDownloadLinkMethod =
              io.grpc.MethodDescriptor.<com.tara.export.v1.CreateDownloadLinkRequest, com.tara.export.v1.CreateDownloadLinkResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateDownloadLink"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.CreateDownloadLinkRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  com.tara.export.v1.CreateDownloadLinkResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ExportServiceMethodDescriptorSupplier("CreateDownloadLink"))
              .build();
        }
      }
    }
    return getCreateDownloadLinkMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ExportServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ExportServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ExportServiceStub>() {
        @java.lang.Override
        public ExportServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ExportServiceStub(channel, callOptions);
        }
      };
    return ExportServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static ExportServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ExportServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ExportServiceBlockingV2Stub>() {
        @java.lang.Override
        public ExportServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ExportServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return ExportServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ExportServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ExportServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ExportServiceBlockingStub>() {
        @java.lang.Override
        public ExportServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ExportServiceBlockingStub(channel, callOptions);
        }
      };
    return ExportServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ExportServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ExportServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ExportServiceFutureStub>() {
        @java.lang.Override
        public ExportServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ExportServiceFutureStub(channel, callOptions);
        }
      };
    return ExportServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Turns a completed document review into an audit bundle in S3 or on local disk, and reads past
   * bundles back.
   * Errors are gRPC statuses with google.rpc details: one ErrorInfo (domain tara.export.v1; reason
   * an UPPER_SNAKE word), BadRequest with every violated field of a bad request, RetryInfo where
   * waiting helps.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Says what StartExport would write, what a person can choose and what they should know, and
     * writes nothing.
     * </pre>
     */
    default void previewExport(com.tara.export.v1.PreviewExportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.PreviewExportResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPreviewExportMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes a bundle of a review and reports each step. The export goes on when the client goes
     * away; WatchExport re-attaches. The same request_id with the same content re-attaches too;
     * with other content it is ALREADY_EXISTS, REQUEST_ID_REUSED.
     * buf:lint:ignore RPC_REQUEST_RESPONSE_UNIQUE
     * buf:lint:ignore RPC_RESPONSE_STANDARD_NAME
     * </pre>
     */
    default void startExport(com.tara.export.v1.StartExportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.ExportEvent> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getStartExportMethod(), responseObserver);
    }

    /**
     * <pre>
     * Follows an export: replays its events and goes on live; of an export that has ended, its
     * terminal event. NOT_FOUND, EXPORT_NOT_HERE where nothing is known of it: sending StartExport
     * again with the same request_id is always safe.
     * buf:lint:ignore RPC_REQUEST_RESPONSE_UNIQUE
     * buf:lint:ignore RPC_RESPONSE_STANDARD_NAME
     * </pre>
     */
    default void watchExport(com.tara.export.v1.WatchExportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.ExportEvent> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchExportMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reads one export: a running one of this server, or a bundle of its stores.
     * </pre>
     */
    default void getExport(com.tara.export.v1.GetExportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.GetExportResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetExportMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists exports, newest first: committed bundles, and this server's own running and local ones.
     * </pre>
     */
    default void listExports(com.tara.export.v1.ListExportsRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.ListExportsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListExportsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reads a bundle's report, checked against the manifest when it was read, which may be up to ten
     * minutes ago: DownloadArtifact reads it now. A report too large for one message is
     * FAILED_PRECONDITION, REPORT_TOO_LARGE: DownloadArtifact has no such limit. One of an adopted bundle
     * that is in another form is FAILED_PRECONDITION, REPORT_UNREADABLE: VIEW_JSON gives its bytes.
     * </pre>
     */
    default void getReport(com.tara.export.v1.GetReportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.GetReportResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetReportMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reads one file of a bundle, checked against the manifest: a difference ends the stream with
     * DATA_LOSS.
     * </pre>
     */
    default void downloadArtifact(com.tara.export.v1.DownloadArtifactRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.DownloadArtifactResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDownloadArtifactMethod(), responseObserver);
    }

    /**
     * <pre>
     * Reads a whole bundle as a ZIP file, each artifact checked as in DownloadArtifact.
     * </pre>
     */
    default void downloadBundle(com.tara.export.v1.DownloadBundleRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.DownloadBundleResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDownloadBundleMethod(), responseObserver);
    }

    /**
     * <pre>
     * Checks the server's stores as an operator would, and says what to do about each failure.
     * </pre>
     */
    default void checkStorage(com.tara.export.v1.CheckStorageRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.CheckStorageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCheckStorageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes room for a document that doesn't fit into a request.
     * </pre>
     */
    default void createUpload(com.tara.export.v1.CreateUploadRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.CreateUploadResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateUploadMethod(), responseObserver);
    }

    /**
     * <pre>
     * Says how far an upload is: where to go on after a lost connection.
     * </pre>
     */
    default void getUpload(com.tara.export.v1.GetUploadRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.GetUploadResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetUploadMethod(), responseObserver);
    }

    /**
     * <pre>
     * Sends a document, or the rest of one, in one stream: the fast way. Needs HTTP/2.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<com.tara.export.v1.UploadDocumentRequest> uploadDocument(
        io.grpc.stub.StreamObserver<com.tara.export.v1.UploadDocumentResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getUploadDocumentMethod(), responseObserver);
    }

    /**
     * <pre>
     * Sends one chunk of a document: the way of gRPC-Web and HTTP/1.1, which have no client streams.
     * </pre>
     */
    default void uploadChunk(com.tara.export.v1.UploadChunkRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.UploadChunkResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUploadChunkMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes a link by which anybody can download one file of a bundle in S3, for a time. Of a bundle on
     * local disk FAILED_PRECONDITION, STORED_LOCALLY: DownloadArtifact reads it.
     * </pre>
     */
    default void createDownloadLink(com.tara.export.v1.CreateDownloadLinkRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.CreateDownloadLinkResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateDownloadLinkMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service ExportService.
   * <pre>
   * Turns a completed document review into an audit bundle in S3 or on local disk, and reads past
   * bundles back.
   * Errors are gRPC statuses with google.rpc details: one ErrorInfo (domain tara.export.v1; reason
   * an UPPER_SNAKE word), BadRequest with every violated field of a bad request, RetryInfo where
   * waiting helps.
   * </pre>
   */
  public static abstract class ExportServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return ExportServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service ExportService.
   * <pre>
   * Turns a completed document review into an audit bundle in S3 or on local disk, and reads past
   * bundles back.
   * Errors are gRPC statuses with google.rpc details: one ErrorInfo (domain tara.export.v1; reason
   * an UPPER_SNAKE word), BadRequest with every violated field of a bad request, RetryInfo where
   * waiting helps.
   * </pre>
   */
  public static final class ExportServiceStub
      extends io.grpc.stub.AbstractAsyncStub<ExportServiceStub> {
    private ExportServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ExportServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ExportServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Says what StartExport would write, what a person can choose and what they should know, and
     * writes nothing.
     * </pre>
     */
    public void previewExport(com.tara.export.v1.PreviewExportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.PreviewExportResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPreviewExportMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Makes a bundle of a review and reports each step. The export goes on when the client goes
     * away; WatchExport re-attaches. The same request_id with the same content re-attaches too;
     * with other content it is ALREADY_EXISTS, REQUEST_ID_REUSED.
     * buf:lint:ignore RPC_REQUEST_RESPONSE_UNIQUE
     * buf:lint:ignore RPC_RESPONSE_STANDARD_NAME
     * </pre>
     */
    public void startExport(com.tara.export.v1.StartExportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.ExportEvent> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getStartExportMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Follows an export: replays its events and goes on live; of an export that has ended, its
     * terminal event. NOT_FOUND, EXPORT_NOT_HERE where nothing is known of it: sending StartExport
     * again with the same request_id is always safe.
     * buf:lint:ignore RPC_REQUEST_RESPONSE_UNIQUE
     * buf:lint:ignore RPC_RESPONSE_STANDARD_NAME
     * </pre>
     */
    public void watchExport(com.tara.export.v1.WatchExportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.ExportEvent> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchExportMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reads one export: a running one of this server, or a bundle of its stores.
     * </pre>
     */
    public void getExport(com.tara.export.v1.GetExportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.GetExportResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetExportMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists exports, newest first: committed bundles, and this server's own running and local ones.
     * </pre>
     */
    public void listExports(com.tara.export.v1.ListExportsRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.ListExportsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListExportsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reads a bundle's report, checked against the manifest when it was read, which may be up to ten
     * minutes ago: DownloadArtifact reads it now. A report too large for one message is
     * FAILED_PRECONDITION, REPORT_TOO_LARGE: DownloadArtifact has no such limit. One of an adopted bundle
     * that is in another form is FAILED_PRECONDITION, REPORT_UNREADABLE: VIEW_JSON gives its bytes.
     * </pre>
     */
    public void getReport(com.tara.export.v1.GetReportRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.GetReportResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetReportMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reads one file of a bundle, checked against the manifest: a difference ends the stream with
     * DATA_LOSS.
     * </pre>
     */
    public void downloadArtifact(com.tara.export.v1.DownloadArtifactRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.DownloadArtifactResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getDownloadArtifactMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Reads a whole bundle as a ZIP file, each artifact checked as in DownloadArtifact.
     * </pre>
     */
    public void downloadBundle(com.tara.export.v1.DownloadBundleRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.DownloadBundleResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getDownloadBundleMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Checks the server's stores as an operator would, and says what to do about each failure.
     * </pre>
     */
    public void checkStorage(com.tara.export.v1.CheckStorageRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.CheckStorageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCheckStorageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Makes room for a document that doesn't fit into a request.
     * </pre>
     */
    public void createUpload(com.tara.export.v1.CreateUploadRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.CreateUploadResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateUploadMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Says how far an upload is: where to go on after a lost connection.
     * </pre>
     */
    public void getUpload(com.tara.export.v1.GetUploadRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.GetUploadResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetUploadMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Sends a document, or the rest of one, in one stream: the fast way. Needs HTTP/2.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<com.tara.export.v1.UploadDocumentRequest> uploadDocument(
        io.grpc.stub.StreamObserver<com.tara.export.v1.UploadDocumentResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncClientStreamingCall(
          getChannel().newCall(getUploadDocumentMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * Sends one chunk of a document: the way of gRPC-Web and HTTP/1.1, which have no client streams.
     * </pre>
     */
    public void uploadChunk(com.tara.export.v1.UploadChunkRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.UploadChunkResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUploadChunkMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Makes a link by which anybody can download one file of a bundle in S3, for a time. Of a bundle on
     * local disk FAILED_PRECONDITION, STORED_LOCALLY: DownloadArtifact reads it.
     * </pre>
     */
    public void createDownloadLink(com.tara.export.v1.CreateDownloadLinkRequest request,
        io.grpc.stub.StreamObserver<com.tara.export.v1.CreateDownloadLinkResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateDownloadLinkMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service ExportService.
   * <pre>
   * Turns a completed document review into an audit bundle in S3 or on local disk, and reads past
   * bundles back.
   * Errors are gRPC statuses with google.rpc details: one ErrorInfo (domain tara.export.v1; reason
   * an UPPER_SNAKE word), BadRequest with every violated field of a bad request, RetryInfo where
   * waiting helps.
   * </pre>
   */
  public static final class ExportServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<ExportServiceBlockingV2Stub> {
    private ExportServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ExportServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ExportServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Says what StartExport would write, what a person can choose and what they should know, and
     * writes nothing.
     * </pre>
     */
    public com.tara.export.v1.PreviewExportResponse previewExport(com.tara.export.v1.PreviewExportRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPreviewExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a bundle of a review and reports each step. The export goes on when the client goes
     * away; WatchExport re-attaches. The same request_id with the same content re-attaches too;
     * with other content it is ALREADY_EXISTS, REQUEST_ID_REUSED.
     * buf:lint:ignore RPC_REQUEST_RESPONSE_UNIQUE
     * buf:lint:ignore RPC_RESPONSE_STANDARD_NAME
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, com.tara.export.v1.ExportEvent>
        startExport(com.tara.export.v1.StartExportRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getStartExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Follows an export: replays its events and goes on live; of an export that has ended, its
     * terminal event. NOT_FOUND, EXPORT_NOT_HERE where nothing is known of it: sending StartExport
     * again with the same request_id is always safe.
     * buf:lint:ignore RPC_REQUEST_RESPONSE_UNIQUE
     * buf:lint:ignore RPC_RESPONSE_STANDARD_NAME
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, com.tara.export.v1.ExportEvent>
        watchExport(com.tara.export.v1.WatchExportRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getWatchExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads one export: a running one of this server, or a bundle of its stores.
     * </pre>
     */
    public com.tara.export.v1.GetExportResponse getExport(com.tara.export.v1.GetExportRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists exports, newest first: committed bundles, and this server's own running and local ones.
     * </pre>
     */
    public com.tara.export.v1.ListExportsResponse listExports(com.tara.export.v1.ListExportsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListExportsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads a bundle's report, checked against the manifest when it was read, which may be up to ten
     * minutes ago: DownloadArtifact reads it now. A report too large for one message is
     * FAILED_PRECONDITION, REPORT_TOO_LARGE: DownloadArtifact has no such limit. One of an adopted bundle
     * that is in another form is FAILED_PRECONDITION, REPORT_UNREADABLE: VIEW_JSON gives its bytes.
     * </pre>
     */
    public com.tara.export.v1.GetReportResponse getReport(com.tara.export.v1.GetReportRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetReportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads one file of a bundle, checked against the manifest: a difference ends the stream with
     * DATA_LOSS.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, com.tara.export.v1.DownloadArtifactResponse>
        downloadArtifact(com.tara.export.v1.DownloadArtifactRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getDownloadArtifactMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads a whole bundle as a ZIP file, each artifact checked as in DownloadArtifact.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, com.tara.export.v1.DownloadBundleResponse>
        downloadBundle(com.tara.export.v1.DownloadBundleRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getDownloadBundleMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Checks the server's stores as an operator would, and says what to do about each failure.
     * </pre>
     */
    public com.tara.export.v1.CheckStorageResponse checkStorage(com.tara.export.v1.CheckStorageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCheckStorageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes room for a document that doesn't fit into a request.
     * </pre>
     */
    public com.tara.export.v1.CreateUploadResponse createUpload(com.tara.export.v1.CreateUploadRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCreateUploadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Says how far an upload is: where to go on after a lost connection.
     * </pre>
     */
    public com.tara.export.v1.GetUploadResponse getUpload(com.tara.export.v1.GetUploadRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetUploadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Sends a document, or the rest of one, in one stream: the fast way. Needs HTTP/2.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<com.tara.export.v1.UploadDocumentRequest, com.tara.export.v1.UploadDocumentResponse>
        uploadDocument() {
      return io.grpc.stub.ClientCalls.blockingClientStreamingCall(
          getChannel(), getUploadDocumentMethod(), getCallOptions());
    }

    /**
     * <pre>
     * Sends one chunk of a document: the way of gRPC-Web and HTTP/1.1, which have no client streams.
     * </pre>
     */
    public com.tara.export.v1.UploadChunkResponse uploadChunk(com.tara.export.v1.UploadChunkRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getUploadChunkMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a link by which anybody can download one file of a bundle in S3, for a time. Of a bundle on
     * local disk FAILED_PRECONDITION, STORED_LOCALLY: DownloadArtifact reads it.
     * </pre>
     */
    public com.tara.export.v1.CreateDownloadLinkResponse createDownloadLink(com.tara.export.v1.CreateDownloadLinkRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCreateDownloadLinkMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service ExportService.
   * <pre>
   * Turns a completed document review into an audit bundle in S3 or on local disk, and reads past
   * bundles back.
   * Errors are gRPC statuses with google.rpc details: one ErrorInfo (domain tara.export.v1; reason
   * an UPPER_SNAKE word), BadRequest with every violated field of a bad request, RetryInfo where
   * waiting helps.
   * </pre>
   */
  public static final class ExportServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<ExportServiceBlockingStub> {
    private ExportServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ExportServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ExportServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Says what StartExport would write, what a person can choose and what they should know, and
     * writes nothing.
     * </pre>
     */
    public com.tara.export.v1.PreviewExportResponse previewExport(com.tara.export.v1.PreviewExportRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPreviewExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a bundle of a review and reports each step. The export goes on when the client goes
     * away; WatchExport re-attaches. The same request_id with the same content re-attaches too;
     * with other content it is ALREADY_EXISTS, REQUEST_ID_REUSED.
     * buf:lint:ignore RPC_REQUEST_RESPONSE_UNIQUE
     * buf:lint:ignore RPC_RESPONSE_STANDARD_NAME
     * </pre>
     */
    public java.util.Iterator<com.tara.export.v1.ExportEvent> startExport(
        com.tara.export.v1.StartExportRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getStartExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Follows an export: replays its events and goes on live; of an export that has ended, its
     * terminal event. NOT_FOUND, EXPORT_NOT_HERE where nothing is known of it: sending StartExport
     * again with the same request_id is always safe.
     * buf:lint:ignore RPC_REQUEST_RESPONSE_UNIQUE
     * buf:lint:ignore RPC_RESPONSE_STANDARD_NAME
     * </pre>
     */
    public java.util.Iterator<com.tara.export.v1.ExportEvent> watchExport(
        com.tara.export.v1.WatchExportRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads one export: a running one of this server, or a bundle of its stores.
     * </pre>
     */
    public com.tara.export.v1.GetExportResponse getExport(com.tara.export.v1.GetExportRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetExportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists exports, newest first: committed bundles, and this server's own running and local ones.
     * </pre>
     */
    public com.tara.export.v1.ListExportsResponse listExports(com.tara.export.v1.ListExportsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListExportsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads a bundle's report, checked against the manifest when it was read, which may be up to ten
     * minutes ago: DownloadArtifact reads it now. A report too large for one message is
     * FAILED_PRECONDITION, REPORT_TOO_LARGE: DownloadArtifact has no such limit. One of an adopted bundle
     * that is in another form is FAILED_PRECONDITION, REPORT_UNREADABLE: VIEW_JSON gives its bytes.
     * </pre>
     */
    public com.tara.export.v1.GetReportResponse getReport(com.tara.export.v1.GetReportRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetReportMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads one file of a bundle, checked against the manifest: a difference ends the stream with
     * DATA_LOSS.
     * </pre>
     */
    public java.util.Iterator<com.tara.export.v1.DownloadArtifactResponse> downloadArtifact(
        com.tara.export.v1.DownloadArtifactRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getDownloadArtifactMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Reads a whole bundle as a ZIP file, each artifact checked as in DownloadArtifact.
     * </pre>
     */
    public java.util.Iterator<com.tara.export.v1.DownloadBundleResponse> downloadBundle(
        com.tara.export.v1.DownloadBundleRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getDownloadBundleMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Checks the server's stores as an operator would, and says what to do about each failure.
     * </pre>
     */
    public com.tara.export.v1.CheckStorageResponse checkStorage(com.tara.export.v1.CheckStorageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCheckStorageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes room for a document that doesn't fit into a request.
     * </pre>
     */
    public com.tara.export.v1.CreateUploadResponse createUpload(com.tara.export.v1.CreateUploadRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateUploadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Says how far an upload is: where to go on after a lost connection.
     * </pre>
     */
    public com.tara.export.v1.GetUploadResponse getUpload(com.tara.export.v1.GetUploadRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetUploadMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Sends one chunk of a document: the way of gRPC-Web and HTTP/1.1, which have no client streams.
     * </pre>
     */
    public com.tara.export.v1.UploadChunkResponse uploadChunk(com.tara.export.v1.UploadChunkRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUploadChunkMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes a link by which anybody can download one file of a bundle in S3, for a time. Of a bundle on
     * local disk FAILED_PRECONDITION, STORED_LOCALLY: DownloadArtifact reads it.
     * </pre>
     */
    public com.tara.export.v1.CreateDownloadLinkResponse createDownloadLink(com.tara.export.v1.CreateDownloadLinkRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateDownloadLinkMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service ExportService.
   * <pre>
   * Turns a completed document review into an audit bundle in S3 or on local disk, and reads past
   * bundles back.
   * Errors are gRPC statuses with google.rpc details: one ErrorInfo (domain tara.export.v1; reason
   * an UPPER_SNAKE word), BadRequest with every violated field of a bad request, RetryInfo where
   * waiting helps.
   * </pre>
   */
  public static final class ExportServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<ExportServiceFutureStub> {
    private ExportServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ExportServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ExportServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Says what StartExport would write, what a person can choose and what they should know, and
     * writes nothing.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.PreviewExportResponse> previewExport(
        com.tara.export.v1.PreviewExportRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPreviewExportMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Reads one export: a running one of this server, or a bundle of its stores.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.GetExportResponse> getExport(
        com.tara.export.v1.GetExportRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetExportMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists exports, newest first: committed bundles, and this server's own running and local ones.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.ListExportsResponse> listExports(
        com.tara.export.v1.ListExportsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListExportsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Reads a bundle's report, checked against the manifest when it was read, which may be up to ten
     * minutes ago: DownloadArtifact reads it now. A report too large for one message is
     * FAILED_PRECONDITION, REPORT_TOO_LARGE: DownloadArtifact has no such limit. One of an adopted bundle
     * that is in another form is FAILED_PRECONDITION, REPORT_UNREADABLE: VIEW_JSON gives its bytes.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.GetReportResponse> getReport(
        com.tara.export.v1.GetReportRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetReportMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Checks the server's stores as an operator would, and says what to do about each failure.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.CheckStorageResponse> checkStorage(
        com.tara.export.v1.CheckStorageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCheckStorageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Makes room for a document that doesn't fit into a request.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.CreateUploadResponse> createUpload(
        com.tara.export.v1.CreateUploadRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateUploadMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Says how far an upload is: where to go on after a lost connection.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.GetUploadResponse> getUpload(
        com.tara.export.v1.GetUploadRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetUploadMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Sends one chunk of a document: the way of gRPC-Web and HTTP/1.1, which have no client streams.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.UploadChunkResponse> uploadChunk(
        com.tara.export.v1.UploadChunkRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUploadChunkMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Makes a link by which anybody can download one file of a bundle in S3, for a time. Of a bundle on
     * local disk FAILED_PRECONDITION, STORED_LOCALLY: DownloadArtifact reads it.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<com.tara.export.v1.CreateDownloadLinkResponse> createDownloadLink(
        com.tara.export.v1.CreateDownloadLinkRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateDownloadLinkMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_PREVIEW_EXPORT = 0;
  private static final int METHODID_START_EXPORT = 1;
  private static final int METHODID_WATCH_EXPORT = 2;
  private static final int METHODID_GET_EXPORT = 3;
  private static final int METHODID_LIST_EXPORTS = 4;
  private static final int METHODID_GET_REPORT = 5;
  private static final int METHODID_DOWNLOAD_ARTIFACT = 6;
  private static final int METHODID_DOWNLOAD_BUNDLE = 7;
  private static final int METHODID_CHECK_STORAGE = 8;
  private static final int METHODID_CREATE_UPLOAD = 9;
  private static final int METHODID_GET_UPLOAD = 10;
  private static final int METHODID_UPLOAD_CHUNK = 11;
  private static final int METHODID_CREATE_DOWNLOAD_LINK = 12;
  private static final int METHODID_UPLOAD_DOCUMENT = 13;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_PREVIEW_EXPORT:
          serviceImpl.previewExport((com.tara.export.v1.PreviewExportRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.PreviewExportResponse>) responseObserver);
          break;
        case METHODID_START_EXPORT:
          serviceImpl.startExport((com.tara.export.v1.StartExportRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.ExportEvent>) responseObserver);
          break;
        case METHODID_WATCH_EXPORT:
          serviceImpl.watchExport((com.tara.export.v1.WatchExportRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.ExportEvent>) responseObserver);
          break;
        case METHODID_GET_EXPORT:
          serviceImpl.getExport((com.tara.export.v1.GetExportRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.GetExportResponse>) responseObserver);
          break;
        case METHODID_LIST_EXPORTS:
          serviceImpl.listExports((com.tara.export.v1.ListExportsRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.ListExportsResponse>) responseObserver);
          break;
        case METHODID_GET_REPORT:
          serviceImpl.getReport((com.tara.export.v1.GetReportRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.GetReportResponse>) responseObserver);
          break;
        case METHODID_DOWNLOAD_ARTIFACT:
          serviceImpl.downloadArtifact((com.tara.export.v1.DownloadArtifactRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.DownloadArtifactResponse>) responseObserver);
          break;
        case METHODID_DOWNLOAD_BUNDLE:
          serviceImpl.downloadBundle((com.tara.export.v1.DownloadBundleRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.DownloadBundleResponse>) responseObserver);
          break;
        case METHODID_CHECK_STORAGE:
          serviceImpl.checkStorage((com.tara.export.v1.CheckStorageRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.CheckStorageResponse>) responseObserver);
          break;
        case METHODID_CREATE_UPLOAD:
          serviceImpl.createUpload((com.tara.export.v1.CreateUploadRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.CreateUploadResponse>) responseObserver);
          break;
        case METHODID_GET_UPLOAD:
          serviceImpl.getUpload((com.tara.export.v1.GetUploadRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.GetUploadResponse>) responseObserver);
          break;
        case METHODID_UPLOAD_CHUNK:
          serviceImpl.uploadChunk((com.tara.export.v1.UploadChunkRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.UploadChunkResponse>) responseObserver);
          break;
        case METHODID_CREATE_DOWNLOAD_LINK:
          serviceImpl.createDownloadLink((com.tara.export.v1.CreateDownloadLinkRequest) request,
              (io.grpc.stub.StreamObserver<com.tara.export.v1.CreateDownloadLinkResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_UPLOAD_DOCUMENT:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.uploadDocument(
              (io.grpc.stub.StreamObserver<com.tara.export.v1.UploadDocumentResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getPreviewExportMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.PreviewExportRequest,
              com.tara.export.v1.PreviewExportResponse>(
                service, METHODID_PREVIEW_EXPORT)))
        .addMethod(
          getStartExportMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              com.tara.export.v1.StartExportRequest,
              com.tara.export.v1.ExportEvent>(
                service, METHODID_START_EXPORT)))
        .addMethod(
          getWatchExportMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              com.tara.export.v1.WatchExportRequest,
              com.tara.export.v1.ExportEvent>(
                service, METHODID_WATCH_EXPORT)))
        .addMethod(
          getGetExportMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.GetExportRequest,
              com.tara.export.v1.GetExportResponse>(
                service, METHODID_GET_EXPORT)))
        .addMethod(
          getListExportsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.ListExportsRequest,
              com.tara.export.v1.ListExportsResponse>(
                service, METHODID_LIST_EXPORTS)))
        .addMethod(
          getGetReportMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.GetReportRequest,
              com.tara.export.v1.GetReportResponse>(
                service, METHODID_GET_REPORT)))
        .addMethod(
          getDownloadArtifactMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              com.tara.export.v1.DownloadArtifactRequest,
              com.tara.export.v1.DownloadArtifactResponse>(
                service, METHODID_DOWNLOAD_ARTIFACT)))
        .addMethod(
          getDownloadBundleMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              com.tara.export.v1.DownloadBundleRequest,
              com.tara.export.v1.DownloadBundleResponse>(
                service, METHODID_DOWNLOAD_BUNDLE)))
        .addMethod(
          getCheckStorageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.CheckStorageRequest,
              com.tara.export.v1.CheckStorageResponse>(
                service, METHODID_CHECK_STORAGE)))
        .addMethod(
          getCreateUploadMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.CreateUploadRequest,
              com.tara.export.v1.CreateUploadResponse>(
                service, METHODID_CREATE_UPLOAD)))
        .addMethod(
          getGetUploadMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.GetUploadRequest,
              com.tara.export.v1.GetUploadResponse>(
                service, METHODID_GET_UPLOAD)))
        .addMethod(
          getUploadDocumentMethod(),
          io.grpc.stub.ServerCalls.asyncClientStreamingCall(
            new MethodHandlers<
              com.tara.export.v1.UploadDocumentRequest,
              com.tara.export.v1.UploadDocumentResponse>(
                service, METHODID_UPLOAD_DOCUMENT)))
        .addMethod(
          getUploadChunkMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.UploadChunkRequest,
              com.tara.export.v1.UploadChunkResponse>(
                service, METHODID_UPLOAD_CHUNK)))
        .addMethod(
          getCreateDownloadLinkMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              com.tara.export.v1.CreateDownloadLinkRequest,
              com.tara.export.v1.CreateDownloadLinkResponse>(
                service, METHODID_CREATE_DOWNLOAD_LINK)))
        .build();
  }

  private static abstract class ExportServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ExportServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return com.tara.export.v1.ServiceProto.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ExportService");
    }
  }

  private static final class ExportServiceFileDescriptorSupplier
      extends ExportServiceBaseDescriptorSupplier {
    ExportServiceFileDescriptorSupplier() {}
  }

  private static final class ExportServiceMethodDescriptorSupplier
      extends ExportServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    ExportServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (ExportServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ExportServiceFileDescriptorSupplier())
              .addMethod(getPreviewExportMethod())
              .addMethod(getStartExportMethod())
              .addMethod(getWatchExportMethod())
              .addMethod(getGetExportMethod())
              .addMethod(getListExportsMethod())
              .addMethod(getGetReportMethod())
              .addMethod(getDownloadArtifactMethod())
              .addMethod(getDownloadBundleMethod())
              .addMethod(getCheckStorageMethod())
              .addMethod(getCreateUploadMethod())
              .addMethod(getGetUploadMethod())
              .addMethod(getUploadDocumentMethod())
              .addMethod(getUploadChunkMethod())
              .addMethod(getCreateDownloadLinkMethod())
              .build();
        }
      }
    }
    return result;
  }
}
