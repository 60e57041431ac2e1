package com.tara.export.client;

import io.grpc.netty.shaded.io.netty.bootstrap.Bootstrap;
import io.grpc.netty.shaded.io.netty.bootstrap.ServerBootstrap;
import io.grpc.netty.shaded.io.netty.buffer.Unpooled;
import io.grpc.netty.shaded.io.netty.channel.Channel;
import io.grpc.netty.shaded.io.netty.channel.ChannelHandlerContext;
import io.grpc.netty.shaded.io.netty.channel.ChannelInboundHandlerAdapter;
import io.grpc.netty.shaded.io.netty.channel.ChannelInitializer;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.MultiThreadIoEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.nio.NioIoHandler;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioServerSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioSocketChannel;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.DefaultHttp2DataFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.DefaultHttp2HeadersFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.DefaultHttp2ResetFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2DataFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2Error;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2FrameCodecBuilder;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2Headers;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2HeadersFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2MultiplexHandler;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2ResetFrame;
import io.grpc.netty.shaded.io.netty.handler.codec.http2.Http2StreamChannelBootstrap;
import io.grpc.netty.shaded.io.netty.util.ReferenceCountUtil;
import io.grpc.netty.shaded.io.netty.util.concurrent.Future;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicInteger;

/** An HTTP/2 proxy that refuses request bodies of more than 1 MiB, as nginx does as installed. */
final class LimitingProxy implements AutoCloseable {
  private static final int MAX_BODY_BYTES = 1024 * 1024;

  private final EventLoopGroup threads =
      new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
  private final Channel server;
  private final Channel listener;
  private final AtomicInteger refused = new AtomicInteger();

  LimitingProxy(String url) throws InterruptedException {
    URI address = URI.create(url);
    server =
        new Bootstrap()
            .group(threads)
            .channel(NioSocketChannel.class)
            .handler(
                connection(
                    Http2FrameCodecBuilder.forClient(), new ChannelInboundHandlerAdapter() {}))
            .connect(address.getHost(), address.getPort())
            .sync()
            .channel();
    ChannelInitializer<Channel> requests =
        new ChannelInitializer<>() {
          @Override
          protected void initChannel(Channel request) {
            request.pipeline().addLast(new Request());
          }
        };
    listener =
        new ServerBootstrap()
            .group(threads)
            .channel(NioServerSocketChannel.class)
            .childHandler(
                new ChannelInitializer<>() {
                  @Override
                  protected void initChannel(Channel client) {
                    client
                        .pipeline()
                        .addLast(connection(Http2FrameCodecBuilder.forServer(), requests));
                  }
                })
            .bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
            .sync()
            .channel();
  }

  private static ChannelInitializer<Channel> connection(
      Http2FrameCodecBuilder codec, ChannelInboundHandlerAdapter streams) {
    return new ChannelInitializer<>() {
      @Override
      protected void initChannel(Channel connection) {
        connection.pipeline().addLast(codec.build(), new Http2MultiplexHandler(streams));
      }
    };
  }

  String url() {
    return "http://127.0.0.1:" + ((InetSocketAddress) listener.localAddress()).getPort();
  }

  /** The number of requests that were too large. */
  int refused() {
    return refused.get();
  }

  @Override
  public void close() {
    threads.shutdownGracefully();
  }

  /** Passes the frames of a stream on to another one. */
  private static class Forwarder extends ChannelInboundHandlerAdapter {
    private Channel other;

    void forwardTo(Channel other) {
      this.other = other;
    }

    @Override
    public void channelRead(ChannelHandlerContext stream, Object frame) {
      if (frame instanceof Http2HeadersFrame headers) {
        other.writeAndFlush(new DefaultHttp2HeadersFrame(headers.headers(), headers.isEndStream()));
      } else if (frame instanceof Http2DataFrame data) {
        other.writeAndFlush(new DefaultHttp2DataFrame(data.content().retain(), data.isEndStream()));
      }
      ReferenceCountUtil.release(frame);
    }

    @Override
    public void userEventTriggered(ChannelHandlerContext stream, Object event) {
      if (event instanceof Http2ResetFrame reset && other != null) {
        other.writeAndFlush(new DefaultHttp2ResetFrame(reset.errorCode()));
      }
    }

    /** Ends the other stream if the connection was lost. */
    @Override
    public void channelInactive(ChannelHandlerContext stream) {
      if (other != null) {
        other.close();
      }
    }
  }

  private final class Request extends Forwarder {
    private Channel upstream;
    private int bodyBytes;

    @Override
    public void handlerAdded(ChannelHandlerContext client) {
      client.channel().config().setAutoRead(false);
      Forwarder response = new Forwarder();
      response.forwardTo(client.channel());
      new Http2StreamChannelBootstrap(server)
          .handler(response)
          .open()
          .addListener(
              (Future<Channel> opened) -> {
                upstream = opened.getNow();
                forwardTo(upstream);
                client.channel().config().setAutoRead(true);
              });
    }

    @Override
    public void channelRead(ChannelHandlerContext client, Object frame) {
      boolean wasTooLarge = bodyBytes > MAX_BODY_BYTES;
      if (frame instanceof Http2DataFrame data) {
        bodyBytes += data.content().readableBytes();
      }
      if (bodyBytes <= MAX_BODY_BYTES) {
        super.channelRead(client, frame);
        return;
      }
      ReferenceCountUtil.release(frame);
      if (!wasTooLarge) {
        refuse(client);
      }
    }

    private void refuse(ChannelHandlerContext client) {
      refused.incrementAndGet();
      upstream.writeAndFlush(new DefaultHttp2ResetFrame(Http2Error.CANCEL));
      Http2Headers headers =
          new DefaultHttp2Headers().status("413").set("content-type", "text/html");
      byte[] page =
          "<html><title>413 Request Entity Too Large</title></html>"
              .getBytes(StandardCharsets.UTF_8);
      client.write(new DefaultHttp2HeadersFrame(headers));
      client.writeAndFlush(new DefaultHttp2DataFrame(Unpooled.wrappedBuffer(page), true));
    }
  }
}
