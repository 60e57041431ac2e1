package com.tara.export.client;

import com.fasterxml.jackson.databind.JsonNode;
import io.grpc.netty.shaded.io.netty.bootstrap.ServerBootstrap;
import io.grpc.netty.shaded.io.netty.buffer.ByteBuf;
import io.grpc.netty.shaded.io.netty.buffer.Unpooled;
import io.grpc.netty.shaded.io.netty.channel.Channel;
import io.grpc.netty.shaded.io.netty.channel.ChannelHandlerContext;
import io.grpc.netty.shaded.io.netty.channel.ChannelInboundHandlerAdapter;
import io.grpc.netty.shaded.io.netty.channel.ChannelInitializer;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.nio.NioIoHandler;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioServerSocketChannel;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.DefaultHttp2DataFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.DefaultHttp2HeadersFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2DataFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2FrameCodecBuilder;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2Headers;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2HeadersFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2MultiplexHandler;
import io.grpc.netty.shaded.io.netty.util.ReferenceCountUtil;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.concurrent.atomic.AtomicInteger;

/** An HTTP/2 server that responds to every request as a row of hostile-server.json says. */
final class RowServer implements AutoCloseable {
  private final EventLoopGroup threads =
      new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
  private final JsonNode row;
  private final Channel listener;
  private final AtomicInteger requests = new AtomicInteger();

  RowServer(JsonNode row) throws InterruptedException {
    this.row = row;
    listener =
        new ServerBootstrap()
            .group(threads)
            .channel(NioServerSocketChannel.class)
            .childHandler(initializer())
            .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
            .sync()
            .channel();
  }

  private ChannelInitializer<Channel> initializer() {
    return new ChannelInitializer<>() {
      @Override
      protected void initChannel(Channel connection) {
        connection
            .pipeline()
            .addLast(
                Http2FrameCodecBuilder.forServer().encoderIgnoreMaxHeaderListSize(true).build(),
                new Http2MultiplexHandler(
                    new ChannelInitializer<>() {
                      @Override
                      protected void initChannel(Channel stream) {
                        stream.pipeline().addLast(new Responder());
                      }
                    }));
      }
    };
  }

  String url() {
    return "http://127.0.0.1:" + ((InetSocketAddress) listener.localAddress()).getPort();
  }

  int requests() {
    return requests.get();
  }

  @Override
  public void close() {
    threads.shutdownGracefully();
  }

  private final class Responder extends ChannelInboundHandlerAdapter {
    @Override
    public void channelRead(ChannelHandlerContext stream, Object frame) {
      boolean isEnd =
          frame instanceof Http2HeadersFrame headers && headers.isEndStream()
              || frame instanceof Http2DataFrame data && data.isEndStream();
      if (frame instanceof Http2HeadersFrame) {
        requests.incrementAndGet();
      }
      ReferenceCountUtil.release(frame);
      if (isEnd) {
        respond(stream);
      }
    }

    private void respond(ChannelHandlerContext stream) {
      Http2Headers headers = new DefaultHttp2Headers().status(row.get("status").asText());
      row.path("headers").properties().forEach(e -> headers.set(e.getKey(), e.getValue().asText()));
      if (row.path("is_grpc").asBoolean()) {
        headers.set("content-type", "application/grpc");
      }
      fill(headers, "header_bytes");
      ByteBuf body = Unpooled.buffer();
      body.writeBytes(Base64.getDecoder().decode(row.path("body_base64").asText("")));
      body.writeBytes(row.path("body").asText("").getBytes(StandardCharsets.UTF_8));
      int messageBytes = row.path("message_bytes").asInt();
      if (messageBytes > 0) {
        body.writeByte(0).writeInt(messageBytes).writeZero(messageBytes);
      }
      Http2Headers trailers = new DefaultHttp2Headers();
      row.path("trailers")
          .properties()
          .forEach(e -> trailers.set(e.getKey(), e.getValue().asText()));
      fill(trailers, "trailer_bytes");
      boolean hasBody = body.isReadable();
      stream.write(new DefaultHttp2HeadersFrame(headers, !hasBody && trailers.isEmpty()));
      if (hasBody) {
        stream.write(new DefaultHttp2DataFrame(body, trailers.isEmpty()));
      }
      if (!trailers.isEmpty()) {
        stream.write(new DefaultHttp2HeadersFrame(trailers, true));
      }
      stream.flush();
    }

    private void fill(Http2Headers headers, String key) {
      if (row.has(key)) {
        headers.set("x-filler", "a".repeat(row.get(key).asInt()));
      }
    }
  }
}
